import numpy as np
import pytest
from conftest import thorough
from sklearn.metrics import r2_score

from sksemantic import SKTuningRegressor


@pytest.fixture
def many_targets(targets):
    return np.tile(targets, 3)


@pytest.fixture
def learner(fast, tiny_roberta):
    """Return a regressor that learns the rule quickly."""
    return SKTuningRegressor(**thorough(fast) | {"model": tiny_roberta})


@pytest.mark.parametrize("method", ["prefix", "prompt"])
@pytest.mark.parametrize("adapter", ["low_rank", "linear", "embedding"])
def test_tiny_set_when_trained_on_then_is_learned(
    method, adapter, learner, texts, targets
):
    learner.set_params(method=method, adapter=adapter)
    for _ in range(40):  # partial_fit never takes the linear probe
        learner.partial_fit(texts, targets)
    assert learner.score(texts, targets) > 0.3


def test_score_when_called_then_is_r2(fitted_regressor, texts, targets):
    expected = r2_score(targets, fitted_regressor.predict(texts))
    assert fitted_regressor.score(texts, targets) == pytest.approx(expected)


@pytest.mark.parametrize(("scale", "shift"), [(1000.0, 0.0), (1e-3, 5.0), (-1.0, 1e4)])
def test_predict_when_target_is_rescaled_then_predictions_are_too(
    scale, shift, fast, texts, targets
):
    plain = SKTuningRegressor(**fast).fit(texts, targets).predict(texts)
    rescaled = SKTuningRegressor(**fast).fit(texts, abs(scale) * targets + shift)
    found = (rescaled.predict(texts) - shift) / abs(scale)
    np.testing.assert_allclose(found, plain, atol=1e-3)


def test_fit_when_target_is_constant_then_predicts_it(regressor, texts):
    regressor.fit(texts, np.full(24, 7.0))
    np.testing.assert_allclose(regressor.predict(texts), 7.0, atol=1e-3)


def test_comparison_when_fitted_then_is_of_squared_errors(fitted_regressor):
    comparison = fitted_regressor.comparison_
    assert comparison.n_texts == 8
    assert len(comparison.linear_probe) == 1
    # Two epochs are few: the head hardly leaves the mean, whose loss is one.
    assert comparison.trained == pytest.approx((1.0,), abs=0.2)


def test_sample_weight_when_high_for_high_targets_then_predictions_rise(
    fast, texts, targets
):
    plain = SKTuningRegressor(**fast).fit(texts, targets).predict(texts)
    weighted = SKTuningRegressor(**fast)
    weighted.fit(texts, targets, sample_weight=np.where(targets > 3, 10.0, 0.1))
    assert (weighted.predict(texts) - plain).mean() > 0.5


def test_sample_weight_when_zero_then_wild_targets_do_no_harm(
    learner, many, many_targets
):
    y = np.concatenate([many_targets, np.full(24, 1e6)])
    weights = np.repeat([1.0, 0.0], [72, 24])
    learner.set_params(max_epochs=12).fit(many + many[:24], y, sample_weight=weights)
    assert learner.score(many, many_targets) > 0.9


def test_partial_fit_when_later_targets_have_another_scale_then_first_one_is_kept(
    regressor, texts, targets
):
    regressor.partial_fit(texts, targets)
    before = regressor.predict(texts)
    regressor.partial_fit(texts[:2], targets[:2])
    assert np.abs(regressor.predict(texts) - before).max() < 2


def test_partial_fit_when_first_batch_has_one_text_then_predicts_its_target(regressor):
    regressor.partial_fit(["a film"], [3.0])
    np.testing.assert_allclose(regressor.predict(["a film"]), 3.0, atol=0.1)


def test_classifiers_members_when_regressor_then_are_not_there(regressor):
    for name in ("predict_proba", "decision_function", "classes_", "class_weight"):
        assert not hasattr(regressor, name)
