"""SKTuningRegressor: a number for every text."""

from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import Interval, StrOptions

from sksemantic._base import BaseSKTuning, Estimator
from sksemantic._explaining import Explains
from sksemantic._inputs.targets import check_targets
from sksemantic._tasks.base import Targets
from sksemantic._tasks.regression import Regression
from sksemantic._training.fit_hooks import checked_fit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sksemantic._prediction import Finish
    from sksemantic._training.fitted import FittedModel


class SKTuningRegressor(RegressorMixin, Explains, BaseSKTuning):
    """Text regressor: a frozen language model after a trained semantic prefix.

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
        Learning rate of adapter and text adapter (AdamW), with linear warmup and decay;
        that of the head is ``training={"head_lr": ...}``. "auto" is 2e-3 for causal
        models, 4e-3 for others; a quarter of it where the head starts from the linear
        probe, and a tenth for the adapter "linear".
    max_epochs : int or "auto", default="auto"
        Passes over the texts. "auto" is 5 for causal models and 6 for others, 8 and
        9 with several targets, and more for few texts: enough for 120 steps, though
        never more than 30 epochs.
    batch_size : int or "auto", default="auto"
        Texts per training step; "auto" is 32.
    loss : {"squared_error", "huber", "absolute_error", "quantile"}, \
            default="squared_error"
        What is made small. The robust ones are for targets with outliers; "huber" is
        quadratic up to 1.35 robust standard deviations. "absolute_error" predicts
        medians, "quantile" the `quantile`.
    quantile : float, default=0.5
        Which one, between 0 and 1, with ``loss="quantile"``.
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
        Start `fit` from the values trained before, instead of afresh. Adapter, text
        adapter and head must have the same shapes; another prompt is accepted.
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
    config_, history_, linear_probe_, comparison_, prompt_ : object
        As for `SKTuningClassifier`, and so are `timing_`, `prefix_mechanism_`,
        `n_virtual_tokens_`, `n_trainable_params_`, `n_layers_`,
        `backbone_source_`, `n_features_in_` and `feature_names_in_`.
        `linear_probe_` is ridge regression.

    See Also
    --------
    SKTuningClassifier : The same for labels.

    Notes
    -----
    `fit` first fits a linear probe, ridge regression on the frozen backbone's features,
    its penalty chosen by leave-one-out cross-validation. It then trains on all but the
    held-out texts, and lets these join the training, or goes back to the linear probe,
    as described for `SKTuningClassifier`; here the two are compared by `loss`.

    An encoder's text keeps its own positions, counted from its own start; a causal
    model's text goes on where the prompt ended.

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

    __module__ = "sksemantic"  # where users and pickles find it

    _parameter_constraints: dict = {
        **BaseSKTuning._parameter_constraints,
        "long_texts": [StrOptions({"auto", "truncate", "windows"})],
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
        tuned_layers: "str | int | tuple[int, int]" = "auto",
        max_length: int | None = None,
        long_texts: str = "auto",
        lr: "float | str" = "auto",
        max_epochs: "int | str" = "auto",
        batch_size: "int | str" = "auto",
        loss: str = "squared_error",
        quantile: float = 0.5,
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
        self.loss = loss
        self.quantile = quantile
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
        self: Estimator, X: Any, y: Any, sample_weight: Any = None
    ) -> Estimator:
        """Train one more epoch, on these texts only, at constant learning rates.

        There is no linear probe and no comparison with it. After `fit` or an earlier
        call, training goes on from the trained values, with the parameters of now;
        adapter, text adapter and head must have the same shapes. The first call on an
        unfitted estimator standardises features and targets by what it is given. If a
        call fails, the estimator stays as it was.

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
        return self._train(X, y, sample_weight, is_partial=True)

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
        return self._predict("predict", X)

    def __sklearn_tags__(self):
        """Declare several targets."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _finisher(self, method: str, model: "FittedModel") -> "Finish":
        return model.task.predict

    def _encode_targets(
        self,
        y: Any,
        texts: Any,
        weights: "NDArray | None",
        former: Any,
        classes: "NDArray | None" = None,
    ) -> Targets:
        y = check_targets(y, len(texts))
        task = Regression.from_targets(y, weights, self.loss, self.quantile)
        if former is not None:
            task.check_goes_on_from(former)
            former_state = former.to_state()
            task = Regression(
                **former_state | {"loss": self.loss, "quantile": self.quantile}
            )
        return Targets(task, task.encode(y), weights)

    def _default_prompt(self, is_causal: bool, n_texts: int) -> str:
        if is_causal and n_texts == 2:
            return 'First: "{0}"\nSecond: "{1}"\nHow alike the two are:'
        if is_causal:
            return 'Text: "{text}"\nOn a scale from very low to very high, this is'
        return "Rate the two texts." if n_texts == 2 else "Rate the text."
