"""What `fit` does once there is a module and tokenised data.

1. Hold out some texts.
2. Linear probe: fit it on the frozen features of the others.
3. Train on these for a share of the epochs.
4. Compare: unless the linear probe is clearly better on the held-out texts, they join
   the training for the remaining epochs.
5. Finish: average the weights. If the linear probe was and stays clearly better, it is
   fitted on all texts and kept.

With early stopping the texts stay held out and the best epoch is restored.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from skorch.callbacks import (
    EarlyStopping,
    GradientNormClipping,
    LRScheduler,
    ProgressBar,
)
from skorch.helper import predefined_split

from sksemantic._inputs.dataset import TextDataset
from sksemantic._model.inference import compute_features, compute_scores
from sksemantic._training.callbacks import EpochLine, TailAverage, WarmupLinearDecay
from sksemantic._training.comparison import Comparison
from sksemantic._training.holdout import (
    at_most,
    draw_held_out,
    draw_probe_texts,
    held_out_share,
)
from sksemantic._training.net import build_net
from sksemantic._tasks.verbalizer import label_prior
from sksemantic._warnings import user_stacklevel
from sksemantic.exceptions import FallbackWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from skorch import NeuralNet
    from torch import Tensor

    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task
    from sksemantic._tasks.linear_probe import LinearProbe
    from sksemantic._training.config import TrainingConfig

_SMALLEST_SCALE = 1e-4  # of the largest of its kind; below it a feature is constant


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
    unlabelled: TextDataset | None = None


@dataclass(frozen=True)
class Trained:
    """What training leaves, beside the module's own weights.

    Attributes
    ----------
    history : History or list
        skorch's record of the epochs, without that of single batches.
    linear_probe : LinearProbe or None
    comparison : Comparison or None
        None if no texts were held out.
    optimizer_state : dict or None
        To go on from, after `partial_fit`.
    """

    history: Any
    linear_probe: "LinearProbe | None" = None
    comparison: Comparison | None = None
    optimizer_state: dict[str, Any] | None = None


@dataclass(frozen=True)
class _Probed:
    """The linear probe, and the frozen features it was fitted on.

    Attributes
    ----------
    data : TextDataset
        The texts of these features: all, or a part.
    features : ndarray of shape (n_rows, C)
        Standardised.
    held_out : ndarray of shape (n_held_out,)
        Which of the texts are held out.
    prior : ndarray of shape (K, C) or None
        What the labels' texts say.
    head : LinearProbe
        Fitted on the texts that are not held out.
    """

    data: TextDataset
    features: "NDArray"
    held_out: "NDArray"
    prior: "NDArray | None"
    head: "LinearProbe"


class Trainer:
    """Trains one module by one configuration.

    Parameters
    ----------
    module : SemanticModule
    task : Task
    config : TrainingConfig
    rng : RandomState
        The only source of randomness.
    """

    def __init__(
        self,
        module: "SemanticModule",
        task: "Task",
        config: "TrainingConfig",
        rng: np.random.RandomState,
    ) -> None:
        self.module = module
        self.task = task
        self.config = config
        self.rng = rng

    def fit(
        self,
        data: TextDataset,
        *,
        is_fresh: bool = True,
        label_texts: LabelTexts | None = None,
    ) -> Trained:
        """Train, and leave the trained model or the linear probe in the module.

        With `is_fresh=False` (warm start) head and feature scale stay as they are.
        """
        with self._seeded():
            strata = self.task.strata(data.targets, len(data))
            is_few = label_texts is not None and len(data) < self.config.few_labels
            is_held_out = self._hold_out(data, strata, is_few)
            probed = self._fit_probe(data, strata, is_held_out, is_fresh, label_texts)
            if is_fresh:
                self._init_head(data, probed.head)
            fewest = self.config.min_texts_per_class * self.task.n_outputs
            if is_few and len(data) < fewest:
                return Trained([], probed.head)
            if not is_held_out.any():
                net = self._finish(self._train(self._net(), data))
                return Trained(net.history, probed.head)
            return self._train_and_compare(data, is_held_out, probed)

    def partial_fit(
        self, data: TextDataset, *, is_fresh: bool, former: Trained | None
    ) -> Trained:
        """Train one more epoch at constant rates.

        With `is_fresh` this sets the features' scale and the head's start.
        """
        if is_fresh:
            raw = self.module.frozen.features(data)
            self._set_feature_scale(raw, data.row_weights)
            self._init_head(data)
        net = self._net(is_one_epoch=True)
        if former is not None:
            net.history.extend(former.history)
            if former.optimizer_state is not None:
                net.optimizer_.load_state_dict(former.optimizer_state)
        with self._seeded():
            net.partial_fit(data, epochs=1)
        state = deepcopy(net.optimizer_.state_dict())
        return replace(
            former or Trained([]),
            history=self._finish(net).history,
            optimizer_state=state,
        )

    # Phases of `fit`

    def _hold_out(
        self, data: TextDataset, strata: "NDArray", is_few: bool
    ) -> "NDArray":
        """Draw the texts to hold out (n,), bool."""
        if is_few:
            return np.zeros(len(data), bool)
        share = held_out_share(self.config, len(data))
        return draw_held_out(data, strata, share, self.rng)

    def _fit_probe(
        self,
        data: TextDataset,
        strata: "NDArray",
        is_held_out: "NDArray",
        is_fresh: bool,
        label_texts: LabelTexts | None,
    ) -> _Probed:
        """Fit the linear probe on features of the texts that are not held out."""
        max_rows = self.config.max_probe_rows
        chosen = draw_probe_texts(data, strata, is_held_out, max_rows, self.rng)
        part = data if len(chosen) == len(data) else data.take(chosen)
        prior = None
        if is_fresh:
            raw = self.module.frozen.features(part)
            prior = self._set_scale_and_prior(raw, part, label_texts)
        self.module.frozen.keep_states(data)
        if not is_fresh:
            raw = compute_features(self.module, part)
        features = self._standardised(raw)
        train = np.flatnonzero(~is_held_out[chosen])
        head = self._probe_of(part, features, train, prior)
        held_out = np.flatnonzero(is_held_out[chosen])
        return _Probed(part, features, held_out, prior, head)

    def _train_and_compare(
        self, data: TextDataset, is_held_out: "NDArray", probed: _Probed
    ) -> Trained:
        """Train; let held-out texts join, or go back to the linear probe."""
        config = self.config
        start = deepcopy(self.module.state_dict())
        held_out, order = probed.data.take(probed.held_out).by_length()
        rows = probed.data.rows_of(probed.held_out[order])
        probe_scores = probed.head.scores(probed.features[rows])
        probe_losses = self.task.losses(probe_scores, held_out.targets)
        train = data.take(np.flatnonzero(~is_held_out))
        net = self._net(held_out)
        can_join = not (config.early_stopping or config.callbacks)
        n_first = int(config.join_after * net.max_epochs) if can_join else 0
        has_joined = False
        if n_first:
            self._train(net, train, n_first)
            comparison = self._compare(held_out, probe_losses)
            has_joined = comparison.kept == "trained" and not net.interrupted_
        if has_joined:
            net.set_params(train_split=None)
            self._train(net, data)
        else:
            self._train(net, train)
        self._finish(net)
        if not has_joined:
            comparison = self._compare(held_out, probe_losses)
        everything = np.arange(len(probed.data))
        head = self._probe_of(
            probed.data, probed.features, everything, probed.prior, probed.head.penalty
        )
        if comparison.kept == "linear_probe":
            self.module.load_state_dict(start | self._head_state(head))
            self._warn_of_fallback(comparison)
        return Trained(net.history, head, comparison)

    def _compare(self, held_out: TextDataset, probe_losses: "NDArray") -> Comparison:
        """Compare the module as it is with the linear probe on held-out texts."""
        scores = compute_scores(self.module, held_out)
        losses = self.task.losses(scores, held_out.targets)
        return Comparison.paired(
            held_out.text_means(losses),
            held_out.text_means(probe_losses),
            held_out.text_weights,
            self.config.clearly_better,
        )

    def _finish(self, net: "NeuralNet") -> "NeuralNet":
        """Take the averaged weights; drop what only training needs."""
        if net.interrupted_:
            warnings.warn(
                f"Training was interrupted in epoch {len(net.history)} of "
                f"{net.max_epochs}; the estimator keeps what it has learned.",
                UserWarning,
                stacklevel=user_stacklevel(),
            )
        for _, callback in net.callbacks_:
            if isinstance(callback, TailAverage):
                callback.apply(self.module)
        for row in net.history:
            row.pop("batches", None)  # grow without end
        net.optimizer_.zero_grad(set_to_none=True)
        self.module.eval()
        return net

    # The net

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """Seed torch for dropout, and give the caller's generator back after."""
        device = self.module.backbone.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(self.rng.randint(np.iinfo(np.int32).max))
            yield

    def _train(
        self, net: "NeuralNet", data: TextDataset, until: int | None = None
    ) -> "NeuralNet":
        """Train up to some epoch, by default the last, unless it was interrupted."""
        n_left = (until or net.max_epochs) - len(net.history)
        if n_left > 0 and not net.interrupted_:
            net.partial_fit(data, epochs=n_left)
        return net

    def _net(
        self, held_out: TextDataset | None = None, *, is_one_epoch: bool = False
    ) -> "NeuralNet":
        config = self.config
        callbacks: list[Any] = [
            ("clip", GradientNormClipping(config.max_gradient_norm)),
        ]
        own = deepcopy(list(config.callbacks))
        if not is_one_epoch and not any(map(_is_lr_scheduler, own)):
            if not config.early_stopping:  # that one restores an epoch's own weights
                average = TailAverage(config.max_epochs, config.average_from)
                callbacks.append(("average", average))
            schedule = WarmupLinearDecay(config.max_epochs, config.warmup)
            callbacks.append(("schedule", schedule))
        callbacks += own
        if config.verbose == 1:
            callbacks.append(("progress", ProgressBar()))
        elif config.verbose > 1:
            callbacks.append(("line", EpochLine()))
        if config.early_stopping and held_out is not None:
            patience = EarlyStopping(patience=config.n_iter_no_change, load_best=True)
            callbacks.append(("early_stopping", patience))
        net = build_net(self.module, self.task, config, callbacks, self.rng)
        if held_out is not None:
            net.set_params(train_split=predefined_split(held_out))
        return net

    # Head and features

    def _set_scale_and_prior(
        self, raw: "NDArray", data: TextDataset, label_texts: LabelTexts | None
    ) -> "NDArray | None":
        """Set the features' scale; return the label prior, if there are labels' texts.

        Texts without labels count for both.
        """
        weights = data.row_weights
        if label_texts is None:
            self._set_feature_scale(raw, weights)
            return None
        if label_texts.unlabelled is not None:
            limit = self.config.max_probe_rows
            extra = at_most(label_texts.unlabelled, limit, self.rng)
            raw = np.concatenate([raw, self.module.frozen.features(extra)])
            weights = np.concatenate([weights, extra.row_weights])
        self._set_feature_scale(raw, weights)
        features = self._standardised(raw[weights > 0])
        scale = self.module.feature_scale.cpu().numpy()
        return label_prior(label_texts.vectors, features, scale)

    def _set_feature_scale(self, features: "NDArray", weights: "NDArray") -> None:
        """Standardise what the head reads by the frozen features' mean and scale."""
        counted = features[weights > 0]
        scale = counted.std(axis=0)
        # Those of a pair are three kinds of numbers side by side.
        kinds = scale.reshape(-1, self.module.backbone.hidden_size)
        largest = np.maximum(kinds.max(axis=1, keepdims=True), _SMALLEST_SCALE)
        kinds[kinds < _SMALLEST_SCALE * largest] = 1.0
        _assign(self.module.feature_mean, counted.mean(axis=0))
        _assign(self.module.feature_scale, scale)

    def _standardised(self, features: "NDArray") -> "NDArray":
        centred = features - self.module.feature_mean.cpu().numpy()
        centred /= self.module.feature_scale.cpu().numpy()
        return centred

    def _probe_of(
        self,
        data: TextDataset,
        features: "NDArray",
        texts: "NDArray",
        prior: "NDArray | None",
        penalty: float | None = None,
    ) -> "LinearProbe":
        """Fit the linear probe on the rows of some texts."""
        rows = data.rows_of(texts)
        return self.task.fit_linear_probe(
            features[rows],
            data.targets[rows],
            data.row_weights[rows],
            self.rng,
            penalty,
            prior,
        )

    def _init_head(
        self, data: TextDataset, probe: "LinearProbe | None" = None
    ) -> None:
        """Start the head at zero, at random, or from the linear probe."""
        head, start = self.module.head, self.config.head_init
        if probe is not None and start == "linear_probe":
            self.module.load_state_dict(self._head_state(probe), strict=False)
            return
        # At random it is as nn.Linear itself starts.
        bound = 1 / math.sqrt(head.in_features) if start == "random" else 0.0
        _assign(head.weight, self.rng.uniform(-bound, bound, head.weight.shape))
        _assign(head.bias, self.task.initial_bias(data.targets, data.row_weights))

    def _head_state(self, probe: "LinearProbe") -> dict[str, "Tensor"]:
        """Return a linear probe as a part of the module's state."""
        weight, bias = (
            torch.as_tensor(values, dtype=self.module.head.weight.dtype)
            for values in (probe.coef, probe.intercept)
        )
        return {"head.weight": weight, "head.bias": bias}

    def _warn_of_fallback(self, comparison: Comparison) -> None:
        warnings.warn(
            f"On {comparison.n_texts} held-out texts training ended with a loss of "
            f"{comparison.trained[0]:.3f}, the linear probe on the frozen backbone has "
            f"{comparison.linear_probe[0]:.3f}: the latter is used. Another learning "
            "rate ('lr', training={'head_lr': ...}), more texts or another 'prompt' "
            "may help; silence this with "
            "warnings.simplefilter('ignore', FallbackWarning).",
            FallbackWarning,
            stacklevel=user_stacklevel(),
        )


def _is_lr_scheduler(callback: Any) -> bool:
    if isinstance(callback, tuple):
        callback = callback[1]
    return isinstance(callback, LRScheduler) or callback is LRScheduler


@torch.no_grad()
def _assign(target: "Tensor", values: "NDArray") -> None:
    target.copy_(torch.as_tensor(np.asarray(values), dtype=target.dtype))
