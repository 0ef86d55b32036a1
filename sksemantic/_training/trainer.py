"""What `fit` does once there is a module and tokenised data.

1. Some texts are held back.
2. One frozen pass gives features; the closed-form head is fitted on those of the texts
   that are not held back.
3. On these the module is trained until, on the held-back texts, it is clearly better
   than the closed form (a paired comparison, row by row) or, after half of the epochs,
   not clearly worse.
4. Then the held-back texts join for the remaining epochs. If they never do, the better
   one on held-back texts is fitted on all texts.

With `early_stopping` the texts stay held back and the best epoch is restored.
"""

import math
import warnings
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
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

from sksemantic._inputs.dataset import TextDataset, user_stacklevel
from sksemantic._model.inference import compute_features, compute_scores
from sksemantic._tasks.base import Classification
from sksemantic._tasks.verbalizer import calibrated
from sksemantic._training.comparison import Comparison, StopWhenBetter
from sksemantic._training.holdout import (
    at_most_probe_texts,
    comparable_fraction,
    hold_back,
    probe_texts,
)
from sksemantic._training.net import (
    EpochLine,
    TailAverage,
    WarmupLinearDecay,
    build_net,
)
from sksemantic.exceptions import FallbackWarning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from skorch import NeuralNet
    from torch import Tensor

    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task
    from sksemantic._tasks.linear_probe import LinearProbe
    from sksemantic._training.config import Recipe

_MAX_GRADIENT_NORM = 1.0
# With labels' texts and fewer labelled ones than these, none is held back, and training
# goes on from the closed form at lower rates; with fewer of a class, not at all.
_FEW = 200
_FEWEST_PER_CLASS = 4
_LEAST_SCALE = 1e-4  # of the largest of its kind; below it a feature is constant
_KEPT_FROM = 1 / 2  # of the epochs; from then on it need not be clearly better


@dataclass(frozen=True)
class Hints:
    """What is known beside labelled texts.

    Attributes
    ----------
    directions : ndarray of shape (K, C)
        What labels' texts say, see `label_directions`.
    unlabelled : TextDataset or None
        Texts without labels; may be empty.
    """

    directions: "NDArray"
    unlabelled: TextDataset | None = None

    @staticmethod
    def are_needed(n_labelled: int) -> bool:
        """Whether so few labelled texts are not to stand alone."""
        return n_labelled < _FEW


@dataclass(frozen=True)
class Trained:
    """What training leaves behind."""

    net: "NeuralNet"
    reference: "LinearProbe"
    comparison: Comparison | None
    fell_back: bool


class Trainer:
    """Trains one module by one recipe.

    Parameters
    ----------
    module : SemanticModule
    task : Task
    recipe : Recipe
    rng : RandomState
        The only source of randomness.
    """

    def __init__(
        self,
        module: "SemanticModule",
        task: "Task",
        recipe: "Recipe",
        rng: np.random.RandomState,
    ) -> None:
        self.module = module
        self.task = task
        self.recipe = recipe
        self.rng = rng

    def fit(
        self,
        data: TextDataset,
        *,
        fresh: bool = True,
        hints: "Hints | None" = None,
    ) -> Trained:
        """Fit the closed-form head, train, and leave the better one in the module.

        With `fresh=False` (warm start) head and feature scale stay as they are.
        """
        with self._seeded():
            return self._fit(data, fresh, hints)

    def _fit(self, data: TextDataset, fresh: bool, hints: "Hints | None") -> Trained:
        strata = self.task.strata(data.targets, len(data))
        is_held = self._hold_back(data, strata)
        rows = probe_texts(data, strata, is_held, self.rng)
        read = data if len(rows) == len(data) else data.take(rows)
        held = np.flatnonzero(is_held[rows])  # of those that are read
        unheld = np.flatnonzero(~is_held[rows])
        if fresh:  # still the frozen backbone
            raw = self.module.frozen.features(read)  # (n_rows, C)
            self._set_scales(raw, read, hints)
        self.module.frozen.keep_states(data)
        if not fresh:
            raw = compute_features(self.module, read)
        features = self._standardised(raw)
        del raw  # as large as all texts' features
        reference = self._fit_linear_probe(features, read, unheld)
        if fresh:
            self._init_head(data, reference)
        start = deepcopy(self.module.state_dict())
        fewest = _FEWEST_PER_CLASS * self.task.n_outputs
        if self.recipe.is_gentle and len(data) < fewest:
            return Trained(self.restored_net(), reference, None, True)
        if len(held) == 0:
            return Trained(self._run(data), reference, None, False)

        held_data, order = read.take(held).by_length()
        units = read.rows_of(held[order])
        probe_losses = held_data.text_means(
            self.task.losses(reference.scores(features[units]), held_data.targets)
        )
        watch = None
        if not self.recipe.early_stopping and not self.recipe.callbacks:
            patience = int(_KEPT_FROM * self.recipe.n_epochs(len(data)))
            watch = StopWhenBetter(self.task, held_data, probe_losses, patience)
        net = self._run(data.take(np.flatnonzero(~is_held)), held_data, watch)
        comparison = self._compare(held_data, probe_losses, watch)
        everything = np.arange(len(read))
        reference = self._fit_linear_probe(
            features, read, everything, reference.penalty
        )
        if comparison.kept == "linear_probe":
            self.module.load_state_dict(start)  # as it was when the features were made
            self._set_head(reference)
            self._warn_of_fallback(comparison)
        elif watch is not None and not net.interrupted_:
            if fresh and self.recipe.head_init == "linear_probe":
                start |= self._head_state(reference)
            net = self._use_all_texts(net, data, watch, start)
        return Trained(net, reference, comparison, comparison.kept == "linear_probe")

    def _compare(
        self,
        held: TextDataset,
        probe_losses: "NDArray",
        watch: StopWhenBetter | None,
    ) -> Comparison:
        """Compare the trained model with the closed form on held-back texts."""
        if watch is not None and watch.stopped_ and watch.found_ is not None:
            return watch.found_
        losses = self.task.losses(compute_scores(self.module, held), held.targets)
        return Comparison.paired(
            held.text_means(losses), probe_losses, held.text_weights
        )

    def _fit_linear_probe(
        self,
        features: "NDArray",
        data: TextDataset,
        rows: "NDArray",
        penalty: float | None = None,
    ) -> "LinearProbe":
        """Fit the closed-form head on the units of some rows."""
        units = data.rows_of(rows)
        return self.task.fit_linear_probe(
            features[units],
            data.targets[units],
            data.row_weights[units],
            self.rng,
            penalty,
        )

    def partial_fit(self, data: TextDataset, net: "NeuralNet | None") -> "NeuralNet":
        """Train one more epoch at constant rates; the first call sets the scale."""
        if net is None:
            raw = self.module.frozen.features(data)
            self._set_feature_scale(raw, data.row_weights)
            self._init_head(data)
        if net is None or any(name == "schedule" for name, _ in net.callbacks_):
            # A net from `fit` has come to the end of its schedule.
            history = [] if net is None else net.history
            net = self._net(max_epochs=1, schedule=False)
            net.history.extend(history)
        self._set_contrast(net, len(data))
        with self._seeded():
            net.partial_fit(data, epochs=1)
        return _tidy(net)

    @contextmanager
    def _seeded(self) -> "Iterator[None]":
        """Seed torch for dropout, and give the caller's generator back after."""
        device = self.module.backbone.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(self.rng.randint(np.iinfo(np.int32).max))
            yield

    def restored_net(self) -> "NeuralNet":
        """Return a net around a module whose values were trained before."""
        return _tidy(self._net(max_epochs=1, schedule=False))

    def _use_all_texts(
        self,
        net: "NeuralNet",
        data: TextDataset,
        watch: StopWhenBetter,
        start: dict[str, Any],
    ) -> "NeuralNet":
        """Let the held-back texts join: for the epochs left, or from the start."""
        if not watch.stopped_:
            self.module.load_state_dict(start)
            return self._run(data)
        net.set_params(train_split=None)
        epochs_left = net.max_epochs - len(net.history)
        if epochs_left:
            net.partial_fit(data, epochs=epochs_left)
        return self._finish(net)

    def _run(
        self,
        data: TextDataset,
        held: TextDataset | None = None,
        watch: StopWhenBetter | None = None,
    ) -> "NeuralNet":
        """Train on `data`, with `held` as skorch's validation set."""
        n_rows = len(data) + (len(held) if held is not None else 0)
        net = self._net(
            self.recipe.n_epochs(n_rows),
            [watch] if watch is not None else [],
            held_back=held is not None,
        )
        self._set_contrast(net, n_rows)
        if held is not None:
            net.set_params(train_split=predefined_split(held))
        net.partial_fit(data)
        if watch is not None and watch.stopped_:
            return net  # to be continued
        return self._finish(net)

    def _finish(self, net: "NeuralNet") -> "NeuralNet":
        """Take the averaged weights, if there are any; tell of an interruption."""
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
        return _tidy(net)

    def _net(
        self,
        max_epochs: int,
        last: "Sequence[Any]" = (),
        *,
        schedule: bool = True,
        held_back: bool = False,
    ) -> "NeuralNet":
        recipe = self.recipe
        callbacks: list[Any] = deepcopy(list(recipe.callbacks))
        if schedule and not any(map(_is_lr_scheduler, callbacks)):
            callbacks.insert(0, ("schedule", WarmupLinearDecay(max_epochs)))
            if not recipe.early_stopping:  # that one restores an epoch's own weights
                callbacks.insert(0, ("average", TailAverage(max_epochs)))
        callbacks.insert(0, ("clip", GradientNormClipping(_MAX_GRADIENT_NORM)))
        if recipe.verbose == 1:
            callbacks.append(("progress", ProgressBar()))
        elif recipe.verbose > 1:
            callbacks.append(("line", EpochLine()))
        if recipe.early_stopping and held_back:
            patience = EarlyStopping(patience=recipe.n_iter_no_change, load_best=True)
            callbacks.append(("early_stopping", patience))
        return build_net(
            self.module,
            self.task,
            lr=recipe.lr,
            head_lr=recipe.head_lr,
            max_epochs=max_epochs,
            batch_size=recipe.batch_size,
            callbacks=[*callbacks, *last],
            rng=self.rng,
        )

    def _set_contrast(self, net: "NeuralNet", n_rows: int) -> None:
        """Say by how much so many texts are contrasted."""
        net.criterion_.contrast = self.recipe.contrast_for(n_rows, self.task.n_outputs)

    def _hold_back(self, data: TextDataset, strata: "NDArray") -> "NDArray":
        """Draw the texts to hold back (n,), bool."""
        recipe = self.recipe
        if recipe.is_gentle:
            return np.zeros(len(data), bool)
        fraction = recipe.validation_fraction
        if not recipe.early_stopping:
            fraction = comparable_fraction(fraction, len(data))
        return hold_back(data, strata, fraction, self.rng)

    def _set_feature_scale(self, features: "NDArray", weights: "NDArray") -> None:
        """Standardise what the head reads by the frozen features' mean and scale."""
        counted = features[weights > 0]
        scale = counted.std(axis=0)
        # Those of a pair are three kinds of numbers side by side.
        kinds = scale.reshape(-1, self.module.backbone.hidden_size)
        largest = np.maximum(kinds.max(axis=1, keepdims=True), _LEAST_SCALE)
        kinds[kinds < _LEAST_SCALE * largest] = 1.0
        _assign(self.module.feature_mean, counted.mean(axis=0))
        _assign(self.module.feature_scale, scale)

    def _set_scales(
        self, raw: "NDArray", data: TextDataset, hints: "Hints | None"
    ) -> None:
        """Set the features' scale and, if there are hints, what labels' texts say."""
        weights = data.row_weights
        if hints is None:
            return self._set_feature_scale(raw, weights)
        if hints.unlabelled is not None:
            extra = at_most_probe_texts(hints.unlabelled, self.rng)
            raw = np.concatenate([raw, self.module.frozen.features(extra)])
            weights = np.concatenate([weights, extra.row_weights])
        self._set_feature_scale(raw, weights)
        scale = self.module.feature_scale.cpu().numpy()
        assert isinstance(self.task, Classification)
        self.task.prior = calibrated(
            hints.directions, self._standardised(raw[weights > 0]), scale
        )

    def _standardised(self, features: "NDArray") -> "NDArray":
        found = features - self.module.feature_mean.cpu().numpy()
        found /= self.module.feature_scale.cpu().numpy()
        return found

    def _init_head(
        self, data: TextDataset, reference: "LinearProbe | None" = None
    ) -> None:
        """Start the head at zero, at random, or from the closed form."""
        head, start = self.module.head, self.recipe.head_init
        if reference is not None and start == "linear_probe":
            self._set_head(reference)
            return
        # At random it is as nn.Linear itself starts.
        bound = 1 / math.sqrt(head.in_features) if start == "random" else 0.0
        _assign(head.weight, self.rng.uniform(-bound, bound, head.weight.shape))
        _assign(head.bias, self.task.start(data.targets, data.row_weights))

    def _set_head(self, head: "LinearProbe") -> None:
        self.module.load_state_dict(self._head_state(head), strict=False)

    def _head_state(self, head: "LinearProbe") -> dict[str, "Tensor"]:
        """Return a closed-form head as a part of the module's state."""
        weight, bias = (
            torch.as_tensor(values, dtype=self.module.head.weight.dtype)
            for values in (head.coef, head.intercept)
        )
        return {"head.weight": weight, "head.bias": bias}

    def _warn_of_fallback(self, found: Comparison) -> None:
        warnings.warn(
            f"On {found.n_texts} held-back texts training ended with a loss of "
            f"{found.trained[0]:.3f}, the closed-form head on the frozen backbone has "
            f"{found.linear_probe[0]:.3f}: the latter is used. Another learning rate "
            "('lr', 'head_lr'), more texts or another 'prompt' may help; silence this "
            "with warnings.simplefilter('ignore', FallbackWarning).",
            FallbackWarning,
            stacklevel=user_stacklevel(),
        )


def _is_lr_scheduler(callback: Any) -> bool:
    if isinstance(callback, tuple):
        callback = callback[1]
    return isinstance(callback, LRScheduler) or callback is LRScheduler


def _tidy(net: "NeuralNet") -> "NeuralNet":
    """Drop per-batch records, which grow without end, and the last gradients."""
    for row in net.history:
        row.pop("batches", None)
    net.optimizer_.zero_grad(set_to_none=True)
    net.module_.eval()
    return net


@torch.no_grad()
def _assign(target: "Tensor", values: "NDArray") -> None:
    target.copy_(torch.as_tensor(np.asarray(values), dtype=target.dtype))
