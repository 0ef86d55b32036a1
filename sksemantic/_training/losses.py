"""What training minimises."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from sksemantic._tasks.base import Task
    from sksemantic._training.config import TrainingConfig

_SMALLEST_COUNT = 1e-12  # keeps an empty kind of pairs from dividing zero by zero


class TaskLoss(nn.Module):
    """The loss of a task and, weighted by `contrast`, of texts two by two."""

    def __init__(self, task: "Task", contrast: float = 0.0) -> None:
        super().__init__()
        self.task = task
        self.contrast = contrast

    def forward(
        self,
        scores: Tensor,
        targets: Tensor,
        weights: Tensor,
        features: Tensor | None = None,
    ) -> Tensor:
        """Return the weighted mean loss of the rows; features (n, C) are contrasted."""
        loss = (self.task.loss(scores, targets) * weights).mean()
        if features is None:
            return loss
        return loss + self.contrast * contrast_loss(features, targets, weights)


class SupervisedContrast(nn.Module):
    """The supervised contrastive loss of features (n, C) that have classes (n,).

    Each text is to find those of its class among all others, by the softmax of its
    cosines divided by `temperature` (Khosla et al. 2020, arXiv 2004.11362, equation 2).
    Of this the least that is possible is taken off, so that 0 is the end. Texts that
    are alone in their class are for the others to be told apart from.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, features: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted mean loss of the texts."""
        unit = F.normalize(features, dim=1)
        itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
        logits = (unit @ unit.T / self.temperature).masked_fill(itself, -torch.inf)
        is_same = (classes[:, None] == classes) & ~itself
        counts = weights * is_same  # (n, n): a row for each text that seeks
        n_same = counts.sum(dim=1)
        log_shares = F.log_softmax(logits, dim=1).masked_fill(itself, 0)
        shares = counts / n_same.clamp(min=_SMALLEST_COUNT)[:, None]
        # At best each gets as large a share as the others of the class.
        log_best = torch.log(shares.clamp(min=_SMALLEST_COUNT))
        losses = (shares * (log_best - log_shares)).sum(dim=1)
        seeks = weights * (n_same > 0)
        return (losses * seeks).sum() / seeks.sum().clamp(min=_SMALLEST_COUNT)


def contrast_loss(features: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """Return how far texts of a class are from one, others from zero, in cosine.

    The squared error of the cosines (Reimers & Gurevych 2019, arXiv 1908.10084, section
    3) of all pairs of a batch, those of one class labelled 1 and others 0 (Tunstall et
    al. 2022, arXiv 2209.11055, section 3). Both kinds of pairs count alike, a pair by
    the product of its weights. `features` are (n, C), `classes` and `weights` (n,).
    """
    unit = F.normalize(features, dim=1)
    cosines = unit @ unit.T  # (n, n)
    is_same = classes[:, None] == classes
    counts = (weights[:, None] * weights).fill_diagonal_(0)
    loss = cosines.new_zeros(())
    for kind in (is_same, ~is_same):
        of_kind = counts * kind
        errors = of_kind * (cosines - is_same.to(cosines)).square()
        loss = loss + errors.sum() / (2 * of_kind.sum()).clamp(min=_SMALLEST_COUNT)
    return loss


def criterion_of(task: "Task", config: "TrainingConfig") -> dict[str, Any]:
    """Return what the training minimises, as skorch's parameters."""
    if config.objective == "contrast":
        temperature = config.contrast_temperature
        return {"criterion": SupervisedContrast, "criterion__temperature": temperature}
    return {
        "criterion": TaskLoss,
        "criterion__task": task,
        "criterion__contrast": config.contrast,
    }
