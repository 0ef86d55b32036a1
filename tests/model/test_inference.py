from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from threading import Barrier

import numpy as np
import pytest
import torch
from conftest import BACKBONES, build_module, features_of, load_tiny, random_ids, stir

from sksemantic._inputs.dataset import TextDataset
from sksemantic._model.inference import compute_features, compute_scores

PROMPT_IDS = [2, 10, 11]


@pytest.mark.parametrize("name", BACKBONES)
def test_compute_features_when_many_then_order_is_restored(name, tiny):
    module = stir(build_module(load_tiny(tiny(name)), PROMPT_IDS))
    lengths = np.random.RandomState(0).randint(1, 30, 150)  # several batches
    rows = random_ids(*lengths)
    expected = torch.cat([features_of(module, [rows[i]]) for i in (0, 70, 149)])
    features_of_three = compute_features(module, TextDataset(rows))[[0, 70, 149]]
    np.testing.assert_allclose(features_of_three, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["bert", "gemma3"])
def test_compute_when_texts_have_windows_then_is_the_mean_of_theirs(name, tiny):
    module = stir(build_module(load_tiny(tiny(name)), PROMPT_IDS, n_outputs=3))
    windows = random_ids(4, 8, 5)
    data = TextDataset(windows, n_windows=np.array([2, 1]))
    weights = np.array([[4 / 12, 8 / 12, 0], [0, 0, 1]], np.float32)
    for compute in (compute_features, compute_scores):
        expected = weights @ compute(module, TextDataset(windows))
        found = compute(module, data)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    frozen = weights @ module.frozen.features(TextDataset(windows))
    found = module.frozen.features(data)
    np.testing.assert_allclose(found, frozen, rtol=0, atol=1e-5)


def test_compute_scores_when_training_then_nothing_is_dropped(tiny_bert):
    module = stir(build_module(load_tiny(tiny_bert), PROMPT_IDS, n_outputs=3)).train()
    rows = random_ids(5, 3)
    expected = module.head(
        torch.cat([features_of(module, [row]) for row in rows])
    ).detach()
    scores = compute_scores(module, TextDataset(rows))
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)
    assert module.training


@pytest.mark.parametrize("compute", [compute_features, compute_scores])
def test_compute_when_there_are_several_batches_then_adapter_runs_once(
    compute, tiny_bert
):
    module = stir(build_module(load_tiny(tiny_bert)))
    data = TextDataset(random_ids(*[20] * 150))
    calls = []
    module.adapter.register_forward_hook(lambda *args: calls.append(1))
    before = compute(module, data)
    assert len(calls) == 1
    np.testing.assert_array_equal(compute(module, data), before)
    assert len(calls) == 1
    assert np.abs(compute(stir(module), data) - before).max() > 1e-2
    assert len(calls) == 2


def test_compute_scores_when_weights_change_unseen_by_autograd_then_they_count(
    tiny_bert,
):
    module = stir(build_module(load_tiny(tiny_bert)))
    data = TextDataset(random_ids(5, 3))
    before = compute_scores(module, data)
    copied = deepcopy(module)
    for parameter in module.adapter.parameters():
        parameter.data.mul_(2)
    assert np.abs(compute_scores(module, data) - before).max() > 1e-3
    np.testing.assert_array_equal(compute_scores(copied, data), before)


@pytest.mark.parametrize("name", ["bert", "gemma3"])
def test_compute_when_threads_read_different_texts_then_equals_the_serial_result(
    name, tiny
):
    module = stir(build_module(load_tiny(tiny(name)), tuned_layers=1, text_rank=2))
    n_threads = 8
    rng = np.random.RandomState(0)
    datasets = [
        TextDataset([rng.randint(10, 40, n).tolist() for n in rng.randint(1, 30, 40)])
        for _ in range(n_threads)
    ]
    module.frozen.keep_states(datasets[0])  # some are looked up, others computed
    computes = (compute_scores, compute_features)
    serial = [[compute(module, data) for compute in computes] for data in datasets]
    start = Barrier(n_threads)

    def repeat(data):
        start.wait()
        return [[compute(module, data) for compute in computes] for _ in range(5)]

    with ThreadPoolExecutor(n_threads) as pool:
        results = list(pool.map(repeat, datasets))
    for expected, repeats in zip(serial, results, strict=True):
        for results_again in repeats:
            for one, other in zip(results_again, expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
