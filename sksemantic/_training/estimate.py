"""How long a fit would take, and how much memory, before it begins."""

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sksemantic._cache import activations
from sksemantic._training.display import duration
from sksemantic._training.forecast import Forecaster, batch_shapes, epoch_batches
from sksemantic._training.process_group import processes_of

if TYPE_CHECKING:
    from sksemantic._backbone.backbone import Backbone
    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._training.plan import Plan
    from sksemantic._training.trainer import Trainer

_FLOAT_BYTES = 4
_TOKENS_RUN = 512  # to measure what a step keeps
_COPIES_OF_FEATURES = 3  # the linear probe's: as computed, standardised, in its folds


@dataclass(frozen=True)
class FitTimeEstimate:
    """What `estimate_fit_time` returns; `str` of it is a sentence.

    Attributes
    ----------
    seconds : float
        Of `fit` in this process, where the backbone is loaded now, and its batches are
        measured. The most, where a training ends by itself: with early stopping, and
        with few texts of a class. The time limit, if that is less.
    peak_bytes : int
        The most memory that the process will have; of the GPU, if the backbone is on
        one.
    phases : dict of str to float
        Seconds by phase, as in `timing_`.
    n_texts, n_epochs : int
    mean_tokens : float
        Of a text, all its windows together.
    device : str
    is_most : bool
        Whether the training may end before its last epoch.
    """

    seconds: float
    peak_bytes: int
    phases: dict[str, float]
    n_texts: int
    n_epochs: int
    mean_tokens: float
    device: str
    is_most: bool = False

    def __str__(self) -> str:
        about, up_to = ("At most about", "up to ") if self.is_most else ("About", "")
        return (
            f"{about} {duration(self.seconds)} and {self.peak_bytes / 1e9:.1f} GB of "
            f"memory for {self.n_texts:,} texts of {self.mean_tokens:.0f} tokens on "
            f"average, in {up_to}{self.n_epochs} epochs on {self.device}."
        )


class SavedBytes:
    """Counts the bytes that autograd keeps between forward and backward.

    Used as a context manager around a step. Weights of the backbone are kept anyway and
    do not count.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.n_bytes = 0
        self._seen = {p.untyped_storage().data_ptr() for p in model.parameters()}
        hooks = torch.autograd.graph.saved_tensors_hooks
        self._hooks = hooks(self._pack, lambda tensor: tensor)

    def __enter__(self) -> "SavedBytes":
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.n_bytes += storage.nbytes()
        return tensor


def estimate_fit(trainer: "Trainer", plan: "Plan") -> FitTimeEstimate:
    """Say what a plan would take, and leave the module as it is."""
    tokenising = trainer.progress.seconds_of("tokenising")
    phases = {"tokenising": tokenising, **plan.phases}
    seconds = sum(phases.values())
    return FitTimeEstimate(
        seconds=min(seconds, trainer.limit.seconds or seconds),
        peak_bytes=_peak_bytes(trainer.planner.forecaster, plan),
        phases=phases,
        n_texts=plan.n_texts,
        n_epochs=plan.n_epochs if plan.has_training else 0,
        mean_tokens=_n_tokens(plan) / max(1, plan.n_texts),
        device=str(trainer.module.backbone.device),
        is_most=plan.has_training
        and (plan.config.early_stopping or plan.config.objective == "contrast"),
    )


def _n_tokens(plan: "Plan") -> int:
    """Return how many tokens the texts have, all windows together."""
    unlabelled = plan.side.unlabelled
    more = 0 if unlabelled is None else len(unlabelled.token_ids.flat)
    return len(plan.data.token_ids.flat) + more


def _peak_bytes(forecaster: Forecaster, plan: "Plan") -> int:
    """Return the most memory that the process, or the GPU, will hold during a fit."""
    module, data = forecaster.module, plan.data
    backbone = module.backbone
    rows = min(len(data.row_weights), plan.config.max_probe_rows)
    row_bytes = _FLOAT_BYTES * module.head.in_features
    features = _COPIES_OF_FEATURES * rows * row_bytes
    now = _resident_bytes(backbone)
    step = _step_bytes(forecaster, data, backbone) if plan.has_training else 0
    step //= processes_of(plan.config.processes).size
    kept = 0
    if module.frozen.split_layer is not None and backbone.device.type == "cpu":
        kept = min(activations.limit, forecaster.state_bytes(data))
    return now + max(step, features) + kept


def _step_bytes(
    forecaster: Forecaster, data: "TextDataset", backbone: "Backbone"
) -> int:
    """Return the bytes that the largest step keeps, from some of its texts."""
    batches = epoch_batches(data, forecaster.batch_size)
    n_tokens = [n * length for (n, length), *_ in batch_shapes(data, batches)]
    largest = np.array(batches[int(np.argmax(n_tokens))])
    n_run = max(1, _TOKENS_RUN * len(largest) // max(n_tokens))
    step = forecaster.prepared_step(data.take(largest[:n_run]))
    with SavedBytes(backbone.model) as saved:
        step()
    n_saved = max(n_tokens) * min(n_run, len(largest)) / len(largest)
    most = min(max(n_tokens), backbone.training_tokens)
    return int(saved.n_bytes * most / n_saved)


def _resident_bytes(backbone: "Backbone") -> int:
    """Return the memory of this process; of the GPU, if the backbone is on it."""
    if backbone.device.type == "cuda":
        return torch.cuda.memory_allocated(backbone.device)
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # not on Linux: what is known
        return int(backbone.model.get_memory_footprint())
    return pages * mmap.PAGESIZE
