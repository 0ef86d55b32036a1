import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from sksemantic._tasks.label_prior import label_prior
from sksemantic._tasks.linear_probe import LinearProbe, ProbeFitter, ProbeRows
from sksemantic._tasks.linear_probe_config import LinearProbeConfig


def fit_near(prior, features, y, penalty=None):
    fitter = ProbeFitter(LinearProbeConfig(), np.random.RandomState(0))
    rows = ProbeRows(features, y, np.ones(len(y)))
    return fitter.fit_logistic_with_prior(prior, rows, penalty)


def test_probe_when_there_are_no_texts_then_is_the_prior():
    prior = np.random.RandomState(0).randn(3, 5)
    head = fit_near(prior, np.zeros((0, 5)), np.zeros(0, int))
    np.testing.assert_array_equal(head.coef, prior)
    np.testing.assert_array_equal(head.intercept, 0)


def test_probe_when_prior_is_zero_then_is_scikit_learns():
    rng = np.random.RandomState(0)
    features, y = rng.randn(90, 5), np.arange(90) % 3
    features[:, :3] += np.eye(3)[y]
    features -= features.mean(axis=0)
    head = fit_near(np.zeros((3, 5)), features, y, penalty=2.0)
    own = LogisticRegression(C=0.5, tol=1e-8).fit(features, y)
    np.testing.assert_allclose(head.coef, own.coef_, atol=0.02)


def test_probe_when_texts_are_many_then_overrule_the_prior():
    rng = np.random.RandomState(0)
    prior = np.array([[1.0], [-1.0]])
    signs = rng.randn(4000, 1)
    y = (signs[:, 0] > 0).astype(int)  # the opposite of what the prior says
    correct = []
    for n in (4, 4000):
        head = fit_near(prior, signs[:n], y[:n], 100.0)
        found = softmax(head.scores(signs), axis=1).argmax(axis=1)
        correct.append((found == y).mean())
    assert correct[0] < 0.5
    assert correct[1] > 0.9


def test_probe_when_classes_are_many_enough_then_penalty_is_chosen():
    rng = np.random.RandomState(0)
    features = rng.randn(60, 3)
    y = (features[:, 0] > 0).astype(int)
    wrong = np.array([[1.0, 0, 0], [-1.0, 0, 0]])
    head = fit_near(wrong, features, y)
    assert head.penalty < 100
    assert 0 < head.cv_loss < np.log(2)  # of a probe that knows nothing


def test_label_prior_when_vectors_are_equal_then_is_zero():
    rng = np.random.RandomState(0)
    same = np.ones((2, 4))
    assert not label_prior(same, rng.randn(10, 4), np.ones(4)).any()


@pytest.mark.parametrize(("n", "penalty"), [(1, 500), (2, 250), (4, 125), (15, 100)])
def test_probe_when_texts_are_few_then_each_counts_less(n, penalty):
    rng = np.random.RandomState(0)
    probe = fit_near(rng.randn(2, 3), rng.randn(2 * n, 3), np.arange(2 * n) % 2)
    assert probe.penalty == penalty


def test_head_when_rows_are_not_free_then_only_the_others_are_fitted():
    rng = np.random.RandomState(0)
    features, y = rng.randn(90, 5), np.arange(90) % 3
    features[:, :3] += np.eye(3)[y]
    head = LinearProbe(rng.randn(3, 5), rng.randn(3), 2.0, float("nan"))
    fitter = ProbeFitter(LinearProbeConfig(), np.random.RandomState(0))
    rows = ProbeRows(features, y, np.ones(90))
    found = fitter.fit_near_head(head, rows, np.array([False, True, False]))
    np.testing.assert_array_equal(found.coef[[0, 2]], head.coef[[0, 2]])
    np.testing.assert_array_equal(found.intercept[[0, 2]], head.intercept[[0, 2]])

    def loss(row):
        coef, intercept = head.coef.copy(), head.intercept.copy()
        coef[1], intercept[1] = row[:5], row[5]
        losses = -log_softmax(features @ coef.T + intercept, axis=1)
        far = np.square(row[:5] - head.coef[1]).sum()
        near = np.square(row[5] - head.intercept[1])
        return losses[np.arange(90), y].sum() + far + near / 2

    start = np.append(head.coef[1], head.intercept[1])
    expected = minimize(loss, start).x
    np.testing.assert_allclose(found.coef[1], expected[:5], atol=1e-2)
    np.testing.assert_allclose(found.intercept[1], expected[5], atol=1e-2)
