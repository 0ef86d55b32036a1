import numpy as np
import pytest
import torch
from conftest import build_module, load_tiny

from sksemantic import TrainingConfig
from sksemantic._inputs.dataset import TextDataset
from sksemantic._model.inference import compute_features, compute_scores
from sksemantic._tasks.linear_probe import LinearProbe
from sksemantic._tasks.regression import Regression
from sksemantic._tasks.tokens import TokenClassification
from sksemantic._training.head import (
    fit_head_to_windows,
    init_head,
    set_feature_scale,
    standardise,
)


@pytest.fixture
def module(tiny_bert):
    return build_module(load_tiny(tiny_bert))


def test_scale_when_set_then_features_with_weight_have_mean_zero_and_scale_one(module):
    rng = np.random.RandomState(0)
    features = rng.normal(3, 5, (20, 32)).astype(np.float32)
    features[:, 1] = 7  # constant
    weights = (np.arange(20) < 15).astype(np.float32)
    set_feature_scale(module, features, weights)
    standardised = standardise(module, features)[:15]
    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=1e-5)
    scale = np.where(np.arange(32) == 1, 0, 1)
    np.testing.assert_allclose(standardised.std(axis=0), scale, atol=1e-5)


def test_scale_when_one_kind_is_far_smaller_then_is_no_constant(tiny_bert):
    module = build_module(load_tiny(tiny_bert), pooling="pair")
    features = np.random.RandomState(0).normal(size=(20, 3 * 32)).astype(np.float32)
    features[:, 64:] *= 1e-6
    set_feature_scale(module, features, np.ones(20))
    scale = standardise(module, features).std(axis=0)
    np.testing.assert_allclose(scale, 1, atol=1e-4)


@pytest.mark.parametrize("start", ["zeros", "random", "linear_probe"])
def test_head_when_initialised_then_starts_as_told(start, module):
    task = TokenClassification(np.arange(2))
    weights = np.array([1.0] * 8 + [0.0])
    data = TextDataset([[1]] * 9, np.array([0] * 7 + [1, 1]), weights)
    probe = LinearProbe(np.full((2, 32), 0.5), np.array([3.0, 4.0]), 1.0, 0.0)
    init_head(module, task, data, start, probe, np.random.RandomState(0))
    weight, bias = (p.detach().numpy() for p in module.head.parameters())
    if start == "linear_probe":
        assert (weight == 0.5).all()
        assert bias.tolist() == [3, 4]
    else:
        # Log-frequencies of 7 and 1, one added to each, their mean taken off.
        np.testing.assert_allclose(bias, [np.log(2), -np.log(2)], rtol=1e-6)
        limit = 1 / np.sqrt(32)
        assert weight.any() == (start == "random")
        assert np.abs(weight).max() <= limit
        assert start == "zeros" or np.abs(weight).max() > 0.9 * limit


def windows_of(n_texts):
    """Return texts of two windows each, and numbers that their means decide."""
    rng = np.random.RandomState(0)
    ids = [rng.randint(5, 40, 6).tolist() for _ in range(2 * n_texts)]
    data = TextDataset(ids, n_windows=np.full(n_texts, 2))
    data.targets = np.zeros((n_texts, 1), np.float32)
    return data


def test_head_when_numbers_of_windows_then_is_fitted_to_their_mean(module):
    data = windows_of(60)
    features = compute_features(module, data)
    set_feature_scale(module, features, data.weights)
    data.targets = standardise(module, features)[:, :1]
    task = Regression(np.zeros(1), np.ones(1))
    module.head = torch.nn.Linear(32, 1)
    fit_head_to_windows(module, task, data, TrainingConfig(), np.random.RandomState(0))
    scores = compute_scores(module, data)
    assert np.corrcoef(scores[:, 0], data.targets[:, 0])[0, 1] > 0.99


@pytest.mark.parametrize("kind", ["classes", "no windows"])
def test_head_when_not_numbers_of_windows_then_stays(kind, module):
    data = windows_of(6)
    task = TokenClassification(np.arange(2))
    if kind == "no windows":
        data, task = data.windows(), Regression(np.zeros(1), np.ones(1))
    before = module.head.weight.clone()
    fit_head_to_windows(module, task, data, TrainingConfig(), np.random.RandomState(0))
    assert torch.equal(module.head.weight, before)
