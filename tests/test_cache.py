import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import BACKBONES, counted, load_tiny
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from sksemantic import cache_limits, clear_cache
from sksemantic._backbone.backbone import Backbone
from sksemantic._cache import ActivationCache, activations

WIDTH = 8
SLACK = 12  # the prompt, and the tiny texts of the self-tests
KIND = ("prefix", (1, 2), "features")


class Owner(SimpleNamespace):
    """Stand in for a backbone: what can be referred to weakly."""

    __hash__ = object.__hash__


BACKBONE = Owner()


def make_rows(seed, n=5, longest=6, dtype=torch.bfloat16):
    """Return keys, values laid end to end, and lengths."""
    rng = np.random.RandomState(seed)
    lengths = rng.randint(1, longest + 1, n)
    values = torch.from_numpy(rng.randn(lengths.sum(), WIDTH)).to(dtype)
    return [b"%d-%d" % (seed, i) for i in range(n)], values, lengths


def count_bytes(*puts):
    return sum(values.numel() * values.element_size() for _, values, _ in puts)


def check_rows(cache, *puts, backbone=BACKBONE, kind=KIND):
    """Look rows up in another order than they came in; they are all as they were."""
    expected = {}
    for keys, values, lengths in puts:
        expected |= dict(zip(keys, values.split(lengths.tolist()), strict=True))
    keys = np.random.RandomState(0).permutation(list(expected)).tolist()
    has_row, values = cache.get(backbone, kind, keys)
    assert has_row.all()
    assert torch.equal(values, torch.cat([expected[key] for key in keys]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_get_when_rows_were_put_then_come_back_as_they_were(dtype):
    cache = ActivationCache(10**6)
    puts = [make_rows(seed, dtype=dtype) for seed in range(6)]
    for put in puts:
        cache.put(BACKBONE, KIND, *put)
    check_rows(cache, *puts)
    assert cache.n_bytes == count_bytes(*puts)


def test_get_when_some_keys_are_unknown_then_tells_which():
    cache = ActivationCache()
    keys, values, lengths = make_rows(0)
    cache.put(BACKBONE, KIND, keys, values, lengths)
    has_row, rows = cache.get(BACKBONE, KIND, [b"other", keys[1], b"another", keys[0]])
    assert has_row.tolist() == [False, True, False, True]
    first, second = values.split(lengths.tolist())[:2]
    assert torch.equal(rows, torch.cat([second, first]))
    assert cache.has(BACKBONE, KIND, [keys[1], b"other"]).tolist() == [True, False]
    has_row, rows = cache.get(BACKBONE, "another kind", keys)
    assert not has_row.any()
    assert rows is None
    assert not cache.has(Owner(), KIND, keys).any()


def test_put_when_its_values_are_overwritten_then_those_kept_are_not():
    cache = ActivationCache()
    keys, values, lengths = make_rows(0)
    expected = values.clone()
    cache.put(BACKBONE, KIND, keys, values, lengths)
    values.zero_()
    check_rows(cache, (keys, expected, lengths))
    cache.get(BACKBONE, KIND, keys)[1].zero_()
    check_rows(cache, (keys, expected, lengths))


def test_put_when_a_key_comes_again_then_the_latest_row_counts():
    puts = [make_rows(seed) for seed in range(3)]
    cache = ActivationCache(count_bytes(*puts))
    again = (puts[0][0], *puts[1][1:])
    for put in (puts[0], again, puts[2]):
        cache.put(BACKBONE, KIND, *put)
    check_rows(cache, again, puts[2])
    cache.has(BACKBONE, KIND, again[0])
    cache.put(BACKBONE, KIND, *make_rows(3, n=1, longest=1))  # drops the former row
    check_rows(cache, again)


def test_put_when_memory_is_full_then_least_recently_used_is_dropped():
    puts = [make_rows(seed, longest=1) for seed in range(4)]
    cache = ActivationCache(count_bytes(*puts[:3]))
    for kind, put in zip("abc", puts, strict=False):
        cache.put(BACKBONE, kind, *put)
    cache.get(BACKBONE, "a", puts[0][0][:1])  # now b is the one used longest ago
    cache.put(BACKBONE, "a", *puts[3])
    assert not cache.has(BACKBONE, "b", puts[1][0]).any()
    check_rows(cache, puts[0], puts[3], kind="a")
    check_rows(cache, puts[2], kind="c")
    assert cache.n_bytes == cache.limit


def test_put_when_all_rows_are_in_use_then_keeps_those():
    puts = [make_rows(seed, longest=1) for seed in range(4)]
    size = count_bytes(puts[0])
    cache = ActivationCache(2 * size)
    cache.put(BACKBONE, "old", *puts[0])
    start = cache.moment
    assert cache.room(start) == 2 * size
    for put in puts[1:]:
        cache.put(BACKBONE, KIND, *put, since=start)
    assert cache.room(start) == 0
    check_rows(cache, *puts[1:3])
    assert not cache.has(BACKBONE, KIND, puts[3][0]).any()
    assert not cache.has(BACKBONE, "old", puts[0][0]).any()


@pytest.mark.parametrize("limit", [0, 79])
def test_put_when_it_is_larger_than_the_limit_then_nothing_goes_for_it(limit):
    cache = ActivationCache(limit)
    keys, values, lengths = make_rows(0, longest=1)  # 80 bytes
    cache.put(BACKBONE, KIND, keys[:1], values[:1], lengths[:1])
    n_bytes = cache.n_bytes
    cache.put(BACKBONE, KIND, keys, values, lengths)
    assert cache.n_bytes == n_bytes == min(limit, 16)


def test_cache_when_threads_read_and_write_then_rows_are_whole():
    puts = [make_rows(seed, n=20, longest=30) for seed in range(8)]
    cache = ActivationCache(count_bytes(*puts) // 2)

    def work(seed):
        rng = np.random.RandomState(seed)
        n_read = 0
        for i in rng.randint(len(puts), size=300):
            keys, values, lengths = puts[i]
            has_row, rows = cache.get(BACKBONE, KIND, keys)
            if has_row.any():
                expected = values[np.repeat(has_row, lengths)]
                assert torch.equal(rows, expected)
                n_read += 1
            if not has_row.all():
                cache.put(BACKBONE, KIND, keys, values, lengths)
            assert cache.n_bytes <= cache.limit
        return n_read

    with ThreadPoolExecutor(8) as pool:
        assert all(n_read > 20 for n_read in pool.map(work, range(8)))


def test_cache_when_a_backbone_is_freed_then_its_rows_are_gone_alone(tiny_bert):
    shared = load_tiny(tiny_bert)
    backbones = [Backbone(shared.model, shared.tokenizer) for _ in range(2)]
    puts = [make_rows(seed) for seed in range(2)]
    cache = ActivationCache()
    for backbone, put in zip(backbones, puts, strict=True):
        cache.put(backbone, KIND, *put)
    del backbones[0], backbone
    gc.collect()
    assert cache.n_bytes == count_bytes(puts[1])
    check_rows(cache, puts[1], backbone=backbones[0])


def test_limited_when_left_then_former_limit_holds_again():
    cache = ActivationCache(10**6)
    puts = [make_rows(seed) for seed in range(3)]
    for put in puts:
        cache.put(BACKBONE, KIND, *put)
    size = count_bytes(puts[2])
    with pytest.raises(RuntimeError, match="in between"):
        with cache.limited(size):
            check_rows(cache, puts[2])
            assert cache.n_bytes == size
            raise RuntimeError("in between")
    assert cache.limit == 10**6
    with cache.limited(None):
        assert cache.limit == 10**6


@pytest.mark.parametrize("name", BACKBONES)
def test_fit_when_top_layers_are_tuned_then_each_text_passes_the_lower_ones_once(
    name, tiny, classifier, texts, labels
):
    classifier.set_params(model=tiny(name), tuned_layers=1, max_epochs=3)
    backbone = load_tiny(classifier.model, n_layers="auto")
    classifier.fit(texts, labels)  # measures what batches cost, once
    activations.clear()
    with counted(backbone.model) as counts:
        classifier.fit(texts, labels).predict(texts)
    assert counts["bottom"] <= len(set(texts)) + SLACK
    assert counts["top"] > 3 * len(set(texts))


def test_search_when_top_layers_are_tuned_then_all_folds_share_what_is_kept(
    classifier, texts, labels
):
    classifier.set_params(tuned_layers=1)
    n_texts = len(set(texts))
    for part in (slice(1, 19), slice(6, 18)):  # of one fold; their costs are measured
        classifier.fit(texts[part], labels[part])
    activations.clear()
    with counted(load_tiny(classifier.model).model) as counts:
        cross_val_score(classifier, texts, labels, cv=4)
    # The first fold's held-out texts are met by predict, before any fit has kept them.
    assert counts["bottom"] <= 1.5 * n_texts + 4 * SLACK
    with counted(load_tiny(classifier.model).model) as counts:
        GridSearchCV(classifier, {"lr": [1e-3, 2e-3, 3e-3]}, cv=2).fit(texts, labels)
    assert counts["bottom"] <= 7 * SLACK  # nothing is left to run


def test_limit_when_default_then_is_a_share_of_what_there_is():
    assert 2**26 < ActivationCache().limit <= 2**31


def test_cache_limits_when_inside_then_bounds_what_all_fits_keep(
    classifier, texts, labels
):
    former = activations.limit
    with cache_limits(memory=5):
        with cache_limits():
            assert activations.limit == 5
        classifier.fit(texts, labels)
        assert activations.n_bytes == 0
    assert activations.limit == former
    classifier.fit(texts, labels)
    assert activations.n_bytes > 0


@pytest.mark.parametrize("limit", [-1, 1.5, "1 GB", True])
def test_cache_limits_when_no_number_of_bytes_then_refused(limit):
    with pytest.raises(ValueError, match=f"'memory' parameter .* Got {limit!r}"):
        with cache_limits(memory=limit):
            pass


def test_clear_cache_when_called_then_frees_activations_and_backbone(
    classifier, texts, labels
):
    # So many layers no other test's estimator holds.
    clf = clone(classifier).set_params(model_kwargs__n_layers=1).fit(texts, labels)
    held = weakref.ref(clf.get_module().backbone)
    assert activations.n_bytes > 0
    clear_cache()
    assert activations.n_bytes == 0
    assert clf.predict(texts).shape == (24,)  # it still holds its backbone
    del clf
    gc.collect()
    assert held() is None


def test_limited_when_blocks_overlap_then_each_takes_its_own_away():
    cache = ActivationCache(100)
    first, second = cache.limited(0), cache.limited(50)
    first.__enter__()
    second.__enter__()
    assert cache.limit == 50
    first.__exit__(None, None, None)
    assert cache.limit == 50
    second.__exit__(None, None, None)
    assert cache.limit == 100
