"""SKTuningTokenClassifier: a label for every word."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax
from sklearn.base import _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight

from sksemantic._base import BaseSKTuning
from sksemantic._inputs.columns import check_words
from sksemantic._inputs.prompt import TEXT, Prompt
from sksemantic._inputs.validation import check_word_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._tasks.base import TokenClassification

_ENTITY_LABEL = re.compile(r"O|[BIESLU]-.+")


class SKTuningTokenClassifier(BaseSKTuning):
    """Classifier of words: named entities, parts of speech, and the like.

    SK-Tuning [1]_ with a head that reads every word behind the semantic prefix, at its
    first token or, for causal backbones, which have read it only then, at its last.

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

    text_rank : "auto" or int, default="auto"
        Inner size of another low-rank map, which refines the states of the text itself
        where they leave a tuned layer; 0 for none, as in the paper. "auto" is 4 with
        the low-rank adapter, else 0. Only with `method="prefix"`.

    n_layers : "auto", "all" or int, default="auto"
        How many of the backbone's layers are run, from the bottom; the head reads what
        the last of them puts out. "auto" is two thirds of a causal backbone's: their
        middle says more of a text than their top, which is about the next word, and
        the layers above cost nothing. It is all layers of others.

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

    max_length : int, default=None
        Longest row in tokens, its special tokens and the prompt's part behind the slot
        included. Longer texts are read in overlapping windows, so that every word gets
        a label. None is what the backbone has positions for, at most 512.

    head_init : {"auto", "zeros", "random", "linear_probe"}, default="auto"
        Where the head starts. "linear_probe" starts from the reference head, which is
        ahead at first but leaves the adapter little to learn. "auto" is "zeros".

    lr : float or "auto", default="auto"
        Learning rate of the adapter (AdamW), with linear warmup and decay. "auto" is
        2e-3 for causal backbones, 1e-2 for others; a quarter of it from a closed form,
        and a tenth for the adapter "linear".

    head_lr : float or "auto", default="auto"
        Learning rate of the head. "auto" is 1e-3 for causal backbones, 3e-3 for others;
        from a closed form 1e-4 and 2e-4.

    max_epochs : int or "auto", default="auto"
        Passes over the texts. "auto" is 5 for causal backbones and 6 for others, and
        more for few texts: enough for 120 steps, though never more than 30 epochs.

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
        Weights of the labels in the loss, as in scikit-learn.

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
        Labels, sorted.

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

    See Also
    --------
    SKTuningClassifier : A label for every text.

    Notes
    -----
    `fit` first fits a closed-form head (logistic regression on the frozen backbone's
    states of the words, of about 30,000 at most and those held back), then trains, and
    keeps what is better on held-back texts, as described for `SKTuningClassifier`.

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

    classes_: "NDArray"
    _class_weights: "NDArray | None"

    _parameter_constraints: dict = {
        **BaseSKTuning._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, None],
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
        max_length: int | None = None,
        head_init: str = "auto",
        lr: "float | str" = "auto",
        head_lr: "float | str" = "auto",
        max_epochs: "int | str" = "auto",
        batch_size: int = 32,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        class_weight: "dict | str | None" = None,
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
        self.max_length = max_length
        self.head_init = head_init
        self.lr = lr
        self.head_lr = head_lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
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
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
    ) -> "SKTuningTokenClassifier":
        """Read the prompt once, then train adapter and head on the words.

        Parameters
        ----------
        X : sequence of length n_samples
            Each text as a list of words, or as one str, which is split at white space.
        y : sequence of length n_samples
            The labels of each text's words: lists of str or int.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the texts in the loss.
        groups : array-like of shape (n_samples,), default=None
            Texts of one group are held back together, or not at all.

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
        with self._all_or_nothing():
            self._fit(X, y, sample_weight, groups)
            return self

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
        texts, scores = self._scores_of_words(X)
        labels = self.classes_[scores.argmax(axis=1)]
        return _by_text([part.tolist() for part in _split(labels, texts)])

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
        texts, scores = self._scores_of_words(X)
        return _by_text(_split(softmax(scores, axis=1), texts))

    def transform(self, X: Any) -> "NDArray":
        """Embed words: their hidden states behind the trained semantic prefix.

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
            True labels of their words.
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
        predicted = self.predict(X).tolist()
        true = check_word_labels(y, check_words(X))
        if all(_ENTITY_LABEL.fullmatch(str(label)) for label in self.classes_):
            from seqeval.metrics import f1_score

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

    def _scores_of_words(self, X: Any) -> "tuple[list[list[str]], NDArray]":
        """Return the words of each text, and the logits of all words (n_words, K)."""
        _ = self.net_  # raises NotFittedError first
        texts = check_words(X)
        if not any(texts):
            return texts, np.empty((0, len(self.classes_)))
        return texts, self._scores(texts)

    def _check_fit_texts(self, X: Any) -> list[list[str]]:
        """Check X, and the prompt's only slot."""
        texts = check_words(X)
        if not any(texts):
            raise ValueError("X has no words: all texts are empty.")
        if self.prompt is not None:
            prompt = Prompt.parse(self.prompt)
            if prompt.fields not in ((), (TEXT,)):
                raise ValueError(
                    "The 'prompt' parameter of a SKTuningTokenClassifier may have one "
                    f"slot, {{text}}. Got {self.prompt!r} instead."
                )
        return texts

    def _check_texts(self, X: Any) -> list[list[str]]:
        return check_words(X)

    def _n_texts(self, texts: Any) -> int:
        return 1

    def _dataset(
        self,
        texts: list[list[str]],
        targets: "NDArray | None" = None,
        weights: "NDArray | None" = None,
        groups: "NDArray | None" = None,
    ) -> "TextDataset":
        from sksemantic._inputs.dataset import TextDataset

        rows, word_positions, origins = self._template.word_rows(texts)
        if weights is not None:
            weights = weights[origins]
        if groups is not None:
            groups = groups[origins]
        elif len(np.unique(origins)) < len(origins):
            groups = origins  # the windows of one text
        return TextDataset(rows, targets, weights, word_positions, groups)

    def _encode_fit_targets(
        self, y: Any, texts: list[list[str]], weights: "NDArray | None", warm: bool
    ) -> "tuple[NDArray, NDArray | None]":
        labels = check_word_labels(y, texts)
        flat = np.array([label for text in labels for label in text])
        classes = np.unique(flat)
        if warm and not np.array_equal(classes, self.classes_):
            raise ValueError(
                "warm_start=True needs the same classes as the fit before, "
                f"{self.classes_.tolist()}. Got {classes.tolist()} instead."
            )
        if len(classes) < 2:
            raise ValueError(
                "y must hold at least two labels. Got one only, "
                f"{classes.tolist()[0]!r}."
            )
        self.classes_ = classes
        codes = np.searchsorted(classes, flat)
        self._class_weights = None
        if self.class_weight is not None:
            found = compute_class_weight(self.class_weight, classes=classes, y=flat)
            self._class_weights = found / found[codes].mean()
        return codes, weights

    def _pooling(self) -> str:
        return "tokens"

    def _task(self) -> "TokenClassification":
        from sksemantic._tasks.base import TokenClassification

        return TokenClassification(len(self.classes_), self._class_weights)

    def _default_prompt(self, is_causal: bool, n_texts: int) -> str:
        return "Label every word: names of persons, places and organisations, or none."


def _split(values: "NDArray", texts: list[list[str]]) -> "list[NDArray]":
    """Split what belongs to all words by text."""
    return np.split(values, np.cumsum([len(words) for words in texts])[:-1])


def _by_text(parts: "list[Any]") -> "NDArray":
    """Return an object array of one entry for each text."""
    found = np.empty(len(parts), dtype=object)
    for i, part in enumerate(parts):
        found[i] = part
    return found
