import numpy as np
import pytest
import torch

from sksemantic._tasks.classification import Classification
from sksemantic._training.losses import TaskLoss, contrast_loss


def test_contrast_when_classes_are_orthogonal_then_zero_and_weights_count():
    targets, weights = torch.tensor([0, 0, 1]), torch.ones(3)
    orthogonal = torch.tensor([[2.0, 0.0], [3.0, 0.0], [0.0, 1.0]])
    assert contrast_loss(orthogonal, targets, weights) == 0
    together = torch.ones(3, 2)  # all alike: right for one kind of pairs, not the other
    assert contrast_loss(together, targets, weights).item() == pytest.approx(0.5)
    # The only pair of one class is orthogonal; one of the others is parallel.
    mixed = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert contrast_loss(mixed, targets, weights).item() == pytest.approx(0.75)
    weights = torch.tensor([1.0, 3.0, 1.0])
    assert contrast_loss(mixed, targets, weights).item() == pytest.approx(0.625)


@pytest.mark.parametrize(
    ("targets", "weights"), [([0], [1.0]), ([1, 1], [1.0, 1.0]), ([0, 1], [1.0, 0.0])]
)
def test_contrast_when_a_kind_has_no_pairs_then_zero_and_gradient_is_zero(
    targets, weights
):
    features = torch.ones(len(targets), 3, requires_grad=True)
    loss = contrast_loss(features, torch.tensor(targets), torch.tensor(weights))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(features.grad, torch.zeros_like(features))


def test_task_loss_when_features_are_given_then_their_contrast_is_added():
    scores, targets = torch.zeros(2, 2), torch.tensor([0, 1])
    weights = torch.tensor([0.5, 1.5])
    criterion = TaskLoss(Classification(np.arange(2)), contrast=3.0)
    log_loss = criterion(scores, targets, weights)
    assert log_loss.item() == pytest.approx(np.log(2))
    alike = torch.ones(2, 4)  # two texts of different classes, cosine 1
    loss = criterion(scores, targets, weights, alike)
    assert loss.item() == pytest.approx(np.log(2) + 3.0 * 0.5)
