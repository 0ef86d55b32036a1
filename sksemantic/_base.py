"""The base of classifier and regressor: parameters, fit, prediction, pickling."""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sksemantic._backbone.device import DTYPES, resolve_device, resolve_dtype
from sksemantic._backbone.source import resolve
from sksemantic._inputs.columns import check_texts
from sksemantic._inputs.prompt import Prompt
from sksemantic._inputs.validation import (
    check_columns,
    check_groups,
    check_quantization,
    check_tuned_layers,
    check_weights,
    refuse_prefix_only,
)
from sksemantic._model.pooling import PAIR, POOLINGS, TOKENS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from skorch import NeuralNet

    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._inputs.template import Template
    from sksemantic._model.config import ModelConfig
    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task
    from sksemantic._training.config import Recipe
    from sksemantic._training.trainer import Hints

_METHODS = ("prefix", "prompt")
_ADAPTERS = ("low_rank", "linear", "embedding")
# Passed to the model's config; they move to the training config.
_TEXT_RANK = 4  # measured with MiniLM and Gemma 3 270M
_DROPOUT = 0.3  # of the features that the head reads, while training
_FROZEN_SHARE = 1 / 3  # of a causal backbone's layers: not tuned by default
_HEAD_INITS = ("auto", "zeros", "random", "linear_probe")


class BaseSKTuning(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Frozen backbone, semantic prefix, trainable adapter and head.

    Subclasses say what the targets are: `_encode_fit_targets`,
    `_task` and `_default_prompt`.
    """

    _template: "Template"
    _model_config: "ModelConfig"

    _parameter_constraints: dict = {
        "model": [str],
        "prompt": [str, None],
        "method": [StrOptions(set(_METHODS))],
        "adapter": [StrOptions(set(_ADAPTERS))],
        "adapter_rank": [Interval(Integral, 1, None, closed="left")],
        "text_rank": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "n_layers": [
            StrOptions({"auto", "all"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "tuned_layers": [
            StrOptions({"auto", "all"}),
            Interval(Integral, 1, None, closed="left"),
            tuple,
            list,
        ],
        "prefix_mechanism": [
            StrOptions({"auto", "attention", "kv_cache", "hidden_states"})
        ],
        "pooling": [StrOptions(set(POOLINGS))],
        "max_length": [Interval(Integral, 1, None, closed="left"), None],
        "head_init": [StrOptions(set(_HEAD_INITS))],
        "lr": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "head_lr": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "max_epochs": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "dtype": [StrOptions(set(DTYPES))],
        "quantization_config": [dict, HasMethods("to_dict"), None],
        "device_map": [str, dict, None],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "callbacks": [list, tuple, None],
        "revision": [str, None],
    }

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
    ) -> "BaseSKTuning":
        """Read the prompt once, then train adapter and head on the texts.

        Parameters
        ----------
        X : sequence of str of length n_samples, or of tuples, or table
            Texts; empty ones are legal. List, tuple, ndarray, pandas, pyarrow or
            polars Series, one-column DataFrame. Several texts a row: tuples, a 2-D
            array, or a DataFrame.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels, or numbers; with several columns, indicators of labels, or several
            targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the texts in the loss.
        groups : array-like of shape (n_samples,), default=None
            Texts of one group are held back together, or not at all.

        Returns
        -------
        self : object
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
            return self._fit(X, y, sample_weight, groups)

    def _fit(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> "BaseSKTuning":
        texts = self._check_fit_texts(X)
        if len(texts) < 2:
            raise ValueError("X has 1 sample; fit needs at least 2 texts.")
        weights = check_weights(sample_weight, texts)
        groups = check_groups(groups, texts)
        warm = bool(self.warm_start) and self.__sklearn_is_fitted__()
        labelled, unlabelled = self._split_unlabelled(texts, y)
        if unlabelled is not None:
            texts = texts.take(labelled)
            y, weights, groups = (
                None if each is None else np.asarray(each)[labelled]
                for each in (y, weights, groups)
            )
        targets, weights = self._encode_fit_targets(y, texts, weights, warm)
        rng = check_random_state(self.random_state)
        former = self.net_.module_.state_dict() if warm else None
        depth = self.n_layers_ if warm else None
        module = self._build(texts, rng)
        if former is not None:
            _load_former(module, former, depth)
        data = self._dataset(texts, targets, _mean_one(weights), groups)

        from sksemantic._training.trainer import Trainer

        hints = self._hints(module, unlabelled) if former is None else None
        is_gentle = hints is not None and hints.are_needed(len(data))
        recipe = self._recipe(module, is_gentle=is_gentle)
        trainer = Trainer(module, self._task(), recipe, rng)
        trained = trainer.fit(data, fresh=former is None, hints=hints)
        self._set_fitted(X, trained.net)
        self.linear_probe_ = trained.reference
        self.comparison_ = trained.comparison
        return self

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Leave a fitted estimator as it was if fitting it anew fails half-way."""
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _partial_fit(
        self, X: Any, texts: Any, targets: "NDArray", weights: "NDArray | None"
    ) -> "BaseSKTuning":
        """Train one epoch on these texts, at constant rates."""
        from sksemantic._training.trainer import Trainer

        first = not self.__sklearn_is_fitted__()
        rng = check_random_state(self.random_state)
        module = self._build(texts, rng) if first else self.net_.module_
        data = self._dataset(texts, targets, _mean_one(weights))
        net = None if first else self.net_
        recipe = self._recipe(module, has_linear_probe=not first)
        trainer = Trainer(module, self._task(), recipe, rng)
        self._set_fitted(X, trainer.partial_fit(data, net))
        return self

    def transform(self, X: Any) -> "NDArray":
        """Embed texts: pooled hidden states behind the trained semantic prefix.

        Parameters
        ----------
        X : sequence of str of length n_samples, or of tuples, or table
            Texts.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            One embedding per text, as the head reads it before standardisation: of
            the backbone's hidden size, or three times that for pairs that are also
            read apart.
        """
        from sksemantic._model.inference import compute_features

        data = self._check_and_tokenise(X)
        return compute_features(self.net_.module_, data)

    def _scores(self, X: Any) -> "NDArray":
        """Return the head's outputs (n, K) as float64."""
        from sksemantic._model.inference import compute_scores

        data = self._check_and_tokenise(X)
        return compute_scores(self.net_.module_, data).astype(np.float64)

    @property
    def net_(self) -> "NeuralNet":
        """The skorch net; after unpickling it is rebuilt when first needed."""
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet: it has no "
                "net_. Call 'fit' first."
            )
        if "_net" not in self.__dict__:
            self._restore()
        return self._net

    def __sklearn_is_fitted__(self) -> bool:
        """Whether `fit` or `partial_fit` has been called."""
        return "backbone_source_" in self.__dict__

    def __sklearn_tags__(self):
        """Declare texts as input."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []  # always float32
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Keep the trained values and the backbone's name, never the backbone."""
        state = dict(super().__getstate__())
        net = state.pop("_net", None)
        state.pop("_template", None)
        if net is not None:
            state["_values"] = {
                name: value.cpu().numpy()
                for name, value in net.module_.state_dict().items()
            }
        return state

    @property
    def _n_features_out(self) -> int:
        return self.net_.module_.head.in_features

    def _check_and_tokenise(self, X: Any) -> "TextDataset":
        check_is_fitted(self)
        texts = self._check_texts(X)
        check_columns(self, X, reset=False)
        _ = self.net_  # after unpickling this restores the template as well
        return self._dataset(texts)

    def _check_fit_texts(self, X: Any) -> Any:
        """Check X, and that its texts go into the prompt."""
        texts = check_texts(X)
        prompt = Prompt(("",)) if self.prompt is None else Prompt.parse(self.prompt)
        prompt.columns(texts.n_columns, texts.names)
        return texts

    def _check_texts(self, X: Any) -> Any:
        """Check X of a fitted estimator."""
        texts = check_texts(X)
        order = Prompt.parse(self.prompt_).columns(texts.n_columns, texts.names)
        if len(order) != self._model_config.n_texts:
            raise ValueError(
                f"X has {len(order)} text(s) a row, but this {type(self).__name__} was "
                f"fitted with {self._model_config.n_texts}."
            )
        return texts

    def _auto(self) -> dict[str, Any]:
        """Return what "auto" stands for here, whatever the backbone, by parameter."""
        return {}

    def _given(self, name: str) -> Any:
        """Return a parameter, "auto" only where the backbone decides."""
        value = getattr(self, name)
        return self._auto().get(name, value) if value == "auto" else value

    def _n_texts(self, texts: Any) -> int:
        """Return how many texts a row has."""
        return texts.n_columns

    def _dataset(
        self,
        texts: Any,
        targets: "NDArray | None" = None,
        weights: "NDArray | None" = None,
        groups: "NDArray | None" = None,
    ) -> "TextDataset":
        from sksemantic._inputs.dataset import TextDataset

        prompt = Prompt.parse(self._model_config.prompt)
        order = prompt.columns(texts.n_columns, texts.names)
        columns = [texts.values[i] for i in order]
        if self._model_config.pooling == PAIR:
            rows, parts = self._template.rows_and_parts(columns)
        else:
            rows, parts = self._template.rows(columns), None
        return TextDataset(rows, targets, weights, groups=groups, parts=parts)

    def _build(self, texts: Any, rng: np.random.RandomState) -> "SemanticModule":
        """Check the device, load the backbone, read the prompt once."""
        check_tuned_layers(self.tuned_layers)
        if self.method == "prompt":
            refuse_prefix_only("tuned_layers", self.tuned_layers, "auto", also="all")
            refuse_prefix_only("text_rank", self.text_rank, "auto", 0)
        device = resolve_device(self.device)
        source = resolve(self.model, self.revision)
        dtype = resolve_dtype(self.dtype, device)

        from sksemantic._backbone.loading import BackboneConfig
        from sksemantic._backbone.registry import load_backbone
        from sksemantic._model.config import resolve_model_config
        from sksemantic._model.module import SemanticModule

        backbone_config = BackboneConfig(
            source,
            device,
            dtype,
            self.prefix_mechanism,
            check_quantization(self.quantization_config, source),
            self.device_map,
            self._given("n_layers"),
        )
        backbone = load_backbone(backbone_config)
        n_texts = self._n_texts(texts)
        prompt = self.prompt
        if prompt is None:
            prompt = self._default_prompt(backbone.is_causal, n_texts)
        self._model_config, self._template = resolve_model_config(
            backbone,
            Prompt.parse(prompt),
            backbone_config=backbone_config,
            n_texts=n_texts,
            max_length=self.max_length,
            method=self.method,
            adapter=self.adapter,
            adapter_rank=self.adapter_rank,
            tuned_layers=self.tuned_layers,
            frozen_share=_FROZEN_SHARE,
            text_rank=self._given("text_rank"),
            default_text_rank=_TEXT_RANK,
            pooling=self._pooling(),
            dropout=_DROPOUT,
            n_outputs=self._task().n_outputs,
        )
        seed = rng.randint(np.iinfo(np.int32).max)
        ids = self._template.prompt_ids
        return SemanticModule.seeded(backbone, ids, self._model_config, seed)

    def _set_fitted(self, X: Any, net: "NeuralNet") -> None:
        check_columns(self, X, reset=True)
        self._net = net
        self.history_ = net.history
        self.prompt_ = self._model_config.prompt
        self.prefix_mechanism_ = self._model_config.backbone.prefix_mechanism
        self.n_virtual_tokens_ = net.module_.n_virtual_tokens
        self.n_trainable_params_ = sum(p.numel() for p in net.module_.parameters())
        self.n_layers_ = int(self._model_config.backbone.n_layers)
        self.backbone_source_ = self._model_config.backbone.source

    def _restore(self) -> None:
        """Rebuild the net of an unpickled estimator around the shared backbone."""
        from sksemantic._model.module import load_model
        from sksemantic._training.trainer import Trainer

        device = resolve_device(self.device)
        module, self._template = load_model(self._model_config, device)
        _load_former(module, self._values, module.backbone.n_layers)
        rng = check_random_state(self.random_state)
        net = Trainer(module, self._task(), self._recipe(module), rng).restored_net()
        net.history = self.history_
        self._net = net
        del self._values

    def _recipe(self, module: "SemanticModule", **nature: Any) -> "Recipe":
        """Resolve the parameters of training, for a module and the nature of a fit."""
        from sksemantic._training.config import Recipe

        task = self._task()
        return Recipe.resolved(
            module.backbone.is_causal,
            is_pair=module.config.pooling == PAIR,
            has_words=module.pooling == TOKENS,
            has_full_matrices=module.config.adapter == "linear",
            has_targets=task.kind == "numbers" and task.n_outputs > 1,
            **nature,
            lr=self.lr,
            head_lr=self.head_lr,
            max_epochs=self.max_epochs,
            batch_size=int(self.batch_size),
            head_init=self.head_init,
            early_stopping=self.early_stopping,
            validation_fraction=self.validation_fraction,
            n_iter_no_change=self.n_iter_no_change,
            callbacks=self.callbacks or (),
            verbose=int(self.verbose),
        )

    def _split_unlabelled(self, texts: Any, y: Any) -> "tuple[NDArray | None, Any]":
        """Return which rows have labels, and the other texts; None where all have."""
        return None, None

    def _hints(self, module: "SemanticModule", unlabelled: Any) -> "Hints | None":
        """Return what is known beside labelled texts."""
        return None

    def _pooling(self) -> str:
        """Return what the head reads of a text."""
        return self.pooling

    def _task(self) -> "Task":
        raise NotImplementedError

    def _default_prompt(self, is_causal: bool, n_texts: int) -> str:
        raise NotImplementedError

    def _encode_fit_targets(
        self, y: Any, texts: Any, weights: "NDArray | None", warm: bool
    ) -> "tuple[NDArray, NDArray | None]":
        raise NotImplementedError


def _mean_one(weights: "NDArray | None") -> "NDArray | None":
    """Bring the mean weight of the texts to one, so that rates keep their meaning."""
    if weights is None:
        return None
    return (weights / weights.mean()).astype(np.float32)


def _load_former(
    module: "SemanticModule", values: "dict[str, Any]", n_layers: int | None
) -> None:
    """Take over values trained with so many layers; they must fit the module."""
    import torch

    state = {name: torch.as_tensor(value) for name, value in values.items()}
    own = {name: value.shape for name, value in module.state_dict().items()}
    is_alike = own == {name: value.shape for name, value in state.items()}
    if not is_alike or n_layers != module.backbone.n_layers:
        raise ValueError(
            "warm_start=True needs the same backbone, method, adapter, pooling, "
            "'n_layers', 'tuned_layers', 'text_rank', number of texts a row, and "
            f"classes as the fit before, which ran {n_layers} layers; now it would be "
            f"{module.backbone.n_layers}. Set warm_start=False to start afresh."
        )
    module.load_state_dict(state)
