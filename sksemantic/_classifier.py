"""SKTuningClassifier: labels in, labels and probabilities out."""

from numbers import Real
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from sksemantic._base import BaseSKTuning, Estimator
from sksemantic._explaining import Explains
from sksemantic._labelled_score import LabelledScore
from sksemantic._tasks.base import Targets
from sksemantic._tasks.classification import ClassifierTask
from sksemantic._tasks.labels import LabelEncoder, check_classes
from sksemantic._training.fit_hooks import checked_fit
from sksemantic._training.training_lock import training_lock

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._prediction import Finish
    from sksemantic._training.fitted import FittedModel


class SKTuningClassifier(LabelledScore, Explains, BaseSKTuning):
    """Text classifier: a frozen language model after a trained semantic prefix.

    SK-Tuning [1]_: the frozen backbone reads a meaningful `prompt` once; a small
    trainable adapter changes what it understood, layer by layer, into a prefix that
    every text attends to; a linear head reads the pooled text. Only adapter and head
    are trained.

    Parameters
    ----------
    model : str, default="sentence-transformers/all-MiniLM-L6-v2"
        The backbone: a local directory, a `.gguf` file, or a hub id, looked up among
        installed weights packages, in the hub cache and on the hub, in this order.
    prompt : str, default=None
        A plain text, optionally with a ``{text}`` slot. What stands before the slot
        becomes the semantic prefix; what stands after it is appended to every text.
        Without a slot the prompt stands before the text. Several texts a row go into
        slots named by column, ``{premise}``, or by position, ``{0}``; a pair without
        slots is put together as the tokenizer does it, or a line each for causal
        backbones. Literal braces are doubled. None takes a default that suits the kind
        of backbone.
    method : {"prefix", "prompt"}, default="prefix"
        "prefix" gives every layer keys and values of the prompt; "prompt" gives the
        first layer its input embeddings.
    adapter : {"low_rank", "linear", "embedding"}, default="low_rank"
        "low_rank" maps hidden states through `adapter_rank` dimensions, "linear"
        through one full matrix per layer. "embedding" trains the prompt's token
        embeddings, which the backbone then reads again at every step.
    adapter_rank : int, default=8
        Inner size of the low-rank adapter.
    tuned_layers : "auto", "all", int or (int, int), default="auto"
        How many of the top layers have an adapted prefix, or the first of them and the
        one after the last, counted from 0 at the bottom. All others keep the frozen
        prefix; what lies below is computed once for each text, and kept for later
        epochs, folds and fits. "auto" is the upper two thirds for causal models, all
        layers for others. Only with `method="prefix"`.
    max_length : int, default=None
        Tokens read at once, special ones and the prompt's part after the slot included.
        None: as many as the backbone has positions for, up to 128 of a window, or 512.
    long_texts : {"auto", "truncate", "windows"}, default="auto"
        "truncate" cuts texts above `max_length` at the end, with a warning. "windows"
        reads all of them in windows of that length, the head the mean of the windows'
        features; each epoch trains on one, drawn at random. "auto" is "windows" for one
        text a row of encoders, if `max_length` is None.
    lr : float or "auto", default="auto"
        Learning rate of both adapters (AdamW), with linear warmup and decay. "auto" is
        2e-3 for causal models, 4e-3 for others; a quarter of it where the head starts
        from the linear probe, and a tenth for the adapter "linear".
    max_epochs : int or "auto", default="auto"
        Passes over the texts. "auto" is 5 for causal models and 6 for others, and
        more for few texts: enough for 120 steps, though never more than 30 epochs; for
        180 steps in at most 90 epochs where encoders have few texts and `label_texts`.
    batch_size : int or "auto", default="auto"
        Texts per training step. "auto" is 64 for few texts of a class, see Notes,
        and 32 for all else.
    class_weight : dict or "balanced", default=None
        Weights of the classes in the loss, as in scikit-learn. Not with several labels
        a text.
    ordinal : bool or list of labels, default=False
        Whether the classes are ordered: as they are sorted, or as they are listed. The
        head then has one output for each step from a class to the next [2]_, and
        `predict` returns the median class, which has the least expected distance.
    label_texts : dict of label to str or list of str, or "labels", default=None
        What the labels are called. The classifier then starts from what the backbone
        itself makes of these texts, the mean of a list of them, and predicts sensibly
        from few examples or none; see Notes. Every label has to be there; some may have
        no example. Texts with -1 for a label, or none, count as unlabelled, and help to
        calibrate. "labels" takes the labels of y themselves, which must be words:
        "not_spam" and "NotSpam" are read as "not spam" and "Not Spam". From 8 labelled
        texts a class on, a causal model does without.
    threshold : float or array-like of shape (n_labels,), default=0.5
        With several labels a text, the probability from which `predict` gives a label.
        It may be set after `fit`.
    device : str, default="auto"
        "cpu", "cuda", "cuda:N", "mps"; "auto" takes the best one present.
    model_kwargs : dict, default=None
        How the backbone is loaded and run; each key as ``model_kwargs__dtype`` in
        `set_params` and `GridSearchCV`:

        - ``revision``: branch, tag or commit of a hub model.
        - ``dtype``: of the frozen backbone, "float32", "bfloat16" or "float16"; all
          else is float32. By default "auto": bfloat16 where the device computes
          natively in it, else float16 on CUDA devices and float32 on others.
        - ``quantization_config``: packed weights, for example
          ``BitsAndBytesConfig(load_in_4bit=True)`` or a ``TorchAoConfig``.
        - ``device_map``: for example "auto", which spreads a backbone over several
          devices; needs accelerate.
        - ``n_layers``: how many of the backbone's layers are run, from the bottom, or
          "all"; the head reads the last of them. By default "auto": two thirds of a
          causal model's, whose middle says more of a text than its top, which is
          about the next word; all layers of others, and of causal models that read
          `label_texts`.
        - ``prefix_mechanism``: how the backbone is given the prefix: "attention" joins
          it to keys and values in the attention function, "kv_cache" passes it as a
          cache, "hidden_states" as the first states of every layer. By default "auto",
          the first of them that works.
    training : dict, default=None
        Fields of `TrainingConfig` that replace those of the preset, such as
        ``{"head_lr": 1e-3, "contrast": 0}``; each as ``training__head_lr`` in
        `set_params` and `GridSearchCV`. See `TrainingConfig` for all of them.
    warm_start : bool, default=False
        Start `fit` from the values trained before, which must have the same shapes. y
        may have new labels: each gets a row of the head. Texts of all classes should be
        passed, as the model may forget those that have none.
    random_state : int, RandomState instance or None, default=None
        Seed of everything random. The same seed on the same machine's CPU gives the
        same predictions.
    early_stopping : bool, default=False
        Whether to end the training when the loss of held-out texts has not fallen for
        three epochs, and to restore the best epoch; they are not trained on then. They
        are a tenth of the texts, and one at least of each class that has two.
    time_limit : float, default=None
        Seconds that `fit` may take. For that it trains fewer epochs and, last, reads
        fewer texts, with a `TimeLimitWarning`.
    checkpoint_dir : str or Path, default=None
        Where `fit` saves its state, after each epoch and every two minutes. The same
        call of `fit`, in another process too, goes on from there; once it has
        finished, with a `random_state`, it returns at once.
    verbose : int, default=0
        1 shows a bar for the whole fit with the time left, or a line a minute where
        there is no terminal; 2 shows a line for each epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted. With several labels a text the columns of y, 0 to
        n_labels - 1.
    config_ : object
        Everything that was "auto", as it was decided: `config_.model` and
        `config_.training`, a `TrainingConfig`.
    history_ : skorch.history.History
        Losses and durations, epoch by epoch.
    linear_probe_, temperature_ : object, float
        Logistic regression on frozen features; what divides the logits in
        `predict_proba`.
    comparison_, timing_ : object
        Trained model against linear probe on held-out texts; seconds by phase.
    prompt_, prefix_mechanism_ : str
        The prompt in use, and how the backbone is given the prefix: "attention",
        "kv_cache" or "hidden_states"; None with `method="prompt"`.
    n_layers_, n_virtual_tokens_, n_trainable_params_ : int
        The backbone's layers that are run, tokens of the prefix, trained parameters.
    backbone_source_ : object
        Which weights are used, and from where.
    n_features_in_, feature_names_in_ : int, ndarray of shape (n_columns,)
        Of a table or 2-D array; the names if X was a DataFrame with strings for names.

    See Also
    --------
    SKTuningRegressor : The same for numbers.

    Notes
    -----
    `fit` first fits a linear probe, logistic regression on the frozen backbone's
    features, its penalty chosen by cross-validation. It then trains on all but the
    held-out texts: a tenth, or 100 if that is more, though never more than a third, or
    than 10,000. After half of the epochs trained model and linear probe are compared on
    these texts, by error rate (McNemar's statistic) and log-loss (at the temperature
    with which it is lowest). Unless the linear probe is ahead by two standard errors,
    the texts join the training for the remaining epochs. Else they are never trained
    on, and the two are compared again at the end; should the linear probe still be
    ahead, it is fitted on all texts and used, and a `FallbackWarning` says so. Of more
    than 30,000 texts the linear probe reads about that many, drawn at random.

    With `label_texts` the linear probe stays near the label prior: for causal models
    the output embeddings of the tokens that would come next, for encoders the
    embeddings of the texts, in both cases calibrated on all texts, labelled or not. It
    minimises log-loss + ``penalty / 2 * ||W - W_prior||^2``. With fewer than 4 labelled
    texts a class on average there is no training, with fewer than 200 in all none is
    held out.

    With at most 32 texts a class these are first drawn together by a contrastive loss
    alone [3]_, in as few steps as that takes; then the head is fitted, a logistic
    regression on what the trained model makes of them. No text is held out.

    References
    ----------
    .. [1] N. J. Prottasha et al., "Parameter-efficient fine-tuning of large language
       models using semantic knowledge tuning", Scientific Reports 14:30667, 2024.
       arXiv 2410.08598.
    .. [2] X. Shi, W. Cao and S. Raschka, "Deep neural networks for rank-consistent
       ordinal regression based on conditional probabilities", 2021. arXiv 2111.08851.
    .. [3] P. Khosla et al., "Supervised contrastive learning", NeurIPS 2020. arXiv
       2004.11362.

    Examples
    --------
    >>> from sksemantic import SKTuningClassifier
    >>> X = ["a joy to watch", "wonderful", "dull and slow", "a waste of time"] * 4
    >>> y = ["good", "good", "bad", "bad"] * 4
    >>> clf = SKTuningClassifier(prompt="Classify the sentiment.", random_state=0)
    >>> clf.fit(X, y).predict(["what a wonderful film"])
    array(['good'], dtype='<U4')
    """

    __module__ = "sksemantic"  # where users and pickles find it

    _parameter_constraints: dict = {
        **BaseSKTuning._parameter_constraints,
        "long_texts": [StrOptions({"auto", "truncate", "windows"})],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "ordinal": ["boolean", list, tuple, np.ndarray],
        "label_texts": [StrOptions({"labels"}), dict, None],
        "threshold": [Interval(Real, 0, 1, closed="neither"), list, tuple, np.ndarray],
    }

    classes_ = property(attrgetter("_model.task.classes"))
    temperature_ = property(attrgetter("_model.result.temperature"))

    def __init__(
        self,
        model: str = "sentence-transformers/all-MiniLM-L6-v2",
        prompt: str | None = None,
        *,
        method: str = "prefix",
        adapter: str = "low_rank",
        adapter_rank: int = 8,
        tuned_layers: "str | int | tuple[int, int]" = "auto",
        max_length: int | None = None,
        long_texts: str = "auto",
        lr: "float | str" = "auto",
        max_epochs: "int | str" = "auto",
        batch_size: "int | str" = "auto",
        class_weight: "dict | str | None" = None,
        ordinal: "bool | list" = False,
        label_texts: "dict | str | None" = None,
        threshold: "float | list" = 0.5,
        device: str = "auto",
        model_kwargs: "dict | None" = None,
        training: "dict | None" = None,
        warm_start: bool = False,
        random_state: "int | np.random.RandomState | None" = None,
        early_stopping: bool = False,
        time_limit: float | None = None,
        checkpoint_dir: "str | Path | None" = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.prompt = prompt
        self.method = method
        self.adapter = adapter
        self.adapter_rank = adapter_rank
        self.tuned_layers = tuned_layers
        self.max_length = max_length
        self.long_texts = long_texts
        self.lr = lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.class_weight = class_weight
        self.ordinal = ordinal
        self.label_texts = label_texts
        self.threshold = threshold
        self.device = device
        self.model_kwargs = model_kwargs
        self.training = training
        self.warm_start = warm_start
        self.random_state = random_state
        self.early_stopping = early_stopping
        self.time_limit = time_limit
        self.checkpoint_dir = checkpoint_dir
        self.verbose = verbose

    @checked_fit
    def partial_fit(
        self: Estimator,
        X: Any,
        y: Any,
        classes: Any = None,
        sample_weight: Any = None,
    ) -> Estimator:
        """Train one more epoch, on these texts only, at constant learning rates.

        There is no linear probe and no comparison with it. Training goes on from the
        fitted values, with the parameters of now. The first call on an unfitted
        estimator standardises features by the texts it is given. If a call fails, the
        estimator stays as it was.

        Parameters
        ----------
        X : sequence of str of length n_samples, or of tuples, or table
            Texts.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever occur; needed in the first call only.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        self : SKTuningClassifier
            The estimator.

        Raises
        ------
        ValueError
            If `classes` is missing in the first call, or y holds a label not in it.
            `fit` with `warm_start=True` takes new ones.
        """
        with training_lock(self):
            known = self.classes_ if self.__sklearn_is_fitted__() else None
            known = check_classes(classes, known)
            return self._train(X, y, sample_weight, is_partial=True, classes=known)

    def predict(self, X: Any) -> "NDArray":
        """Return the most probable label of each text, or all that are probable enough.

        Parameters
        ----------
        X : sequence of str of length n_samples, or of tuples, or table
            Texts.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels, as in `classes_`, or indicators of 0 and 1.
        """
        return self._predict("predict", X)

    def predict_proba(self, X: Any) -> "NDArray":
        """Return the probability of each class.

        One temperature calibrates them (Guo et al. 2017, arXiv 1706.04599, sec. 4.2).

        Parameters
        ----------
        X : sequence of str of length n_samples, or of tuples, or table
            Texts.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`. With several labels a text each column
            is a probability of its own.
        """
        return self._predict("predict_proba", X)

    def predict_log_proba(self, X: Any) -> "NDArray":
        """Return the log-probability of each class.

        Parameters
        ----------
        X : sequence of str of length n_samples, or of tuples, or table
            Texts.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`.
        """
        return self._predict("predict_log_proba", X)

    def decision_function(self, X: Any) -> "NDArray":
        """Return the logits.

        Parameters
        ----------
        X : sequence of str of length n_samples, or of tuples, or table
            Texts.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes the log-odds of `classes_[1]`, else one logit per class or
            label, or one log-probability per ordered class.
        """
        return self._predict("decision_function", X)

    def __sklearn_tags__(self):
        """Declare that a text may have several labels."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _finisher(self, method: str, model: "FittedModel") -> "Finish":
        task, temperature = _task_of(model), model.result.temperature
        if method == "decision_function":
            return task.logits
        if method == "predict":
            threshold = self._encoder.check_threshold(task)
            if not task.is_multilabel:
                temperature = 1.0  # without it the most probable label is the same
            return lambda scores: task.predict(scores / temperature, threshold)
        is_log = method == "predict_log_proba"
        function = task.log_probabilities if is_log else task.probabilities
        return lambda scores: function(scores / temperature)

    def _encode_targets(
        self,
        y: Any,
        texts: Any,
        weights: "NDArray | None",
        former: Any,
        classes: "NDArray | None" = None,
    ) -> Targets:
        return self._encoder.encode(y, len(texts), weights, former, classes)

    def _labelled_rows(self, y: Any) -> "NDArray | None":
        return self._encoder.labelled_rows(y)

    @property
    def _encoder(self) -> LabelEncoder:
        return LabelEncoder(
            self.class_weight, self.ordinal, self.label_texts, self.threshold
        )

    def _default_prompt(self, is_causal: bool, n_texts: int) -> str:
        if is_causal and n_texts == 2:
            return (
                'First: "{0}"\nSecond: "{1}"\n'
                "In one word, how the second relates to the first:"
            )
        if is_causal:
            return 'Text: "{text}"\nIn one word, the category of this text is'
        if n_texts == 2:
            return "Classify how the second text relates to the first."
        return "Classify the text."


def _task_of(model: "FittedModel") -> ClassifierTask:
    assert isinstance(model.task, ClassifierTask)
    return model.task
