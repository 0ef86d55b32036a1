"""SKTuningTokenClassifier: a label for every word."""

import re
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from seqeval.metrics import f1_score
from sklearn.utils._param_validation import StrOptions

from sksemantic._base import BaseSKTuning, Estimator
from sksemantic._inputs.columns import check_words
from sksemantic._inputs.dataset import Ragged, TextDataset
from sksemantic._inputs.prompt import TEXT, Prompt
from sksemantic._inputs.word_labels import check_word_labels
from sksemantic._prediction import Prediction
from sksemantic._tasks.base import Targets
from sksemantic._tasks.tokens import TokenClassification
from sksemantic._tasks.word_labels import encode_word_labels
from sksemantic._training.fit_hooks import checked_fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._inputs.template import Template
    from sksemantic._model.module import SemanticModule
    from sksemantic._prediction import Finish
    from sksemantic._training.fitted import FittedModel

_ENTITY_LABEL = re.compile(r"O|[BIESLU]-.+")


class SKTuningTokenClassifier(
    BaseSKTuning,
    auto_wrap_output_keys=None,  # type: ignore[call-arg]  # words are no rows
):
    """Classifier of words: named entities, parts of speech, and the like.

    SK-Tuning [1]_ with a head that reads every word after the semantic prefix, at its
    first token or, for causal models, which have read it only then, at its last.

    Parameters
    ----------
    model : str, default="sentence-transformers/all-MiniLM-L6-v2"
        The backbone: a local directory, a `.gguf` file, or a hub id, looked up among
        installed weights packages, in the hub cache and on the hub, in this order.
    prompt : str, default=None
        A plain text, optionally with one ``{text}`` slot. What stands before the slot
        becomes the semantic prefix; what stands after it is appended to every text.
        Without a slot the prompt stands before the text. Literal braces are doubled.
        None asks for names of persons, places and organisations.
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
        Longest row in tokens, its special tokens and the prompt's part after the slot
        included. Longer texts are read in overlapping windows, so that every word gets
        a label. None is what the backbone has positions for, at most 512.
    lr : float or "auto", default="auto"
        Learning rate of adapter and text adapter (AdamW), with linear warmup and decay;
        that of the head is ``training={"head_lr": ...}``. "auto" is 2e-3 for causal
        models, 1e-2 for others; a quarter of it where the head starts from the linear
        probe, and a tenth for the adapter "linear".
    max_epochs : int or "auto", default="auto"
        Passes over the texts. "auto" is 5 for causal models and 6 for others, and
        more for few texts: enough for 120 steps, though never more than 30 epochs.
    batch_size : int or "auto", default="auto"
        Texts per training step. "auto" is 64 for up to 20 texts of an encoder, see
        Notes, and 32 for all else.
    class_weight : dict or "balanced", default=None
        Weights of the labels in the loss, as in scikit-learn.
    device : str, default="auto"
        "cpu", "cuda", "cuda:N", "mps"; "auto" takes the best one present.
    model_kwargs : dict, default=None
        How the backbone is loaded and run: ``revision``, ``dtype``,
        ``quantization_config``, ``device_map``, ``n_layers`` and ``prefix_mechanism``,
        as described for `SKTuningClassifier`.
    training : dict, default=None
        Fields of `TrainingConfig` that replace those of the preset, such as
        ``{"head_lr": 1e-3, "contrast": 0}``; each as ``training__head_lr`` in
        `set_params` and `GridSearchCV`. See `TrainingConfig` for all of them.
    warm_start : bool, default=False
        Start `fit` from the values trained before, instead of afresh. Adapter and text
        adapter must have the same shapes; another prompt is accepted. y may have new
        labels: each gets a row of the head.
    random_state : int, RandomState instance or None, default=None
        Seed of everything random. The same seed on the same machine's CPU gives the
        same predictions.
    early_stopping : bool, default=False
        Whether to end the training when the loss of held-out texts has not fallen for
        three epochs, and to restore the best epoch; they are not trained on then.
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
        Labels, sorted.
    config_, history_, linear_probe_, comparison_, temperature_, prompt_ : object
        As for `SKTuningClassifier`, and so are `timing_`, `prefix_mechanism_`,
        `n_virtual_tokens_`, `n_trainable_params_`, `n_layers_` and
        `backbone_source_`.

    See Also
    --------
    SKTuningClassifier : A label for every text.

    Notes
    -----
    `fit` first fits a linear probe, logistic regression on the frozen backbone's states
    of the words, then trains, and keeps the trained model unless the linear probe is
    clearly better on held-out texts, as described for `SKTuningClassifier`. With up to
    20 texts of an encoder it first draws the words of a label together, and then fits
    the head, without held-out texts.

    `predict` and the like return object arrays with one list, or array, for each text;
    call ``.tolist()`` for lists of lists.

    References
    ----------
    .. [1] N. J. Prottasha et al., "Parameter-efficient fine-tuning of large language
       models using semantic knowledge tuning", Scientific Reports 14:30667, 2024.
       arXiv 2410.08598.

    Examples
    --------
    >>> from sksemantic import SKTuningTokenClassifier
    >>> X = ["Anna lives in Rome", "Paul likes Paris"] * 8
    >>> y = [["PER", "O", "O", "LOC"], ["PER", "O", "LOC"]] * 8
    >>> tagger = SKTuningTokenClassifier(random_state=0).fit(X, y)
    >>> tagger.predict(["Anna likes Rome"])[0]
    ['PER', 'O', 'LOC']
    """

    __module__ = "sksemantic"  # where users and pickles find it

    _parameter_constraints: dict = {
        **BaseSKTuning._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, None],
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
        lr: "float | str" = "auto",
        max_epochs: "int | str" = "auto",
        batch_size: "int | str" = "auto",
        class_weight: "dict | str | None" = None,
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
        self.lr = lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.class_weight = class_weight
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
    def fit(
        self: Estimator, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
    ) -> Estimator:
        """Read the prompt once, then train adapter and head on the words.

        Parameters
        ----------
        X : sequence of length n_samples
            Each text as a list of words, or as one str, which is split at white space.
        y : sequence of length n_samples
            The labels of each text's words: lists of str or int. A word has none if its
            label is missing (None, NaN or NA), of which a warning tells, or -100. It is
            read as a part of its text, but does not count for anything that is learned
            or compared; a text without any labelled word is left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the texts in the loss.
        groups : array-like of shape (n_samples,), default=None
            Texts of one group are held out together, or not at all.

        Returns
        -------
        self : SKTuningTokenClassifier
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter, X, y or `sample_weight` is invalid; before any backbone is
            loaded wherever that is possible.
        BackboneNotFoundError
            If no weights are found for `model`.
        UnsupportedBackboneError
            If the weights cannot be loaded safely, or take no semantic prefix.
        """
        return self._train(X, y, sample_weight, groups)

    def predict(self, X: Any) -> "NDArray":
        """Return the most probable label of each word.

        Parameters
        ----------
        X : sequence of length n_samples
            Texts, as in `fit`.

        Returns
        -------
        ndarray of shape (n_samples,), object
            A list of labels for each text.
        """
        return self._predict("predict", X)

    def predict_proba(self, X: Any) -> "NDArray":
        """Return the probability of each label for each word.

        Parameters
        ----------
        X : sequence of length n_samples
            Texts, as in `fit`.

        Returns
        -------
        ndarray of shape (n_samples,), object
            For each text an array of shape (n_words, n_classes), columns in the order
            of `classes_`.
        """
        return self._predict("predict_proba", X)

    def transform(self, X: Any) -> "NDArray":
        """Embed words: their hidden states after the trained semantic prefix.

        Parameters
        ----------
        X : sequence of length n_samples
            Texts, as in `fit`.

        Returns
        -------
        ndarray of shape (n_samples,), object
            For each text an array of shape (n_words, hidden_size), float32.
        """
        texts = check_words(X)
        states: Any = np.empty((0, self._n_features_out), np.float32)
        if any(texts):
            states = super().transform(texts)
        return _by_text(_split(states, texts))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the F1 score of whole entities, or else the accuracy of words.

        It is the micro-averaged F1 of entities by the rules of CoNLL-2003 [2]_ if all
        labels are such of entities ("O", "B-PER", "I-PER", ...): both bounds and type
        must be right.

        Parameters
        ----------
        X : sequence of length n_samples
            Texts, as in `fit`.
        y : sequence of length n_samples
            True labels of their words. Words without a label do not count.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the texts, for the accuracy of words only.

        Returns
        -------
        float
            Between 0 and 1.

        References
        ----------
        .. [2] E. F. Tjong Kim Sang and F. De Meulder, "Introduction to the CoNLL-2003
           shared task", CoNLL 2003.
        """
        predicted, true = [], []
        labels = check_word_labels(y, check_words(X))
        labels.refuse_none_labelled()
        for own, of_text in zip(self.predict(X), labels.values, strict=True):
            pairs = zip(own, of_text, strict=True)
            known = [(a, b) for a, b in pairs if b is not None]
            predicted.append([a for a, _ in known])
            true.append([b for _, b in known])
        if all(_ENTITY_LABEL.fullmatch(str(label)) for label in self.classes_):
            return float(f1_score(true, predicted, zero_division=0))
        weights = np.ones(len(true)) if sample_weight is None else sample_weight
        right = [
            (sum(a == b for a, b in zip(*pair, strict=True)), len(pair[0]))
            for pair in zip(true, predicted, strict=True)
        ]
        n_right, n_words = np.asarray(weights) @ np.array(right)
        return float(n_right / n_words)

    def __sklearn_tags__(self):
        """Declare lists of words as input."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    def _prepare_prediction(
        self, method: str, X: Any, model: "FittedModel | None" = None
    ) -> Prediction:
        model = model or self._model
        texts = check_words(X)
        prediction = super()._prepare_prediction(method, texts, model)

        def finish(scores: "NDArray") -> "NDArray":
            parts = _split(prediction.finish(scores), texts)
            if method == "predict":
                return _by_text([part.tolist() for part in parts])
            return _by_text(parts)

        return replace(prediction, finish=finish)

    def _finisher(self, method: str, model: "FittedModel") -> "Finish":
        task, temperature = model.task, model.result.temperature
        assert isinstance(task, TokenClassification)
        if method == "predict":
            return task.predict
        return lambda scores: task.probabilities(scores / temperature)

    def _encode_targets(
        self,
        y: Any,
        texts: list[list[str]],
        weights: "NDArray | None",
        former: Any,
        classes: "NDArray | None" = None,
    ) -> Targets:
        if not any(texts):
            raise ValueError("X has no words: all texts are empty.")
        return encode_word_labels(y, texts, weights, self.class_weight, former)

    def _default_prompt(self, is_causal: bool, n_texts: int) -> str:
        return "Label every word: names of persons, places and organisations, or none."

    def _check_texts(self, X: Any, prompt: Prompt | None) -> list[list[str]]:
        """Check X, and the prompt's only slot."""
        if prompt is not None and prompt.fields not in ((), (TEXT,)):
            raise ValueError(
                "The 'prompt' parameter of a SKTuningTokenClassifier may have one "
                f"slot, {{text}}. Got {str(prompt)!r} instead."
            )
        return check_words(X)

    def _n_texts(self, texts: Any) -> int:
        return 1

    def _make_dataset(
        self,
        module: "SemanticModule",
        template: "Template",
        texts: list[list[str]],
        targets: "NDArray | None" = None,
        weights: "NDArray | None" = None,
        groups: "NDArray | None" = None,
    ) -> TextDataset:
        """Tokenise words; a long text becomes several windows."""
        if not any(texts):
            return TextDataset(Ragged.of([]), word_positions=Ragged.of([]))
        rows, word_positions, origins = template.word_rows(texts)
        if weights is not None:
            weights = weights[origins]
        if groups is not None:
            groups = groups[origins]
        elif len(np.unique(origins)) < len(origins):
            groups = origins  # the windows of one text
        data = TextDataset(rows, None, weights, word_positions, groups)
        if targets is None:
            return data
        return data.with_labelled_words(targets)


def _split(values: "NDArray", texts: list[list[str]]) -> "list[NDArray]":
    """Split what belongs to all words by text."""
    return np.split(values, np.cumsum([len(words) for words in texts])[:-1])


def _by_text(parts: "list[Any]") -> "NDArray":
    """Return an object array of one entry for each text."""
    found = np.empty(len(parts), dtype=object)
    for i, part in enumerate(parts):
        found[i] = part
    return found
