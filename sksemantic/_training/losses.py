"""What training minimises."""

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from sksemantic._tasks.base import Task

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
