import numpy as np
import pytest
import torch
from conftest import (
    BACKBONES,
    batch_of,
    build_module,
    counted,
    load_tiny,
    random_ids,
    stir,
)

from sksemantic import cache_limits
from sksemantic._cache import activations
from sksemantic._inputs.dataset import Ragged, TextDataset
from sksemantic._model.frozen import model_inputs
from sksemantic._model.inference import compute_features

every_backbone = pytest.mark.parametrize("name", BACKBONES)


@every_backbone
@pytest.mark.parametrize("n_kept", [0, 2, 3])
def test_features_when_lower_layers_are_looked_up_then_equal_the_whole_forward(
    name, n_kept, tiny
):
    backbone = load_tiny(tiny(name))
    module = stir(build_module(backbone, tuned_layers=1))
    rows = random_ids(3, 17, 9)
    if n_kept:
        module.frozen.features(TextDataset(rows[:n_kept]))
    with counted(backbone.model) as counts:
        features = module.features(batch_of(rows))
    assert counts == {"bottom": 3 - n_kept, "top": 3}
    whole = backbone.prefix_mechanism.run(
        model_inputs(batch_of(rows)), module.condition()
    )
    for i, row in enumerate(rows):
        kept = whole[i, : len(row)]
        expected = kept[-1] if module.pooling == "last" else kept.mean(dim=0)
        torch.testing.assert_close(features[i], expected, rtol=0, atol=1e-5)


@every_backbone
def test_gradient_when_lower_layers_are_looked_up_then_equals_the_whole_forwards(
    name, tiny
):
    module = stir(build_module(load_tiny(tiny(name)), tuned_layers=1))
    rows = random_ids(3, 17, 9)
    gradients = []
    for split_layer in (module.frozen.split_layer, None):
        module.frozen.split_layer = split_layer
        module.zero_grad()
        # Not the squares: a final norm keeps their sum.
        module.features(batch_of(rows)).cumsum(dim=1).sum().backward()
        gradients.append([p.grad.clone() for p in module.adapter.parameters()])
    for gradient, expected in zip(*gradients, strict=True):
        assert gradient.any()
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)


def test_states_when_texts_have_words_or_pairs_then_are_looked_up_as_they_were_put(
    tiny_bert,
):
    # A batch's tensors must lead to the keys of the dataset that it was made of.
    rows = Ragged.of(random_ids(5, 8))
    words = TextDataset(rows, word_positions=Ragged.of([[1, 3], [2, 4, 6]]))
    pairs = TextDataset(Ragged(rows.flat, rows.lengths, np.array([2, 5])))
    backbone = load_tiny(tiny_bert)
    for data, pooling in ((words, "tokens"), (pairs, "mean")):
        module = build_module(backbone, tuned_layers=1, pooling=pooling)
        module.frozen.keep_states(data)
        inputs = batch_of(data)
        with counted(backbone.model) as counts:
            module.features(inputs)
        assert counts["bottom"] == 0


def test_frozen_features_when_looked_up_then_equal_the_computed_ones(tiny_bert):
    module = build_module(load_tiny(tiny_bert), tuned_layers=1)
    data = TextDataset(random_ids(4, 9, 1, 6) + random_ids(9, 1))
    with cache_limits(0):
        expected = module.frozen.features(data)
    computed = module.frozen.features(data.take(np.array([1, 0])))
    np.testing.assert_allclose(computed, expected[[1, 0]], atol=1e-6)
    np.testing.assert_allclose(module.frozen.features(data), expected, atol=1e-6)
    np.testing.assert_allclose(compute_features(module, data), expected, atol=1e-6)


def test_frozen_features_when_a_text_comes_twice_then_is_computed_once(tiny_bert):
    backbone = load_tiny(tiny_bert)
    module = build_module(backbone)
    one, other = random_ids(5, 7)
    with counted(backbone.model) as counts:
        features = module.frozen.features(TextDataset([one, other, one, one]))
    assert counts["top"] == 2
    np.testing.assert_array_equal(features[[0, 0]], features[[2, 3]])
    assert not np.allclose(features[0], features[1])


def test_frozen_features_when_states_are_kept_then_upper_layers_alone_run(tiny_bert):
    backbone = load_tiny(tiny_bert)
    module = build_module(backbone, tuned_layers=1)
    data = TextDataset(random_ids(4, 9, 6))
    with cache_limits(0):
        expected = module.frozen.features(data)
    module.frozen.keep_states(data)
    n_bytes = activations.n_bytes
    with counted(backbone.model) as counts:
        features = module.frozen.features(data)
    assert counts == {"bottom": 0, "top": 3}
    assert activations.n_bytes == n_bytes + 3 * backbone.hidden_size * 4
    np.testing.assert_allclose(features, expected, atol=1e-5)


@pytest.mark.parametrize("n_fit", [0, 2, 4])
def test_keep_states_when_room_is_short_then_runs_those_that_fit_alone(
    n_fit, tiny_bert
):
    backbone = load_tiny(tiny_bert)
    module = build_module(backbone, tuned_layers=1)
    data = TextDataset(random_ids(5, 7, 6, 6))
    n_bytes = int(data.lengths[:n_fit].sum()) * backbone.hidden_size * 4
    with cache_limits(n_bytes + 1), counted(backbone.model) as counts:
        module.frozen.keep_states(data)
        assert counts["bottom"] == n_fit
        assert activations.n_bytes == n_bytes


@pytest.mark.parametrize("n_kept", [0, 2])
def test_features_when_little_may_be_kept_then_are_the_same(n_kept, tiny_bert):
    module = stir(build_module(load_tiny(tiny_bert), tuned_layers=1))
    data = TextDataset(random_ids(5, 5, 5, 5))
    expected = module.frozen.features(data), compute_features(module, data)
    activations.clear()
    n_bytes = n_kept * (5 + 1) * 32 * 4  # states and features of so many texts
    with cache_limits(n_bytes):
        computed = [module.frozen.features(data) for _ in range(2)]
        again = compute_features(module, data)
        assert activations.n_bytes <= n_bytes
    for features in computed:
        np.testing.assert_allclose(features, expected[0], atol=1e-5)
    np.testing.assert_allclose(again, expected[1], atol=1e-5)


@pytest.mark.parametrize(("prompt_ids", "n_run"), [((5, 6, 7), 0), ((5, 6, 8), 3)])
def test_features_when_modules_differ_then_are_shared_for_one_prompt(
    prompt_ids, n_run, tiny_bert
):
    backbone = load_tiny(tiny_bert)
    data = TextDataset(random_ids(4, 9, 6))
    other = build_module(backbone, prompt_ids, seed=1, tuned_layers=1)
    expected = other.frozen.features(data)
    activations.clear()
    first = build_module(backbone, (5, 6, 7), tuned_layers=1).frozen.features(data)
    with counted(backbone.model) as counts:
        features = other.frozen.features(data)
    assert counts == {"bottom": n_run, "top": n_run}
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert np.allclose(first, expected, atol=1e-3) == (n_run == 0)


def test_compute_features_when_trained_then_are_not_the_frozen_ones(tiny_bert):
    module = stir(build_module(load_tiny(tiny_bert), tuned_layers=1))
    data = TextDataset(random_ids(4, 9, 6))
    difference = compute_features(module, data) - module.frozen.features(data)
    assert np.abs(difference).max() > 1e-3
