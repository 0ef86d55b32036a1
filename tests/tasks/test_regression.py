import numpy as np
import pytest
from conftest import GOOD, TEXTS, thorough
from sklearn.linear_model import QuantileRegressor
from sklearn.metrics import r2_score

from sksemantic import SKTuningRegressor
from sksemantic._tasks.linear_probe import ProbeFitter, ProbeRows
from sksemantic._tasks.linear_probe_config import LinearProbeConfig
from sksemantic._tasks.regression import Regression

IS_GOOD = np.array([any(word in text for word in GOOD) for text in TEXTS])
LENGTHS = np.array([len(text) for text in TEXTS], float)
TARGETS = np.stack([100 + 10 * IS_GOOD, -LENGTHS], axis=1)


def test_fit_when_several_targets_then_each_has_its_scale(fast):
    reg = SKTuningRegressor(**thorough(fast)).fit(TEXTS, TARGETS)
    scores = r2_score(TARGETS, reg.predict(TEXTS), multioutput="raw_values")
    assert (scores > 0.5).all()
    with pytest.raises(ValueError, match=r"y has 1 target\(s\).* fitted with 2"):
        reg.partial_fit(TEXTS, TARGETS[:, 0])


@pytest.mark.parametrize("loss", ["squared_error", "huber", "absolute_error"])
def test_fit_when_targets_have_outliers_then_robust_losses_bear_them(loss, fast):
    y = LENGTHS.copy()
    y[::8] += 1e4
    reg = SKTuningRegressor(**fast, loss=loss).fit(TEXTS, y)
    error = np.median(np.abs(reg.predict(TEXTS) - LENGTHS))
    assert (error > 100) == (loss == "squared_error")


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_fit_when_quantile_then_so_many_lie_below(quantile, fast):
    many, y = TEXTS * 10, np.random.RandomState(0).randn(240)
    reg = SKTuningRegressor(**fast, loss="quantile", quantile=quantile)
    reg.set_params(max_epochs=10).fit(many, y)
    assert abs((y < reg.predict(many)).mean() - quantile) < 0.1


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("squared_error", [0.25, 16.0]),
        ("huber", [0.125, 1.35 * (4 - 1.35 / 2)]),
        ("absolute_error", [0.25, 2.0]),
        ("quantile", [0.1, 3.2]),
    ],
)
def test_losses_when_compared_then_follow_their_formulas(loss, expected):
    task = Regression(np.zeros(1), np.ones(1), loss=loss, quantile=0.2)
    found = task.losses(np.array([[0.0], [0.0]]), np.array([0.5, -4.0]))
    np.testing.assert_allclose(found[:, 0], expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [("loss", "l1"), ("loss", None), ("quantile", 0), ("quantile", 1.0)],
)
def test_fit_when_loss_is_bad_then_error_names_it(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of SKTun"):
        SKTuningRegressor(model="nobody/nowhere", **{name: value}).fit(TEXTS, LENGTHS)


@pytest.mark.parametrize("quantile", [0.2, 0.5])
def test_ridge_when_reweighted_then_fits_the_quantile(quantile):
    rng = np.random.RandomState(0)
    features = rng.randn(400, 3)
    y = features @ [1.0, -1.0, 0.5] + rng.standard_t(2, 400)
    task = Regression(np.zeros(1), np.ones(1), loss="quantile", quantile=quantile)
    fitter = ProbeFitter(LinearProbeConfig(), rng)
    rows = ProbeRows(features, y, np.ones(400))
    head = task.fit_linear_probe(fitter, rows, penalty=1e-3)
    own = QuantileRegressor(quantile=quantile, alpha=0).fit(features, y)
    np.testing.assert_allclose(head.coef[0], own.coef_, atol=0.05)
    np.testing.assert_allclose(head.intercept[0], own.intercept_, atol=0.05)
