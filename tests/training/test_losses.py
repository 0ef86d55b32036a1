import numpy as np
import pytest
import torch

from sksemantic._tasks.classification import Classification
from sksemantic._training.losses import SupervisedContrast, TaskLoss, contrast_loss


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


def supervised_contrast(features, classes, temperature):
    """Return equation 2 of Khosla et al., text by text, without its least value."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    losses = []
    for i, own in enumerate(classes):
        others = [j for j in range(len(classes)) if j != i]
        same = [j for j in others if classes[j] == own]
        if not same:
            continue
        sizes = np.exp(unit @ unit[i] / temperature)
        shares = sizes[same] / sizes[others].sum()
        losses.append(-np.log(shares).mean() - np.log(len(same)))
    return np.mean(losses)


def test_supervised_contrast_when_compared_with_the_equation_then_is_the_same():
    rng = np.random.RandomState(0)
    features, classes = rng.randn(7, 5), np.array([0, 1, 1, 2, 0, 1, 3])
    criterion = SupervisedContrast(temperature=0.3)
    loss = criterion(torch.tensor(features), torch.tensor(classes), torch.ones(7))
    expected = supervised_contrast(features, classes, 0.3)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_supervised_contrast_when_a_text_has_no_weight_then_it_is_only_told_apart():
    rng = np.random.RandomState(1)
    features = torch.tensor(rng.randn(4, 3))
    classes, weights = torch.tensor([0, 0, 0, 1]), torch.tensor([1.0, 1.0, 0.0, 1.0])
    criterion = SupervisedContrast(temperature=0.5)
    loss = criterion(features, classes, weights)
    # A text without weight is no example of its class; it is still told apart.
    alone = criterion(features, torch.tensor([0, 0, 2, 1]), torch.ones(4))
    assert loss.item() == pytest.approx(alone.item())


def test_supervised_contrast_when_classes_are_far_apart_then_is_zero():
    features = torch.tensor([[2.0, 0.0], [3.0, 0.0], [-1.0, 0.0], [-4.0, 0.0]])
    criterion = SupervisedContrast(temperature=0.05)
    loss = criterion(features, torch.tensor([0, 0, 1, 1]), torch.ones(4))
    assert loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("classes", [[0], [0, 1], [0, 1, 2]])
def test_supervised_contrast_when_no_class_has_two_texts_then_nothing_is_learned(
    classes,
):
    features = torch.ones(len(classes), 3, requires_grad=True)
    weights = torch.ones(len(classes))
    SupervisedContrast()(features, torch.tensor(classes), weights).backward()
    torch.testing.assert_close(features.grad, torch.zeros_like(features))
