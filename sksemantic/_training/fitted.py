"""The fitted model: everything that `fit` leaves, in one object."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from skorch.history import History

from sksemantic._backbone.fingerprint import fingerprint
from sksemantic._backbone.source import (
    BackboneSource,
    find_again,
    resolve,
)
from sksemantic._backbone.torch_state import torch_state
from sksemantic._model.config import ModelConfig
from sksemantic._model.module import load_model
from sksemantic._tasks.base import Task
from sksemantic._tasks.linear_probe import LinearProbe
from sksemantic._training.comparison import Comparison
from sksemantic._training.config import TrainingConfig
from sksemantic._training.optimizer_state import with_tensors, without_tensors
from sksemantic._training.progress import FitTiming
from sksemantic._training.result import TrainingResult
from sksemantic.exceptions import BackboneMismatchError, BackboneNotFoundError

if TYPE_CHECKING:
    from sksemantic._inputs.template import Template
    from sksemantic._model.module import SemanticModule

_NOT_TRAINED = ("feature_mean", "feature_scale")


@dataclass(frozen=True)
class Config:
    """How a model was built and trained, nothing left open.

    Attributes
    ----------
    model : ModelConfig
    training : TrainingConfig
    """

    model: ModelConfig
    training: TrainingConfig


@dataclass(frozen=True, eq=False)
class FittedModel:
    """What an estimator needs to predict, to go on training, and to be saved.

    Attributes
    ----------
    config : Config
    task : Task
    result : TrainingResult
    columns : SimpleNamespace
        ``n_features_in_`` and ``feature_names_in_``, as far as X had them.
    timing : FitTiming
    weights : dict of str to ndarray
        Of adapter and head, and the scale of the features.
    n_texts : int
        How many labelled texts there were.
    fingerprint : str or None
        Of the backbone's weights.
    """

    FORMAT: ClassVar[int] = 2  # raised by every change that older code cannot read

    config: Config
    task: Task
    result: TrainingResult
    columns: SimpleNamespace
    timing: FitTiming
    weights: dict[str, "np.ndarray"]
    n_texts: int = 0
    fingerprint: str | None = None
    # The module around the shared backbone, and what lays out its texts. Both are made
    # again when they are first needed after unpickling.
    _loaded: "list[tuple[SemanticModule, Template]]" = field(default_factory=list)

    @classmethod
    def from_training(
        cls,
        module: "SemanticModule",
        template: "Template",
        task: Task,
        training: TrainingConfig,
        result: TrainingResult,
        columns: dict[str, Any],
        timing: FitTiming,
        n_texts: int,
    ) -> "FittedModel":
        """Return the model of a module that has been trained."""
        state = module.state_dict()
        weights = {name: value.cpu().numpy() for name, value in state.items()}
        config = Config(module.config, training)
        names = SimpleNamespace(**columns)
        loaded = [(module, template)]
        return cls(
            config=config,
            task=task,
            result=result,
            columns=names,
            timing=timing,
            weights=weights,
            n_texts=n_texts,
            fingerprint=fingerprint(module.config.backbone.source),
            _loaded=loaded,
        )

    @property
    def n_trained(self) -> int:
        """How many numbers have been trained."""
        names = self.weights.keys() - {*_NOT_TRAINED}
        return sum(self.weights[name].size for name in names)

    @property
    def n_features(self) -> int:
        """How many features the head reads."""
        return self.weights["head.weight"].shape[1]

    def load(
        self, device: torch.device, model: str | None = None
    ) -> "tuple[SemanticModule, Template]":
        """Return module and template; on the device if they have to be made first.

        `model` says where else the backbone may be.
        """
        if self._loaded:
            return self._loaded[0]
        with torch_state:  # another thread waits, and finds them made
            if not self._loaded:
                fitted = self.find_backbone(model)
                module, template = load_model(fitted.config.model, device)
                self.copy_weights_to(module)
                module.eval()
                self._loaded.append((module, template))
        return self._loaded[0]

    def find_backbone(self, model: str | None = None) -> "FittedModel":
        """Return the model with the place where its backbone is now, and verify it.

        It is where it was, or else where `model` says.

        Raises
        ------
        BackboneNotFoundError
        BackboneMismatchError
        """
        source = self.config.model.backbone.source
        try:
            fitted = self.with_source(find_again(source))
            fitted.verify_backbone()
        except (BackboneNotFoundError, BackboneMismatchError):
            if model is None or model == source.name:
                raise
            fitted = self.with_source(resolve(model, source.revision))
            fitted.verify_backbone()
        return fitted

    def with_source(
        self, source: BackboneSource, *, is_other: bool = False
    ) -> "FittedModel":
        """Return the model with another place of its backbone, or another backbone."""
        config = self.config.model
        backbone = replace(config.backbone, source=source)
        return replace(
            self,
            config=replace(self.config, model=replace(config, backbone=backbone)),
            fingerprint=fingerprint(source) if is_other else self.fingerprint,
            _loaded=[],
        )

    def verify_backbone(self) -> None:
        """Refuse a backbone of other weights than those of the fit.

        Raises
        ------
        BackboneMismatchError
        """
        source = self.config.model.backbone.source
        if self.fingerprint in (None, fingerprint(source)):
            return
        raise BackboneMismatchError(
            f"The backbone {source.name!r} ({source.origin}, {source.location}) has "
            "other weights than the estimator was fitted on: their SHA-256 is "
            f"{fingerprint(source)}, that of the fit was {self.fingerprint}. Put the "
            "weights of the fit there, say where they are with set_params(model=...), "
            "or fit again. from_pretrained(..., verify_backbone=False) takes others."
        )

    def copy_weights_to(self, module: "SemanticModule") -> None:
        """Give a module these weights.

        Raises
        ------
        ValueError
            If the module is not like the one that was trained.
        """
        shapes = {name: tuple(v.shape) for name, v in module.state_dict().items()}
        former, now = map(_flat, (self.config.model, module.config))
        is_alike = shapes == {name: v.shape for name, v in self.weights.items()}
        # These change what is read, though not every backbone's shapes.
        names = "n_layers", "n_texts", "has_unit_length"
        is_alike &= all(former[name] == now[name] for name in names)
        if not is_alike:
            changes = [
                f"{name} was {former[name]!r} and would be {now[name]!r}"
                for name in former
                if former[name] != now[name]
            ]
            raise ValueError(
                "Training goes on from the model of the fit before, and needs one like "
                f"it: {', '.join(changes)}. To start afresh, "
                "call fit with warm_start=False."
            )
        state = {name: torch.tensor(value) for name, value in self.weights.items()}
        module.load_state_dict(state)

    def to_state(self) -> dict[str, Any]:
        """Return the model as a versioned dictionary of arrays and JSON values."""
        probe, comparison = self.result.linear_probe, self.result.comparison
        return {
            "format": self.FORMAT,
            "model": self.config.model.to_dict(),
            "training": self.config.training.to_dict(),
            "task": {"name": self.task.name, "values": self.task.to_state()},
            "columns": {
                name: value.tolist() if isinstance(value, np.ndarray) else value
                for name, value in vars(self.columns).items()
            },
            "weights": self.weights,
            "history": [*map(dict, self.result.history)],
            "linear_probe": None if probe is None else asdict(probe),
            "comparison": None if comparison is None else asdict(comparison),
            "temperature": self.result.temperature,
            "timing": asdict(self.timing),
            "optimizer": without_tensors(self.result.optimizer_state),
            "n_texts": self.n_texts,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "FittedModel":
        """Return the model of `to_state`.

        Raises
        ------
        ValueError
            If the state was saved in another format.
        """
        if state.get("format") != cls.FORMAT:
            raise ValueError(
                f"The saved estimator has format {state.get('format')}; this version "
                f"of sksemantic reads format {cls.FORMAT}. Fit and save it again, or "
                "install the version that saved it."
            )
        columns = dict(state["columns"])
        if "feature_names_in_" in columns:
            names = np.array(columns["feature_names_in_"], dtype=object)
            columns["feature_names_in_"] = names
        probe, comparison = state["linear_probe"], state["comparison"]
        result = TrainingResult(
            history=History(state["history"]),
            linear_probe=None if probe is None else LinearProbe(**probe),
            comparison=None if comparison is None else Comparison(**comparison),
            temperature=state["temperature"],
            optimizer_state=with_tensors(state["optimizer"]),
        )
        return cls(
            config=Config(
                ModelConfig.from_dict(state["model"]),
                TrainingConfig.from_dict(state["training"]),
            ),
            task=Task.from_state(state["task"]["name"], state["task"]["values"]),
            result=result,
            columns=SimpleNamespace(**columns),
            timing=FitTiming(**state["timing"]),
            weights=state["weights"],
            n_texts=state["n_texts"],
            fingerprint=state["fingerprint"],
        )


def _flat(config: ModelConfig) -> dict[str, Any]:
    values = asdict(config)
    return values.pop("backbone") | values
