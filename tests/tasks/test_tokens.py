import numpy as np
import torch

from sksemantic._tasks.tokens import TokenClassification

SCORES = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
TARGETS = np.array([0, 1, 1])
WEIGHTS = np.array([0.1, 10.0])


def test_losses_when_classes_have_weights_then_they_count():
    plain, weighted = (
        TokenClassification(np.arange(2), weights) for weights in (None, WEIGHTS)
    )
    factors = WEIGHTS[TARGETS]
    np.testing.assert_allclose(
        weighted.losses(SCORES, TARGETS),
        plain.losses(SCORES, TARGETS) * factors[:, None],
    )
    one, other = (
        task.loss(torch.tensor(SCORES), torch.tensor(TARGETS)).numpy()
        for task in (weighted, plain)
    )
    np.testing.assert_allclose(one, other * factors)


def test_initial_bias_when_a_label_is_frequent_then_is_its_log_frequency():
    bias = TokenClassification(np.arange(2)).initial_bias(
        np.array([0, 0, 0, 1]), np.array([1.0, 1.0, 2.0, 0.0])
    )
    np.testing.assert_allclose(bias[0] - bias[1], np.log(5))
