"""SKTuningRegressor: a number for every text."""

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from sksemantic._base import BaseSKTuning
from sksemantic._inputs.validation import (
    check_columns,
    check_targets,
    check_weights,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._tasks.base import Regression


class SKTuningRegressor(RegressorMixin, BaseSKTuning):
    """Text regressor: a frozen language model behind a trained semantic prefix.

    SK-Tuning [1]_ with a head of one output for each target. Targets are standardised
    inside (by median and median absolute deviation for robust losses), and predictions
    are given in their own units.

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

    lr : float or "auto", default="auto"
        Learning rate of the adapter (AdamW), with linear warmup and decay. "auto" is
        2e-3 for causal backbones, 4e-3 for others; a quarter of it from a closed form,
        and a tenth for the adapter "linear".

    head_lr : float or "auto", default="auto"
        Learning rate of the head. "auto" is 1e-3 for causal backbones, 1.5e-3 for
        others; 1e-4 from a closed form.

    max_epochs : int or "auto", default="auto"
        Passes over the texts. "auto" is 5 for causal backbones and 6 for others, 8 and
        9 with several targets, and more for few texts: enough for 120 steps, though
        never more than 30 epochs.

    batch_size : int, default=32
        Texts per training step.

    early_stopping : bool, default=False
        Hold back texts for all epochs, stop when their loss stops falling, and restore
        the best epoch.

    validation_fraction : float, default=0.1
        Share of the texts held back; see Notes.

    n_iter_no_change : int, default=3
        Epochs without a lower validation loss before early stopping stops.

    loss : {"squared_error", "huber", "absolute_error", "quantile"}, \
            default="squared_error"
        What is made small. The robust ones are for targets with outliers; "huber" is
        quadratic up to 1.35 robust standard deviations. "absolute_error" predicts
        medians, "quantile" the `quantile`.

    quantile : float, default=0.5
        Which one, between 0 and 1, with ``loss="quantile"``.

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
    SKTuningClassifier : The same for labels.

    Notes
    -----
    `fit` first fits a closed-form head (ridge regression, its penalty chosen by
    leave-one-out cross-validation) on the frozen backbone's features. It then trains on
    all but the held-back texts: `validation_fraction` of them, or 100 if that is more,
    though never more than a third, or than 10,000. As soon as the trained model is
    better on these by two standard errors of the paired difference, they join the
    training for the remaining epochs; after half of the epochs it is enough not to be
    behind by two. If they never join, what is kept is fitted on all texts; should that
    be the closed form, a `FallbackWarning` says so. Of more than 30,000 texts the
    closed-form head reads about that many, drawn at random, and those held back.

    An encoder's text keeps its own positions, counted from its own start; a causal
    backbone's text goes on where the prompt ended.

    Pickles hold the trained values and the backbone's name, never the backbone.

    References
    ----------
    .. [1] N. J. Prottasha et al., "Parameter-efficient fine-tuning of large language
       models using semantic knowledge tuning", Scientific Reports 14:30667, 2024.
       arXiv 2410.08598.

    Examples
    --------
    >>> from sksemantic import SKTuningRegressor
    >>> X = ["a joy to watch", "rather nice", "dull and slow", "a waste of time"] * 4
    >>> y = [5.0, 4.0, 2.0, 1.0] * 4
    >>> reg = SKTuningRegressor(prompt="Rate the film.", random_state=0)
    >>> for _ in range(10):
    ...     reg = reg.partial_fit(X, y)
    >>> bool(reg.predict(["a joy"])[0] > reg.predict(["a waste"])[0])
    True
    """

    _is_multi_output: bool
    _target_center: "NDArray"
    _target_scale: "NDArray"

    _parameter_constraints: dict = {
        **BaseSKTuning._parameter_constraints,
        "loss": [StrOptions({"squared_error", "huber", "absolute_error", "quantile"})],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
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
        lr: "float | str" = "auto",
        head_lr: "float | str" = "auto",
        max_epochs: "int | str" = "auto",
        batch_size: int = 32,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        loss: str = "squared_error",
        quantile: float = 0.5,
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
        self.lr = lr
        self.head_lr = head_lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.loss = loss
        self.quantile = quantile
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
        self, X: Any, y: Any, sample_weight: Any = None
    ) -> "SKTuningRegressor":
        """Train one more epoch, on these texts only, at constant learning rates.

        There is no closed-form head and no comparison with it. The first call on an
        unfitted estimator standardises features and target by what it is given.

        Parameters
        ----------
        X : sequence of str of length n_samples, or of tuples, or table
            Texts.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        self : SKTuningRegressor
            The estimator.
        """
        fitted = self.__sklearn_is_fitted__()
        texts = self._check_texts(X) if fitted else self._check_fit_texts(X)
        weights = check_weights(sample_weight, texts)
        if fitted:
            check_columns(self, X, reset=False)
        targets, weights = self._encode_fit_targets(
            y, texts, weights, self.__sklearn_is_fitted__()
        )
        self._partial_fit(X, texts, targets, weights)
        return self

    def predict(self, X: Any) -> "NDArray":
        """Return the predicted number of each text.

        Parameters
        ----------
        X : sequence of str of length n_samples, or of tuples, or table
            Texts.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
            In the units of y.
        """
        found = self._scores(X) * self._target_scale + self._target_center
        return found if self._is_multi_output else found[:, 0]

    def _encode_fit_targets(
        self, y: Any, texts: Any, weights: "NDArray | None", warm: bool
    ) -> "tuple[NDArray, NDArray | None]":
        """Standardise the targets; a warm start keeps the former centre and scale."""
        targets = check_targets(y, len(texts))
        columns = targets.reshape(len(targets), -1)  # (n, n_targets)
        if warm and columns.shape[1] != len(self._target_center):
            raise ValueError(
                f"y has {columns.shape[1]} target(s), but this SKTuningRegressor was "
                f"fitted with {len(self._target_center)}."
            )
        if not warm:
            self._is_multi_output = targets.ndim == 2
            location = _mean if self.loss == "squared_error" else _median
            found = [location(column, weights) for column in columns.T]
            self._target_center, self._target_scale = np.array(found).T
        standardised = (columns - self._target_center) / self._target_scale
        return standardised.reshape(targets.shape).astype(np.float32), weights

    def __sklearn_tags__(self):
        """Declare several targets."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _task(self) -> "Regression":
        from sksemantic._tasks.base import Regression

        return Regression(len(self._target_center), self.loss, self.quantile)

    def _default_prompt(self, is_causal: bool, n_texts: int) -> str:
        if is_causal and n_texts == 2:
            return 'First: "{0}"\nSecond: "{1}"\nHow alike the two are:'
        if is_causal:
            return 'Text: "{text}"\nOn a scale from very low to very high, this is'
        return "Rate the two texts." if n_texts == 2 else "Rate the text."


def _mean(values: "NDArray", weights: "NDArray | None") -> tuple[float, float]:
    """Return mean and standard deviation, 1 if that is 0."""
    mean = np.average(values, weights=weights)
    spread = np.sqrt(np.average(np.square(values - mean), weights=weights))
    return float(mean), float(spread) or 1.0


def _median(values: "NDArray", weights: "NDArray | None") -> tuple[float, float]:
    """Return the median and a scale that outliers do not move.

    The scale is that of a normal distribution with the same median absolute deviation.
    """
    if weights is not None:
        values = values[weights > 0]
    median = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - median)))
    return median, spread or _mean(values, None)[1]
