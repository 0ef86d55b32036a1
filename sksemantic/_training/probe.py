"""The linear probe of one fit, and the frozen features that it is fitted on."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from sksemantic._model.inference import compute_head_inputs
from sksemantic._tasks.label_prior import label_prior
from sksemantic._tasks.linear_probe import LinearProbe, ProbeFitter, ProbeRows
from sksemantic._tasks.verbalizer import label_vectors
from sksemantic._training.head import scale_by_all, standardise
from sksemantic._training.holdout import at_most, draw_probe_texts
from sksemantic._training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._inputs.template import Template
    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Targets, Task
    from sksemantic._training.config import TrainingConfig


@dataclass(frozen=True)
class SideInformation:
    """What is known beside the labelled texts.

    Attributes
    ----------
    label_vectors : ndarray of shape (K, C) or None
        Of the labels' texts, see `label_vectors`.
    unlabelled : TextDataset or None
        Texts without labels; may be empty.
    """

    label_vectors: "NDArray | None" = None
    unlabelled: "TextDataset | None" = None


NO_SIDE_INFORMATION = SideInformation()


def read_side_information(
    module: "SemanticModule",
    template: "Template",
    targets: "Targets",
    n_texts: int,
    make_dataset: "Callable[[NDArray], TextDataset]",
) -> SideInformation:
    """Compute the vectors of the labels' texts; tokenise the texts without labels.

    `make_dataset` tokenises those of the `n_texts` texts that have these indices. Texts
    without any labelled word are not read: those with one have words enough for the
    features' scale. Measured with MiniLM on 20 sentences of CoNLL-2003.
    """
    vectors = unlabelled = None
    if targets.label_texts is not None:
        vectors = label_vectors(module, template, targets.label_texts)
    if targets.labelled is not None and not targets.task.has_words:
        others = np.setdiff1d(np.arange(n_texts), targets.labelled)
        unlabelled = make_dataset(others)
    return SideInformation(vectors, unlabelled)


class Probing:
    """Fits linear probes on a part of the texts, and computes their losses.

    `is_held_out` (n_texts,) says which of the texts are. A fresh module gets the scale
    of its features here; after a warm start scale and features are those of the trained
    module. With `side` probes are fitted near the label prior.
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
        self._progress = progress
        self._fitter = ProbeFitter(config.linear_probe, rng)
        strata = task.strata(data.targets, len(data))
        max_rows = config.max_probe_rows
        chosen = draw_probe_texts(data, strata, is_held_out, max_rows, rng)
        self._texts = texts = data if len(chosen) == len(data) else data.take(chosen)
        self._is_held_out = is_held_out[chosen]
        self._prior = None
        progress.begin("frozen pass")
        on_batch = partial(progress.count, "frozen")
        if is_fresh:
            raw = module.frozen.features(texts, on_batch)
            extra = side.unlabelled
            if extra is not None:
                extra = at_most(extra, max_rows, rng)
            self._prior = _set_scale_and_prior(module, raw, texts, side, extra)
        module.frozen.keep_states(data, partial(progress.count, "lower"))
        if not is_fresh:
            raw = compute_head_inputs(module, texts, on_batch)
        self._features = standardise(module, raw)

    def fit(
        self, *, with_held_out: bool = False, penalty: float | None = None
    ) -> LinearProbe:
        """Fit a linear probe, with the texts that are held out or without."""
        chosen = np.flatnonzero(~self._is_held_out | with_held_out)
        texts = self._texts
        rows = ProbeRows(self._features, texts.targets, texts.row_weights)
        rows = rows.take(texts.rows_of(chosen))
        return self._task.fit_linear_probe(self._fitter, rows, penalty, self._prior)

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
) -> "NDArray | None":
    """Set the features' scale; return the label prior (K, C), if labels have texts.

    Texts without labels count for both.
    """
    read = module.frozen.features
    raw, weights = scale_by_all(module, raw, data, unlabelled, read)
    if side.label_vectors is None:
        return None
    features = standardise(module, raw[weights > 0])
    scale = module.feature_scale.cpu().numpy()
    return label_prior(side.label_vectors, features, scale)
