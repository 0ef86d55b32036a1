"""The linear probe of one fit, and the frozen features that it is fitted on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sksemantic._model.inference import compute_features
from sksemantic._tasks.label_prior import label_prior
from sksemantic._tasks.linear_probe import ProbeFitter, ProbeRows
from sksemantic._training.head import set_feature_scale, standardise
from sksemantic._training.holdout import at_most, draw_probe_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task
    from sksemantic._tasks.linear_probe import LinearProbe
    from sksemantic._training.config import TrainingConfig


@dataclass(frozen=True)
class LabelTexts:
    """What labels are called, and texts without labels.

    Attributes
    ----------
    vectors : ndarray of shape (K, C)
        Of the labels' texts, see `label_vectors`.
    unlabelled : TextDataset or None
        Texts without labels; may be empty.
    """

    vectors: "NDArray"
    unlabelled: "TextDataset | None" = None


@dataclass(frozen=True)
class ProbeData:
    """The texts that linear probes are fitted on and compared by.

    Attributes
    ----------
    texts : TextDataset
        All texts, or a part.
    features : ndarray of shape (n_rows, C)
        Standardised frozen features of the texts.
    is_held_out : ndarray of shape (n_texts,), bool
    prior : ndarray of shape (K, C) or None
        What the labels' texts say.
    """

    texts: "TextDataset"
    features: "NDArray"
    is_held_out: "NDArray"
    prior: "NDArray | None"

    def fit(
        self,
        task: "Task",
        fitter: ProbeFitter,
        *,
        with_held_out: bool,
        penalty: float | None = None,
    ) -> "LinearProbe":
        """Fit a linear probe, with or without the texts that are held out."""
        chosen = np.flatnonzero(~self.is_held_out | with_held_out)
        texts, features = self.texts, self.features
        rows = ProbeRows(features, texts.targets, texts.row_weights)
        return task.fit_linear_probe(
            fitter, rows.take(texts.rows_of(chosen)), penalty, self.prior
        )

    def held_out_losses(
        self, task: "Task", probe: "LinearProbe"
    ) -> "tuple[TextDataset, NDArray]":
        """Return the held-out texts, short ones first, and the probe's losses."""
        chosen = np.flatnonzero(self.is_held_out)
        texts, order = self.texts.take(chosen).by_length()
        rows = self.texts.rows_of(chosen[order])
        return texts, task.losses(probe.scores(self.features[rows]), texts.targets)


def compute_probe_data(
    module: "SemanticModule",
    data: "TextDataset",
    strata: "NDArray",
    is_held_out: "NDArray",
    config: "TrainingConfig",
    rng: np.random.RandomState,
    *,
    is_fresh: bool,
    label_texts: LabelTexts | None,
) -> ProbeData:
    """Compute the features that a linear probe needs.

    A fresh module gets the scale of its features here; after a warm start scale and
    features are those of the trained module.
    """
    max_rows = config.max_probe_rows
    chosen = draw_probe_texts(data, strata, is_held_out, max_rows, rng)
    texts = data if len(chosen) == len(data) else data.take(chosen)
    prior = None
    if is_fresh:
        raw = module.frozen.features(texts)
        prior = _set_scale_and_prior(module, raw, texts, label_texts, max_rows, rng)
        module.frozen.keep_states(data)
    else:
        module.frozen.keep_states(data)
        raw = compute_features(module, texts)
    return ProbeData(texts, standardise(module, raw), is_held_out[chosen], prior)


def _set_scale_and_prior(
    module: "SemanticModule",
    raw: "NDArray",
    data: "TextDataset",
    label_texts: LabelTexts | None,
    max_rows: int,
    rng: np.random.RandomState,
) -> "NDArray | None":
    """Set the features' scale; return the label prior, if labels have texts.

    Texts without labels count for both.
    """
    weights = data.row_weights
    if label_texts is None:
        set_feature_scale(module, raw, weights)
        return None
    if label_texts.unlabelled is not None:
        extra = at_most(label_texts.unlabelled, max_rows, rng)
        raw = np.concatenate([raw, module.frozen.features(extra)])
        weights = np.concatenate([weights, extra.row_weights])
    set_feature_scale(module, raw, weights)
    features = standardise(module, raw[weights > 0])
    scale = module.feature_scale.cpu().numpy()
    return label_prior(label_texts.vectors, features, scale)
