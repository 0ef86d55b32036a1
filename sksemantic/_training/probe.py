"""The linear probe of one fit, and the frozen features that it is fitted on."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from sksemantic._model.inference import compute_head_inputs
from sksemantic._tasks.linear_probe import LinearProbe, ProbeFitter, ProbeRows
from sksemantic._training.head import (
    head_state,
    prior_of,
    scale_by_all,
    standardise,
    trained_head,
)
from sksemantic._training.holdout import at_most, draw_probe_texts
from sksemantic._training.process_group import processes_of
from sksemantic._training.progress import Progress
from sksemantic._training.side_information import NO_SIDE_INFORMATION, SideInformation

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task
    from sksemantic._training.config import TrainingConfig


class Probing:
    """Fits linear probes on a part of the texts, and computes their losses.

    `is_held_out` (n_texts,) says which of the texts are. A fresh module gets the scale
    of its features here; after a warm start scale and features are those of the trained
    module. With `side` probes are fitted near the label prior; where a class has no
    text in a warm start, near the trained head, which still knows it.
    """

    def __init__(
        self,
        module: "SemanticModule",
        task: "Task",
        data: "TextDataset",
        is_held_out: "NDArray",
        config: "TrainingConfig",
        rng: np.random.RandomState,
        progress: Progress,
        *,
        is_fresh: bool = True,
        side: SideInformation = NO_SIDE_INFORMATION,
    ) -> None:
        self._task = task
        self._processes = processes = processes_of(config.processes)
        self._fitter = ProbeFitter(config.linear_probe, rng)
        strata = task.strata(data.targets, len(data))
        max_rows = config.max_probe_rows
        chosen = draw_probe_texts(data, strata, is_held_out, max_rows, rng)
        self._texts = texts = data if len(chosen) == len(data) else data.take(chosen)
        self._is_held_out = is_held_out[chosen]
        self._prior: NDArray | LinearProbe | None = None
        progress.begin("frozen pass")
        on_batch = partial(progress.count, "frozen")
        if is_fresh:
            read = partial(module.frozen.features, on_batch=on_batch)
            raw = processes.read(read, texts)
            extra = side.unlabelled
            if extra is not None:
                extra = at_most(extra, max_rows, rng)
            read = partial(processes.read, module.frozen.features)
            self._prior = _set_scale_and_prior(module, raw, texts, side, extra, read)
        module.frozen.keep_states(data, partial(progress.count, "lower"))
        if not is_fresh:
            read = partial(compute_head_inputs, module, on_batch=on_batch)
            raw = processes.read(read, texts)
        self._features = standardise(module, raw)
        self._module, self._side = module, side

    def fit_new_outputs(self, is_new: "NDArray", penalty: float) -> None:
        """Fit rows of the head (K,) that a warm start has added; keep the others."""
        module = self._module
        head = trained_head(module, penalty)
        labels = self._side.new_label_texts
        if labels is not None:
            prior = prior_of(module, labels.vectors, self._features)
            head.coef[is_new] = prior[is_new]
        head = self._task.fit_new_outputs(self._fitter, self._rows(), head, is_new)
        module.load_state_dict(head_state(module, head), strict=False)

    def lacks_classes(self) -> bool:
        """Return whether a class has no text, so that a linear probe would lose it."""
        return self._task.lacks_classes(self._rows())

    def draw_to_head(self) -> None:
        """Fit later linear probes near the head of now, which knows all classes."""
        self._prior = trained_head(self._module, self._fitter.config.last_penalty)

    def fit(
        self, *, with_held_out: bool = False, penalty: float | None = None
    ) -> LinearProbe:
        """Fit a linear probe, with the texts that are held out or without."""
        rows = self._rows(with_held_out=with_held_out)
        probe = self._task.fit_linear_probe(self._fitter, rows, penalty, self._prior)
        return self._processes.same(probe)

    def _rows(self, *, with_held_out: bool = False) -> ProbeRows:
        chosen = np.flatnonzero(~self._is_held_out | with_held_out)
        texts = self._texts
        rows = ProbeRows(self._features, texts.targets, texts.row_weights)
        return rows.take(texts.rows_of(chosen))

    def held_out_losses(self, probe: LinearProbe) -> "tuple[TextDataset, NDArray]":
        """Return the held-out texts, short ones first, and the probe's losses."""
        chosen = np.flatnonzero(self._is_held_out)
        texts, order = self._texts.take(chosen).by_length()
        features = self._features[self._texts.rows_of(chosen[order])]
        return texts, self._task.losses(probe.scores(features), texts.targets)


def _set_scale_and_prior(
    module: "SemanticModule",
    raw: "NDArray",
    data: "TextDataset",
    side: SideInformation,
    unlabelled: "TextDataset | None",
    read: "Callable[[TextDataset], NDArray]",
) -> "NDArray | None":
    """Set the features' scale; return the label prior (K, C), if labels have texts.

    Texts without labels, and content-free ones, which `read` reads, count for both.
    """
    others = unlabelled, side.content_free
    raw, weights = scale_by_all(module, raw, data, others, read)
    if side.label_texts is None:
        return None
    features = standardise(module, raw[weights > 0])
    return prior_of(module, side.label_texts.vectors, features)
