"""SKTuningClassifier: labels in, labels and probabilities out."""

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_consistent_length

from sksemantic._base import BaseSKTuning
from sksemantic._inputs.validation import (
    check_columns,
    check_indicators,
    check_label_texts,
    check_labels,
    check_threshold,
    check_weights,
    refuse_unnamed,
    unlabelled_rows,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task
    from sksemantic._tasks.targets import Classes
    from sksemantic._training.config import Recipe
    from sksemantic._training.trainer import Hints


class SKTuningClassifier(ClassifierMixin, BaseSKTuning):
    """Text classifier: a frozen language model behind a trained semantic prefix.

    SK-Tuning [1]_: the frozen backbone reads a meaningful `prompt` once; a small
    trainable adapter refines what it understood, layer by layer, into a prefix that
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

    text_rank : "auto" or int, default="auto"
        Inner size of another low-rank map, which refines the states of the text itself
        where they leave a tuned layer; 0 for none, as in the paper. "auto" is 4 with
        the low-rank adapter and without `label_texts`, else 0. Only with
        `method="prefix"`.

    n_layers : "auto", "all" or int, default="auto"
        How many of the backbone's layers are run, from the bottom; the head reads what
        the last of them puts out. "auto" is two thirds of a causal backbone's: their
        middle says more of a text than their top, which is about the next word, and
        the layers above cost nothing. It is all layers of others, and with
        `label_texts`, which the top is needed for.

    tuned_layers : "auto", "all", int or (int, int), default="auto"
        How many of the top layers have an adapted prefix, or the first of them and the
        one behind the last, counted from 0 at the bottom. All others keep the frozen
        prefix; what lies below is computed once for each text, and kept for later
        epochs, folds and fits. "auto" is the upper two thirds for causal backbones, all
        layers for others. Only with `method="prefix"`.

    prefix_mechanism : {"auto", "attention", "kv_cache", "hidden_states"}, default=auto
        How the backbone is given the prefix: joined to keys and values inside its
        attention function, as a cache of past keys and values, or as the first hidden
        states of every layer. "auto" takes the first of them that proves to work.

    pooling : {"auto", "mean", "last", "first"}, default="auto"
        Over which tokens of the text the head reads. "auto" is the last token for
        causal backbones, the mean for others; an encoder reads the texts of pairs,
        if no prompt lays them out, apart as well, for difference and product of means.

    max_length : int, default=None
        Longest text in tokens, its special tokens and the prompt's part behind the
        slot included; longer ones are cut at the end, with a warning. None is what the
        backbone has positions for, at most 512.

    head_init : {"auto", "zeros", "random", "linear_probe"}, default="auto"
        Where the head starts. "linear_probe" starts from the reference head, which is
        ahead at first but leaves the adapter little to learn. "auto" does so for pairs
        that are also read apart, see `pooling`, and is "zeros" for all else.

    contrast : "auto" or float, default="auto"
        How much it counts, beside the loss of the labels, that the pooled texts of one
        class lie close together and those of two apart [3]_; 0 for the labels alone,
        as in the paper. "auto" is 1 for encoders with up to 100 texts a class, and
        ``(100 / texts a class) ** 2`` with more; it is 0 with fewer than 32 texts in
        all, for causal backbones, pairs that are also read apart, with `label_texts`,
        several labels a text, and ordered classes.

    lr : float or "auto", default="auto"
        Learning rate of the adapter (AdamW), with linear warmup and decay. "auto" is
        2e-3 for causal backbones, 4e-3 for others; a quarter of it from a closed form,
        and a tenth for the adapter "linear".

    head_lr : float or "auto", default="auto"
        Learning rate of the head. "auto" is 1e-3 for causal backbones, 1.5e-3 for
        others; 1e-4 from a closed form.

    max_epochs : int or "auto", default="auto"
        Passes over the texts. "auto" is 5 for causal backbones and 6 for others, and
        more for few texts: enough for 120 steps, though never more than 30 epochs; for
        180 steps in at most 90 epochs where encoders have few texts and `label_texts`.

    batch_size : int, default=32
        Texts per training step.

    early_stopping : bool, default=False
        Hold back texts for all epochs, stop when their loss stops falling, and restore
        the best epoch.

    validation_fraction : float, default=0.1
        Share of the texts held back; see Notes.

    n_iter_no_change : int, default=3
        Epochs without a lower validation loss before early stopping stops.

    class_weight : dict or "balanced", default=None
        Weights of the classes in the loss, as in scikit-learn. Not with several labels
        a text.

    ordinal : bool or list of labels, default=False
        Whether the classes are ordered: as they are sorted, or as they are listed. The
        head then has one output for each step from a class to the next [2]_, and
        `predict` returns the median class, which has the least expected distance.

    label_texts : dict of label to str or list of str, default=None
        What the labels are called. The classifier then starts from what the backbone
        itself makes of these texts, and predicts sensibly from few examples or none;
        see Notes. Every label has to be there; some may have no example. Texts with -1
        for a label count as unlabelled, and help to calibrate.

    threshold : float or array-like of shape (n_labels,), default=0.5
        With several labels a text, the probability from which `predict` gives a label.
        It may be set after `fit`.

    device : str, default="auto"
        "cpu", "cuda", "cuda:N", "mps"; "auto" takes the best one present.

    dtype : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Precision of the frozen backbone. Adapter, head and loss are always float32.
        "auto" is bfloat16 where the device computes natively in it, else float32.

    quantization_config : dict or quantization config of transformers, default=None
        Load packed weights, for example ``BitsAndBytesConfig(load_in_4bit=True)`` or a
        ``TorchAoConfig``. Adapter and head stay float32.

    device_map : str or dict, default=None
        Spread a backbone that is larger than one device, for example "auto"; needs
        accelerate. None puts it on `device`.

    warm_start : bool, default=False
        Start `fit` from the values trained before, instead of afresh.

    random_state : int, RandomState instance or None, default=None
        Seed of everything random. The same seed on the same machine's CPU gives the
        same predictions.

    verbose : int, default=0
        0 is silent, 1 shows a progress bar, 2 one line per epoch.

    callbacks : list of skorch callbacks, default=None
        Added to the net. With callbacks, the held-back texts stay held back.

    revision : str, default=None
        Branch, tag or commit of a hub model.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted. With several labels a text the columns of y, 0 to
        n_labels - 1.

    net_ : skorch.NeuralNet
        The trained net; `net_.module_` holds adapter and head.

    history_ : skorch.history.History
        Losses and durations, epoch by epoch.

    linear_probe_ : object
        The closed-form head on the frozen features: `coef`, `intercept`, `penalty`,
        `cv_loss`.

    comparison_ : object or None
        How the trained model compared with the closed form on the held-back texts, and
        which one was kept. None if there were too few texts to hold any back.

    prompt_ : str
        The prompt in use.

    prefix_mechanism_ : {"attention", "kv_cache", "hidden_states"} or None
        How the backbone is given the prefix; None with `method="prompt"`.

    n_virtual_tokens_ : int
        Length of the prefix in tokens.

    n_trainable_params_ : int
        Number of trained parameters.

    n_layers_ : int
        Number of the backbone's layers that are run.

    backbone_source_ : object
        Which weights are used, and from where: `name`, `origin`, `location`,
        `gguf_file`, `revision`.

    n_features_in_ : int
        Number of columns, if X was a table or 2-D array.

    feature_names_in_ : ndarray of shape (n_columns,)
        The columns' names, if X was a DataFrame whose names are all strings.

    See Also
    --------
    SKTuningRegressor : The same for numbers.

    Notes
    -----
    `fit` first fits a closed-form head (logistic regression, its penalty chosen by
    cross-validation) on the frozen backbone's features. It then trains on all but the
    held-back texts: `validation_fraction` of them, or 100 if that is more, though never
    more than a third, or than 10,000. As soon as the trained model is better on these
    by two standard errors of the paired difference, they join the training for the
    remaining epochs; after half of the epochs it is enough not to be behind by two. If
    they never join, what is kept is fitted on all texts; should that be the closed
    form, a `FallbackWarning` says so. Error rate and log-loss (at the temperature that
    suits best) both count, for error rates by McNemar's statistic. Of more than 30,000
    texts the closed-form head reads about that many, drawn at random, and those held
    back.

    With `label_texts` the closed-form head is drawn towards what they say: for causal
    backbones the output embeddings of the tokens that would come next, for encoders the
    embeddings of the texts, in both cases calibrated on all texts, labelled or not. It
    minimises log-loss + ``penalty / 2 * ||W - W_texts||^2``. With fewer than 4 labelled
    texts a class on average there is no training, with fewer than 200 in all none is
    held back and training starts from this head, at lower rates.

    An encoder's text keeps its own positions, counted from its own start; a causal
    backbone's text goes on where the prompt ended.

    Pickles hold the trained values and the backbone's name, never the backbone.

    References
    ----------
    .. [1] N. J. Prottasha et al., "Parameter-efficient fine-tuning of large language
       models using semantic knowledge tuning", Scientific Reports 14:30667, 2024.
       arXiv 2410.08598.
    .. [2] X. Shi, W. Cao and S. Raschka, "Deep neural networks for rank-consistent
       ordinal regression based on conditional probabilities", 2021. arXiv 2111.08851.
    .. [3] L. Tunstall et al., "Efficient few-shot learning without prompts", 2022.
       arXiv 2209.11055.

    Examples
    --------
    >>> from sksemantic import SKTuningClassifier
    >>> X = ["a joy to watch", "wonderful", "dull and slow", "a waste of time"] * 4
    >>> y = ["good", "good", "bad", "bad"] * 4
    >>> clf = SKTuningClassifier(prompt="Classify the sentiment.", random_state=0)
    >>> clf.fit(X, y).predict(["what a wonderful film"])
    array(['good'], dtype='<U4')
    """

    classes_: "NDArray"
    _targets: "Classes"

    _parameter_constraints: dict = {
        **BaseSKTuning._parameter_constraints,
        "contrast": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "ordinal": ["boolean", list, tuple, np.ndarray],
        "label_texts": [dict, None],
        "threshold": [Interval(Real, 0, 1, closed="neither"), list, tuple, np.ndarray],
    }

    def __init__(
        self,
        model: str = "sentence-transformers/all-MiniLM-L6-v2",
        prompt: str | None = None,
        *,
        method: str = "prefix",
        adapter: str = "low_rank",
        adapter_rank: int = 8,
        text_rank: "str | int" = "auto",
        n_layers: "str | int" = "auto",
        tuned_layers: "str | int | tuple[int, int]" = "auto",
        prefix_mechanism: str = "auto",
        pooling: str = "auto",
        max_length: int | None = None,
        head_init: str = "auto",
        contrast: "float | str" = "auto",
        lr: "float | str" = "auto",
        head_lr: "float | str" = "auto",
        max_epochs: "int | str" = "auto",
        batch_size: int = 32,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        class_weight: "dict | str | None" = None,
        ordinal: "bool | list" = False,
        label_texts: "dict | None" = None,
        threshold: "float | list" = 0.5,
        device: str = "auto",
        dtype: str = "auto",
        quantization_config: "Any" = None,
        device_map: "str | dict | None" = None,
        warm_start: bool = False,
        random_state: "int | np.random.RandomState | None" = None,
        verbose: int = 0,
        callbacks: "list | tuple | None" = None,
        revision: str | None = None,
    ) -> None:
        self.model = model
        self.prompt = prompt
        self.method = method
        self.adapter = adapter
        self.adapter_rank = adapter_rank
        self.text_rank = text_rank
        self.n_layers = n_layers
        self.tuned_layers = tuned_layers
        self.prefix_mechanism = prefix_mechanism
        self.pooling = pooling
        self.max_length = max_length
        self.head_init = head_init
        self.contrast = contrast
        self.lr = lr
        self.head_lr = head_lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.ordinal = ordinal
        self.label_texts = label_texts
        self.threshold = threshold
        self.device = device
        self.dtype = dtype
        self.quantization_config = quantization_config
        self.device_map = device_map
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks
        self.revision = revision

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        sample_weight: Any = None,
    ) -> "SKTuningClassifier":
        """Train one more epoch, on these texts only, at constant learning rates.

        There is no closed-form head and no comparison with it. The first call on an
        unfitted estimator standardises features by the texts it is given.

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
        """
        first = not self.__sklearn_is_fitted__()
        if first and classes is None:
            raise ValueError(
                "classes must be passed on the first call to partial_fit: all labels "
                "that will ever occur, for example np.unique(y_all), or the number of "
                "columns as np.arange(n_labels) for several labels a text."
            )
        texts = self._check_fit_texts(X) if first else self._check_texts(X)
        weights = check_weights(sample_weight, texts)
        indicators = check_indicators(y, len(texts))
        is_multilabel = indicators is not None
        labels = check_labels(y, len(texts)) if indicators is None else indicators
        if not first:
            check_columns(self, X, reset=False)
        known = self.classes_ if not first else None
        if classes is not None:
            passed = np.unique(check_labels(classes, np.asarray(classes).size))
            if known is not None and not np.array_equal(passed, known):
                raise ValueError(
                    f"`classes={classes!r}` is not the same as on the last call to "
                    f"partial_fit or fit, was: {known!r}."
                )
            known = _two_classes(passed)
        assert known is not None
        with self._all_or_nothing():
            self._set_classes(known, is_multilabel=is_multilabel, fresh=first)
            targets = self._targets.encode(labels)
            weights = self._weigh_classes(labels, weights)
            return self._partial_fit(X, texts, targets, weights)

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
        scores = self._scores(X)  # raises NotFittedError first
        return self._targets.decide(scores, self._thresholds())

    def predict_proba(self, X: Any) -> "NDArray":
        """Return the probability of each class.

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
        scores = self._scores(X)
        return self._targets.probabilities(scores)

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
        scores = self._scores(X)
        return self._targets.log_probabilities(scores)

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
        scores = self._scores(X)
        return self._targets.logits(scores)

    def _encode_fit_targets(
        self, y: Any, texts: Any, weights: "NDArray | None", warm: bool
    ) -> "tuple[NDArray, NDArray | None]":
        indicators = check_indicators(y, len(texts))
        if indicators is not None:
            classes = np.arange(indicators.shape[1])
            self._set_classes(classes, is_multilabel=True, fresh=not warm)
            return self._targets.encode(indicators), weights
        if self.label_texts is None:
            labels = check_labels(y, len(texts))
            classes = _two_classes(np.unique(labels))
        else:
            classes = check_label_texts(self.label_texts)[0]
            labels = check_labels(y, len(texts)) if len(texts) else classes[:0]
            refuse_unnamed(labels, classes)
        self._set_classes(classes, is_multilabel=False, fresh=not warm)
        return self._targets.encode(labels), self._weigh_classes(labels, weights)

    def _split_unlabelled(self, texts: Any, y: Any) -> "tuple[NDArray | None, Any]":
        """Take texts of the label -1 for unlabelled, where labels have texts."""
        if self.label_texts is None:
            return None, None
        check_label_texts(self.label_texts)
        if y is None or np.ndim(y) != 1 or {-1, "-1"} & {*self.label_texts}:
            return None, None
        check_consistent_length(range(len(texts)), y)
        is_unlabelled = unlabelled_rows(y)
        return np.flatnonzero(~is_unlabelled), texts.take(np.flatnonzero(is_unlabelled))

    def _hints(self, module: "SemanticModule", unlabelled: Any) -> "Hints | None":
        """Return what the labels are called, and the unlabelled texts."""
        if self.label_texts is None:
            return None
        from sksemantic._tasks.verbalizer import label_directions
        from sksemantic._training.trainer import Hints

        texts = check_label_texts(self.label_texts)[1]
        directions = label_directions(module, self._template, texts)
        if unlabelled is None:
            return Hints(directions)
        return Hints(directions, self._dataset(unlabelled))

    def _set_classes(
        self, classes: "NDArray", *, is_multilabel: bool, fresh: bool
    ) -> None:
        """Fix the classes of a fresh fit; a warm start must find the same ones."""
        if not fresh:
            same = is_multilabel == self._targets.is_multilabel
            if not (same and np.array_equal(classes, self.classes_)):
                raise ValueError(
                    "This needs the same classes as the fit before, "
                    f"{self.classes_.tolist()}. Got {classes.tolist()} instead. To "
                    "start afresh, set warm_start=False."
                )
            return
        ordered = self.ordinal is not False
        if is_multilabel and (ordered or self.class_weight is not None):
            name = "ordinal" if ordered else "class_weight"
            raise ValueError(
                f"The {name!r} parameter must be left alone with several labels a "
                f"text. Got {getattr(self, name)!r} instead. To favour rare labels, "
                "lower `threshold`."
            )
        if self.contrast not in ("auto", 0) and (is_multilabel or ordered):
            raise ValueError(
                "The 'contrast' parameter must be 'auto' or 0 with several labels a "
                "text, and with ordered classes: their texts are more or less alike. "
                f"Got {self.contrast!r} instead."
            )
        if self.label_texts is not None and (is_multilabel or ordered):
            raise ValueError(
                "The 'label_texts' parameter must be None with several labels a text, "
                "and with ordered classes."
            )
        from sksemantic._tasks.targets import Classes, LabelSet, OrderedClasses

        if ordered:
            self._targets = OrderedClasses(classes, self.ordinal)
        else:
            self._targets = (LabelSet if is_multilabel else Classes)(classes)
        self.classes_ = classes
        self._thresholds()

    def _thresholds(self) -> "NDArray":
        """Return the thresholds of several labels, checked."""
        n_labels = len(self.classes_) if self._targets.is_multilabel else None
        return check_threshold(self.threshold, n_labels)

    def _weigh_classes(
        self, labels: "NDArray", weights: "NDArray | None"
    ) -> "NDArray | None":
        """Multiply class weights in."""
        if self.class_weight is None:
            return weights
        if weights is None:
            weights = np.ones(len(labels), np.float32)
        per_class = compute_class_weight(
            self.class_weight, classes=self.classes_, y=labels
        )
        return weights * per_class[np.searchsorted(self.classes_, labels)]

    def __sklearn_tags__(self):
        """Declare that a text may have several labels."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _auto(self) -> dict[str, Any]:
        """Return what suits labels' texts: their words are the last layer's matter.

        And a few labelled texts are too little to learn a map of the texts from, or
        what those of a class have in common.
        """
        if self.label_texts is None:
            return {}
        return {"n_layers": "all", "text_rank": 0, "contrast": 0.0}

    def _recipe(self, module: "SemanticModule", **nature: Any) -> "Recipe":
        """Resolve the parameters of training, the classifier's own as well."""
        contrast = self._given("contrast") if self._targets.are_apart else 0.0
        return super()._recipe(module, contrast=contrast, **nature)

    def _task(self) -> "Task":
        return self._targets.task

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
        return "Classify the text by its sentiment, topic or intent."


def _two_classes(classes: "NDArray") -> "NDArray":
    if len(classes) < 2:
        raise ValueError(
            "A classifier needs texts of at least two classes. Got one class only, "
            f"{classes.tolist()[:1]}."
        )
    return classes
