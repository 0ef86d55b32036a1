from threading import Thread

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_score
from threadpoolctl import ThreadpoolController, threadpool_limits

from sksemantic._tasks.linear_probe import ProbeFitter, ProbeRows
from sksemantic._tasks.linear_probe_config import LinearProbeConfig


def fitter(**changes):
    return ProbeFitter(LinearProbeConfig(**changes), np.random.RandomState(0))


def problem(n_classes, n=150, n_features=6):
    """Return standardised features with a learnable class and number, and weights."""
    rng = np.random.RandomState(0)
    features = rng.normal(size=(n, n_features))
    scores = features @ rng.normal(size=(n_features, n_classes))
    y = (scores + rng.normal(size=scores.shape)).argmax(axis=1)
    number = scores[:, 0] + rng.normal(size=n)
    return features, y, number, rng.uniform(0.5, 1.5, n)


def logistic(features, y, weights=None, n_classes=None, penalty=None):
    weights = np.ones(len(y)) if weights is None else weights
    rows = ProbeRows(features, y, weights)
    return fitter().fit_logistic(rows, n_classes or y.max() + 1, penalty)


def ridge(features, y, weights=None, penalty=None):
    weights = np.ones(len(y)) if weights is None else weights
    rows = ProbeRows(features, y.reshape(len(y), -1), weights)
    return fitter().fit_ridge(rows, penalty)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_logistic_when_fitted_then_probabilities_are_scikit_learns(n_classes):
    features, y, _, weights = problem(n_classes)
    head = logistic(features, y, weights)
    model = LogisticRegression(C=1 / head.penalty, tol=1e-3)
    model.fit(features, y, sample_weight=weights)
    found = softmax(head.scores(features), axis=1)
    np.testing.assert_allclose(found, model.predict_proba(features), rtol=1e-6)


def test_logistic_when_cross_validated_then_penalty_is_the_best_one():
    features, y, _, _ = problem(3, n=60)
    rng = np.random.RandomState(0)
    order = rng.permutation(len(y))  # the folds are made after the same shuffle
    losses = {
        inverse: -cross_val_score(
            LogisticRegression(C=inverse),
            features[order],
            y[order],
            cv=3,
            scoring="neg_log_loss",
        ).mean()
        for inverse in np.logspace(-4, 0, 7)
    }
    head = logistic(features, y)
    assert 1 / head.penalty == pytest.approx(min(losses, key=losses.get))
    assert head.cv_loss == pytest.approx(min(losses.values()), rel=1e-2)


@pytest.mark.parametrize("missing", [0, 1, 3])
def test_logistic_when_a_class_is_missing_then_it_is_finite_and_never_chosen(missing):
    features, y, _, _ = problem(4)
    present = y != missing
    head = logistic(features[present], y[present], n_classes=4)
    scores = head.scores(features)
    assert np.isfinite(scores).all()
    assert missing not in scores.argmax(axis=1)
    assert (log_softmax(scores, axis=1)[:, missing] < -8).all()


def test_logistic_when_a_class_is_missing_then_others_are_as_without_it():
    features, y, _, _ = problem(3)
    present = y != 1
    head = logistic(features[present], y[present], n_classes=3, penalty=10.0)
    two = logistic(features[present], y[present] // 2, n_classes=2, penalty=10.0)
    gap = head.scores(features)[:, 2] - head.scores(features)[:, 0]
    expected = np.diff(two.scores(features))[:, 0]
    np.testing.assert_allclose(gap, expected, atol=1e-6)


@pytest.mark.parametrize("penalty", [0.5, 20.0])
def test_logistic_when_penalty_is_given_then_it_is_used_as_it_is(penalty):
    features, y, _, _ = problem(2)
    head = logistic(features, y, penalty=penalty)
    model = LogisticRegression(C=1 / penalty, tol=1e-3).fit(features, y)
    assert head.penalty == pytest.approx(penalty)
    assert np.isnan(head.cv_loss)
    np.testing.assert_allclose(2 * head.coef[1], model.coef_[0], rtol=1e-6)
    for values in (head.coef, head.intercept):  # of the two classes are opposite
        np.testing.assert_allclose(values[0], -values[1])


def test_logistic_when_too_few_texts_to_cross_validate_then_still_fits():
    features = np.eye(3)
    head = logistic(features, np.array([0, 1, 1]))
    assert np.isnan(head.cv_loss)
    assert head.scores(features).argmax(axis=1).tolist()[1:] == [1, 1]


def n_blas_threads():
    libraries = ThreadpoolController().select(user_api="blas").info()
    return {library["num_threads"] for library in libraries}


@pytest.mark.parametrize("method", ["fit_logistic", "fit_each_logistic"])
def test_logistic_when_fitted_then_blas_has_one_thread_meanwhile(method):
    seen = []

    class Watched(np.ndarray):
        def __array_finalize__(self, other):
            seen.append(n_blas_threads())

    features, y, _, weights = problem(2)
    weights[0] = 0  # its row is taken out: the features are looked at
    y = y if method == "fit_logistic" else np.eye(2)[y]
    arguments = {"fit_logistic": (2, 1.0), "fit_each_logistic": (1.0,)}[method]
    with threadpool_limits(2, user_api="blas"):
        if n_blas_threads() != {2}:
            pytest.skip("BLAS has no threads here")
        rows = ProbeRows(features.view(Watched), y, weights)
        seen.clear()
        getattr(fitter(), method)(rows, *arguments)
        assert {1} in seen
        assert n_blas_threads() == {2}


def test_logistic_when_fitted_in_threads_then_blas_has_all_threads_afterwards():
    features, y, _, _ = problem(2, n=600, n_features=30)

    def fit():
        for _ in range(5):
            logistic(features, y)

    with threadpool_limits(2, user_api="blas"):
        expected = n_blas_threads()
        threads = [Thread(target=fit) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert n_blas_threads() == expected


def test_logistic_when_weight_is_zero_then_row_does_not_count():
    features, y, _, _ = problem(2)
    weights = (np.arange(len(y)) < 100).astype(float)
    wrong = np.where(weights > 0, y, 1 - y)
    head = logistic(features, wrong, weights, penalty=1.0)
    expected = logistic(features[:100], y[:100], penalty=1.0)
    np.testing.assert_allclose(head.coef, expected.coef)


def test_ridge_when_fitted_then_predictions_are_scikit_learns():
    features, _, number, weights = problem(2)
    head = ridge(features, number, weights)
    model = Ridge(alpha=head.penalty).fit(features, number, sample_weight=weights)
    found = head.scores(features)[:, 0]
    np.testing.assert_allclose(found, model.predict(features), atol=1e-6)
    assert head.coef.shape == (1, 6)
    assert head.intercept.shape == (1,)


def test_ridge_when_cross_validated_then_loss_is_the_lowest_leave_one_out():
    features, _, number, _ = problem(2, n=40)
    losses = {
        alpha: -cross_val_score(
            Ridge(alpha=alpha),
            features,
            number,
            cv=LeaveOneOut(),
            scoring="neg_mean_squared_error",
        ).mean()
        for alpha in np.logspace(-1, 5, 13)
    }
    head = ridge(features, number)
    assert head.penalty == pytest.approx(min(losses, key=losses.get))
    assert head.cv_loss == pytest.approx(min(losses.values()))


def test_ridge_when_weight_is_zero_then_row_does_not_count():
    features, _, number, _ = problem(2)
    weights = (np.arange(len(number)) < 100).astype(float)
    wild = np.where(weights > 0, number, 1e6)
    expected = ridge(features[:100], number[:100], penalty=1.0)
    np.testing.assert_allclose(
        ridge(features, wild, weights, penalty=1.0).coef, expected.coef
    )


def test_each_logistic_when_compared_then_is_scikit_learns():
    rng = np.random.RandomState(0)
    features = rng.randn(60, 4)
    y = (features[:, :3] + 0.3 * rng.randn(60, 3) > 0).astype(float)
    y[:20, 2] = np.nan
    head = fitter().fit_each_logistic(ProbeRows(features, y, np.ones(60)), 2.0)
    for k in range(3):
        rows = np.isfinite(y[:, k])
        own = LogisticRegression(C=0.5, max_iter=200, tol=1e-3)
        own.fit(features[rows], y[rows, k])
        np.testing.assert_allclose(head.coef[k], own.coef_[0], atol=1e-6)
        np.testing.assert_allclose(head.intercept[k], own.intercept_[0], atol=1e-6)


def test_ridge_when_several_targets_and_a_penalty_then_is_scikit_learns():
    rng = np.random.RandomState(0)
    features, y = rng.randn(30, 4), rng.randn(30, 2)
    head = ridge(features, y, penalty=2.0)
    own = Ridge(alpha=2.0).fit(features, y)
    assert head.penalty == 2.0
    np.testing.assert_allclose(head.coef, own.coef_)
    np.testing.assert_allclose(head.intercept, own.intercept_)


def test_rows_when_very_many_then_penalty_is_chosen_by_a_part():
    features, y, _, weights = problem(2, n=400)
    rows = ProbeRows(features, y, weights)
    losses = [fitter(max_cv_rows=n).fit_logistic(rows, 2).cv_loss for n in (40, 400)]
    assert losses[0] != losses[1]
    assert fitter().fit_logistic(rows, 2).cv_loss == losses[1]  # 3000 by default


def test_each_logistic_when_a_column_is_constant_then_log_odds_are_certain():
    features, y, _, weights = problem(2)
    columns = np.stack([y, np.zeros(len(y)), np.ones(len(y))], axis=1).astype(float)
    probe = fitter().fit_each_logistic(ProbeRows(features, columns, weights))
    assert probe.intercept[1:].tolist() == [-5, 5]
    assert not probe.coef[1:].any()
    assert probe.cv_loss < np.log(2)


def test_logistic_when_one_class_alone_was_drawn_then_it_is_the_most_probable():
    features, y, _, weights = problem(2)
    probe = fitter().fit_logistic(ProbeRows(features, np.ones_like(y), weights), 3)
    assert not probe.coef.any()
    assert probe.intercept.tolist() == [-10, 0, -10]
    assert np.isnan(probe.cv_loss)
