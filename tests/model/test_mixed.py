import numpy as np
import pytest
import torch
from conftest import BACKBONES, build_module, load_tiny, random_ids, stir

from sksemantic._inputs.dataset import Ragged, TextDataset
from sksemantic._model.inference import compute_scores
from sksemantic._model.mixed import compute_scores_of_many

# With the mechanism that each tiny backbone gets by itself, and with the others.
MECHANISMS = [(name, "attention") for name in BACKBONES]
MECHANISMS += [("llama", "kv_cache"), ("bert", "hidden_states")]
every_mechanism = pytest.mark.parametrize(("name", "mechanism"), MECHANISMS)


def assert_as_apart(requests):
    found = compute_scores_of_many(requests)
    for (module, data), scores in zip(requests, found, strict=True):
        expected = compute_scores(module, data)
        assert scores.shape == expected.shape
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


@every_mechanism
def test_scores_when_modules_differ_in_all_then_are_as_from_each_alone(
    name, mechanism, tiny
):
    backbone = load_tiny(tiny(name), mechanism)
    modules = [
        stir(build_module(backbone, [5, 6, 7], seed=1, n_outputs=2)),
        stir(build_module(backbone, [8, 9], seed=2, n_outputs=5, pooling="last")),
        stir(build_module(backbone, [7], seed=3, text_rank=2, tuned_layers=(1, 2))),
        stir(build_module(backbone, [9, 6], seed=4, text_rank=4, pooling="first")),
    ]
    rows = random_ids(*np.random.RandomState(0).randint(1, 30, 60))
    assert_as_apart(
        [(module, TextDataset(rows[i::2])) for i, module in enumerate(modules)]
        + [(modules[0], TextDataset(rows[:3]))]
    )


def test_scores_when_prefixes_differ_then_each_text_has_its_own(tiny_bert):
    backbone = load_tiny(tiny_bert)
    one, other = (stir(build_module(backbone, [5, 6], seed=seed)) for seed in (1, 2))
    data = TextDataset(random_ids(5, 9))
    of_one, of_other = compute_scores_of_many([(one, data), (other, data)])
    assert np.abs(of_one - of_other).max() > 1e-2


@pytest.mark.parametrize("prompts", [[[5, 6], [7, 8]], [[5, 6], [7]]])
def test_scores_when_soft_prompts_then_are_as_from_each_alone(prompts, tiny_roberta):
    backbone = load_tiny(tiny_roberta)
    modules = [
        stir(build_module(backbone, ids, seed=i, method="prompt"))
        for i, ids in enumerate(prompts)
    ]
    modules.append(stir(build_module(backbone, prompts[0], seed=9)))
    rows = random_ids(4, 9, 2)
    assert_as_apart([(module, TextDataset(rows)) for module in modules])


def test_scores_when_some_read_words_windows_or_pairs_then_are_as_apart(tiny_bert):
    backbone = load_tiny(tiny_bert)
    rows = random_ids(6, 9, 6)
    words = Ragged.of([[1, 3, 5], [], [0]])
    pairs = Ragged.of(random_ids(3, 4, 2, 5, 1, 7))
    second = Ragged(
        np.concatenate([*rows]).astype(np.int32), np.array([6, 9, 6]), np.array([2] * 3)
    )
    modules = [
        stir(build_module(backbone, [5, 6], seed=1, pooling="tokens")),
        stir(build_module(backbone, [5], seed=2)),
        stir(build_module(backbone, [7, 8, 9], seed=3, pooling="pair")),
        stir(build_module(backbone, [7, 8], seed=4)),
    ]
    data = [
        TextDataset(rows, word_positions=words),
        TextDataset(rows, n_windows=np.array([2, 1])),
        TextDataset(rows, pair_texts=pairs),
        TextDataset(second),
    ]
    assert_as_apart([*zip(modules, data, strict=True)])


def test_scores_when_texts_repeat_or_there_are_none_then_are_as_apart(tiny_bert):
    backbone = load_tiny(tiny_bert)
    one, other = (stir(build_module(backbone, [5, 6], seed=seed)) for seed in (1, 2))
    rows = random_ids(5, 3)
    repeated = TextDataset([rows[i] for i in (0, 1, 0, 0, 1)])
    assert_as_apart([(one, repeated), (other, TextDataset(Ragged.of([])))])
    assert compute_scores_of_many([]) == []


def test_scores_when_backbones_differ_then_are_as_from_each_alone(
    tiny_bert, tiny_llama
):
    rows = random_ids(5, 9, 2)
    modules = [
        stir(build_module(load_tiny(folder))) for folder in (tiny_bert, tiny_llama)
    ]
    assert_as_apart([(module, TextDataset(rows)) for module in modules])


def test_scores_when_there_are_many_modules_then_the_batches_are_common(tiny_bert):
    backbone = load_tiny(tiny_bert)
    modules = [stir(build_module(backbone, [5, 6], seed=i)) for i in range(30)]
    requests = [(module, TextDataset(random_ids(7))) for module in modules]
    batches = []
    compute_scores_of_many(requests, batches.append)
    assert [len(batch["input_ids"]) for batch in batches] == [30]


def test_mechanism_when_lengths_cannot_be_mixed_then_it_says_so(tiny_bert):
    can_mix = {}
    for mechanism in ("attention", "hidden_states"):
        backbone = load_tiny(tiny_bert, mechanism)
        with torch.no_grad():
            embeddings = backbone.embed(torch.tensor([[5, 6, 7]]))
            prefix = backbone.prefix_mechanism.read(embeddings).prefix
        can_mix[mechanism] = backbone.prefix_mechanism.can_mix_lengths(prefix)
    assert can_mix == {"attention": True, "hidden_states": False}
