import gc
import os

import numpy as np
import pytest
import torch
from conftest import load_tiny

from sksemantic import cache_limits, clear_cache
from sksemantic._backbone.backbone import Backbone
from sksemantic._store import Budget, Store, TokenCache, activations, available_memory

WIDTH = 8


def rows(seed, n=5, longest=6, dtype=torch.bfloat16):
    """Return keys, values laid end to end, and lengths."""
    rng = np.random.RandomState(seed)
    lengths = rng.randint(1, longest + 1, n)
    values = torch.from_numpy(rng.randn(lengths.sum(), WIDTH)).to(dtype)
    return [b"%d-%d" % (seed, i) for i in range(n)], values, lengths


def row_bytes(values):
    return values.numel() * values.element_size()


def check_shelf(shelf, *puts):
    """Look rows up in another order than they came in; they are all as they were."""
    expected = {}
    for keys, values, lengths in puts:
        expected |= dict(zip(keys, values.split(lengths.tolist()), strict=True))
    keys = np.random.RandomState(0).permutation(list(expected)).tolist()
    assert shelf.has(keys).all()
    found, lengths = shelf.get(keys)
    assert found.shape == (len(keys), max(lengths), WIDTH)
    for key, row, length in zip(keys, found, lengths, strict=True):
        assert torch.equal(row[:length], expected[key])
        assert not row[length:].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("memory", [0, 150, 10**6])
def test_shelf_when_rowsare_put_then_comes_back_as_they_were(dtype, memory):
    shelf = Store(Budget(memory, 10**6)).shelf("kind")
    puts = [rows(seed, dtype=dtype) for seed in range(4)]
    for put in puts:
        shelf.put(*put)
    check_shelf(shelf, *puts)
    assert shelf.memory <= memory
    assert shelf.memory + shelf.disk == sum(row_bytes(v) for _, v, _ in puts)


def status_bytes(name):
    """Return what the system says of this process's memory."""
    with open("/proc/self/status", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    return 1024 * int(lines[name].split()[0])


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")
def test_shelf_when_files_are_read_then_take_neither_memory_nor_many_handles():
    shelf = Store(Budget(0, 2**30)).shelf("kind")
    length = 2**20 // (4 * WIDTH)  # 1 MiB
    before = status_bytes("RssFile"), len(os.listdir("/proc/self/fd"))
    for i in range(48):
        values = torch.full((length, WIDTH), float(i))
        shelf.put([i], values, np.array([length]))
    for i in range(48):
        assert shelf.get([i])[0][0, -1, 0] == i
    assert status_bytes("RssFile") - before[0] < 2**22
    assert len(os.listdir("/proc/self/fd")) <= before[1] + 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_shelf_when_a_forked_process_writes_too_then_rowsare_left_alone():
    shelf = Store(Budget(0, 10**6)).shelf("kind")
    first, second, third = (rows(seed) for seed in range(3))
    shelf.put(*first)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.read(told, 1)  # until the parent has written
            shelf.put(*second)
            check_shelf(shelf, first, second)
            os._exit(0)
        finally:
            os._exit(1)
    shelf.put(*third)
    os.write(tell, b".")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    check_shelf(shelf, first, third)
    os.close(told)
    os.close(tell)


def test_shelf_when_a_file_is_full_then_what_was_written_of_it_is_taken_back():
    shelf = Store(Budget(0, 10**6)).shelf("kind")
    puts = [rows(seed) for seed in range(3)]
    shelf.put(*puts[0])
    spill, file = shelf._file, shelf._file._file

    class Full:
        def __getattr__(self, name):
            return getattr(file, name)

        def write(self, values):
            if file.tell() > spill._size:
                raise OSError("no space left on device")
            return file.write(values[:7])

    spill._file = Full()
    shelf.put(*puts[1])
    assert not shelf.has(puts[1][0]).any()
    assert os.fstat(file.fileno()).st_size == spill._size
    spill._file = file
    shelf.put(*puts[2])
    check_shelf(shelf, puts[0], puts[2])


def test_shelf_when_there_is_no_reading_at_places_then_seeks(monkeypatch):
    monkeypatch.delattr("os.preadv", raising=False)
    shelf = Store(Budget(0, 10**6)).shelf("kind")
    puts = [rows(seed) for seed in range(3)]
    for put in puts:
        shelf.put(*put)
    check_shelf(shelf, *puts)


def test_shelf_when_a_key_is_unknown_then_says_so():
    shelf = Store().shelf("kind")
    shelf.put(*rows(0))
    assert shelf.has([b"0-1", b"other"]).tolist() == [True, False]
    with pytest.raises(KeyError):
        shelf.get([b"0-1", b"other"])


def test_store_when_memory_is_full_then_least_recently_used_goes_to_a_file():
    puts = {name: rows(i) for i, name in enumerate("abc")}
    size = max(row_bytes(values) for _, values, _ in puts.values())
    store = Store(Budget(2 * size, 10 * size))
    for name in "ab":
        store.shelf(name).put(*puts[name])
    store.shelf("a").get(puts["a"][0])  # now b is the one used longest ago
    store.shelf("c").put(*puts["c"])
    assert [store.shelf(name).disk > 0 for name in "abc"] == [False, True, False]
    for name, put in puts.items():
        check_shelf(store.shelf(name), put)


def test_store_when_files_are_full_too_then_least_recently_used_is_dropped():
    puts = {name: rows(i, n=20) for i, name in enumerate("abc")}
    size = max(row_bytes(values) for _, values, _ in puts.values())
    store = Store(Budget(size, size))
    for name, put in puts.items():
        store.shelf(name).put(*put)
        assert store.memory <= size
        assert store.disk <= size
    assert not store.shelf("a").has(puts["a"][0]).any()
    for name in "bc":
        check_shelf(store.shelf(name), puts[name])


def test_store_when_nothing_may_be_kept_then_keeps_nothing():
    store = Store(Budget(0, 0))
    keys, values, lengths = rows(0)
    store.shelf("a").put(keys, values, lengths)
    assert not store.shelf("a").has(keys).any()
    assert store.memory == store.disk == 0


def test_store_when_rowslie_in_files_then_folders_show_none(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shelf = Store(Budget(0, 10**6)).shelf("a")
    shelf.put(*rows(0))
    assert shelf.disk > 0
    assert os.name == "nt" or not list(tmp_path.iterdir())


def test_store_when_writing_a_file_fails_then_rowsare_just_not_kept(monkeypatch):
    def no_space(*args, **kwargs):
        raise OSError("no space left on device")

    store = Store(Budget(0, 10**6))
    monkeypatch.setattr("tempfile.TemporaryFile", no_space)
    keys, values, lengths = rows(0)
    store.shelf("a").put(keys, values, lengths)
    assert not store.shelf("a").has(keys).any()
    assert store.memory == store.disk == 0


def test_store_when_owner_is_dropped_then_its_shelves_are_gone_alone():
    store = Store()
    for owner in (1, 2):
        for kind in "ab":
            store.shelf((owner, kind)).put(*rows(owner))
    store.drop(1)
    assert store.memory == 2 * row_bytes(rows(2)[1])
    assert store.shelf((2, "a")).has(rows(2)[0]).all()


def test_shelf_when_cleared_meanwhile_then_takes_nothing_more():
    store = Store()
    shelf = store.shelf("a")
    store.clear()
    shelf.put(*rows(0))
    assert store.memory == shelf.memory == 0


def test_limited_when_left_then_former_budget_holds_again():
    store = Store(Budget(10**6, 10**6))
    put = rows(0)
    with pytest.raises(RuntimeError, match="in between"):
        with store.limited(0, None):
            store.shelf("a").put(*put)
            assert store.shelf("a").disk > 0
            raise RuntimeError("in between")
    assert store.budget == Budget(10**6, 10**6)
    with store.limited(None, 0):
        assert store.disk == 0
        assert not store.shelf("a").has(put[0]).any()


def test_budget_when_default_then_is_a_share_of_what_there_is():
    budget = Budget.default()
    assert 0 < budget.memory <= min(2**30, available_memory())
    assert 0 < budget.disk <= 2**36


def test_token_cache_when_asked_again_then_encodes_new_texts_alone():
    cache, asked = TokenCache(), []

    def encode(texts):
        asked.append(texts)
        return [list(map(ord, text)) for text in texts]

    first = cache.encode(1, ["ab", "c", "ab", ""], encode)
    assert [ids.tolist() for ids in first] == [[97, 98], [99], [97, 98], []]
    second = cache.encode(1, ["c", "d"], encode)
    assert [ids.tolist() for ids in second] == [[99], [100]]
    cache.encode(2, ["c"], encode)  # another tokenizer
    assert asked == [["ab", "c", ""], ["d"], ["c"]]


def test_token_cache_when_full_then_starts_again():
    cache = TokenCache(most_bytes=1000)
    for text in "abcdef":
        (ids,) = cache.encode(1, [text], lambda texts: [[7]] * len(texts))
        assert ids.tolist() == [7]
        assert cache._n_bytes <= 1000


def test_cache_limits_when_entered_then_bound_the_process_wide_store():
    former = activations.budget
    with cache_limits(memory=5):
        assert activations.budget == Budget(5, former.disk)
        with cache_limits(disk=7):
            assert activations.budget == Budget(5, 7)
    assert activations.budget == former


@pytest.mark.parametrize("name", ["memory", "disk"])
@pytest.mark.parametrize("limit", [-1, 1.5, "1 GB", True])
def test_cache_limits_when_no_number_of_bytes_then_refused(name, limit):
    with pytest.raises(ValueError, match=f"'{name}' parameter .* Got {limit!r}"):
        with cache_limits(**{name: limit}):
            pass


def test_clear_cache_when_called_then_frees_activations_and_backbone(
    classifier, texts, labels
):
    classifier.fit(texts, labels)
    assert activations.memory > 0
    clear_cache()
    assert activations.memory == activations.disk == 0
    assert classifier.predict(texts).shape == (24,)  # it still holds its backbone


def test_backbone_when_freed_then_its_activations_are_too(tiny_bert):

    shared = load_tiny(tiny_bert)
    backbone = Backbone(shared.model, shared.tokenizer)
    activations.shelf((backbone.uid, "kind")).put(*rows(0))
    assert activations.memory > 0
    del backbone
    gc.collect()
    assert activations.memory == 0


@pytest.mark.parametrize("memory", [0, 10**6])
def test_put_when_the_rows_are_overwritten_then_those_kept_are_not(memory):
    shelf = Store(Budget(memory, 10**6)).shelf("kind")
    keys, values, lengths = rows(0)
    expected = values.clone()
    shelf.put(keys, values, lengths)
    values.zero_()
    check_shelf(shelf, (keys, expected, lengths))
