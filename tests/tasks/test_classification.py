import numpy as np

from sksemantic._tasks.classification import Classification


def test_log_loss_when_a_model_is_merely_too_certain_then_is_as_calibrated():
    rng = np.random.RandomState(0)
    task = Classification(np.arange(3))
    # Scores whose softmax is the probability that they were drawn with.
    scores = np.log(rng.dirichlet([1, 1, 1], 400))
    targets = np.array([rng.choice(3, p=np.exp(row)) for row in scores])
    calibrated = task.losses(scores, targets)
    np.testing.assert_allclose(task.losses(10 * scores, targets), calibrated, rtol=1e-4)
    assert np.mean(task.losses(scores[::-1], targets)[:, 1]) > np.mean(calibrated[:, 1])
    assert np.isnan(task.losses(np.full((2, 3), np.nan), targets[:2])[:, 1]).all()
