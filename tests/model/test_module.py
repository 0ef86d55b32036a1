import copy
from dataclasses import replace

import pytest
import torch
from conftest import (
    BACKBONES,
    METHODS,
    batch_of,
    build_module,
    features_of,
    inputs_of,
    load_backbone,
    load_tiny,
    random_ids,
    stir,
)
from transformers import AutoModel

PROMPT_IDS = [2, 10, 11]
methods = pytest.mark.parametrize(("method", "adapter"), METHODS)


@pytest.fixture
def backbone(tiny_bert):
    return load_tiny(tiny_bert)


@pytest.mark.parametrize(
    ("name", "method", "pooling"),
    [
        *((name, "prompt", "mean") for name in ("llama", "bert", "roberta")),
        ("llama", "prefix", "last"),
    ],
)
@pytest.mark.parametrize("adapter", ["low_rank", "linear", "embedding"])
@torch.no_grad()
def test_features_when_untrained_then_equal_bare_model(
    name, method, pooling, adapter, tiny
):
    changes = {"method": method, "adapter": adapter, "pooling": pooling}
    module = build_module(load_tiny(tiny(name)), PROMPT_IDS, **changes)
    (text,) = random_ids(9)
    bare = AutoModel.from_pretrained(tiny(name), dtype=torch.float32).eval()
    hidden = bare(torch.tensor([PROMPT_IDS + text])).last_hidden_state
    hidden = hidden[:, len(PROMPT_IDS) :]
    expected = hidden.mean(dim=1) if pooling == "mean" else hidden[:, -1]
    found = features_of(module, [text])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
@methods
def test_features_when_padded_then_equal_unpadded(name, method, adapter, tiny):
    backbone = load_tiny(tiny(name))
    module = stir(build_module(backbone, PROMPT_IDS, method=method, adapter=adapter))
    rows = random_ids(2, 20, 7)
    alone = torch.cat([features_of(module, [row]) for row in rows])
    torch.testing.assert_close(features_of(module, rows), alone, rtol=0, atol=1e-5)


@methods
def test_features_when_condition_is_given_then_is_used_in_place_of_its_own(
    method, adapter, backbone
):
    module = stir(build_module(backbone, PROMPT_IDS, method=method, adapter=adapter))
    inputs = batch_of(random_ids(4, 6))
    before, condition = module.features(inputs), module.condition()
    stir(module)
    given = module.features(inputs, condition)
    torch.testing.assert_close(given, before, rtol=0, atol=0)
    assert (module.features(inputs) - before).abs().max() > 1e-3
    scores = module.scores(inputs, condition)
    torch.testing.assert_close(scores, module.head(before))


def test_forward_when_features_are_shifted_then_head_reads_them_standardised(backbone):
    module = build_module(backbone, PROMPT_IDS)
    rows = random_ids(5, 5)
    raw = features_of(module, rows)
    module.feature_mean.fill_(2.0)
    module.feature_scale.fill_(4.0)
    scores = module(**inputs_of(*rows))
    torch.testing.assert_close(scores, module.head((raw - 2.0) / 4.0))


def test_forward_when_training_then_dropout_is_on_the_features_of_the_head(backbone):
    module = build_module(backbone, PROMPT_IDS).train()
    inputs = batch_of(random_ids(30))
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 0, 1)]
    drawn = [module(**inputs, dropout_generator=each) for each in generators]
    torch.testing.assert_close(drawn[0], drawn[1], rtol=0, atol=0)
    assert not torch.equal(drawn[0], drawn[2])
    # The linear probe is fitted on the features, and `transform` returns them.
    one, other = (module.features(inputs) for _ in range(2))
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    module.eval()
    torch.testing.assert_close(module(**inputs), module(**inputs), rtol=0, atol=0)


@methods
def test_trainable_when_built_then_is_adapter_and_head_alone(method, adapter, backbone):
    module = build_module(backbone, method=method, adapter=adapter)
    names = {name for name, p in module.named_parameters() if p.requires_grad}
    assert {name.partition(".")[0] for name in names} == {"adapter", "head"}
    assert set(module.state_dict()) == names | {"feature_mean", "feature_scale"}


def train(module):
    """Take a few steps, as training does."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    inputs = batch_of(random_ids(4, 6, 9))
    for _ in range(3):
        loss = module.train()(**inputs).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@methods
def test_training_when_done_then_adapter_has_moved_and_backbone_is_the_same(
    method, adapter, backbone
):
    module = build_module(backbone, PROMPT_IDS, method=method, adapter=adapter)
    before = copy.deepcopy(backbone.model.state_dict())
    train(module)
    after = backbone.model.state_dict()
    assert after.keys() == before.keys()
    for name, value in after.items():
        assert value.numpy().tobytes() == before[name].numpy().tobytes(), name
    assert all(p.grad is None for p in backbone.model.parameters())
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert backbone.model.config.hidden_dropout_prob > 0
    assert not any(each.training for each in backbone.model.modules())

    trained = module.condition()
    module.adapter.reset()
    start = module.condition()
    if method == "prompt":
        trained, start = [[trained]], [[start]]
    for layer, former in zip(trained, start, strict=True):
        for one, other in zip(layer, former, strict=True):
            assert (one - other).abs().max() > 1e-5


@pytest.mark.parametrize("other_seed", [0, 1])
def test_seeded_module_when_seed_differs_then_so_do_the_start_values(
    other_seed, backbone
):
    one = build_module(backbone, seed=0).state_dict()["adapter.maps.0.0.weight"]
    torch.rand(3)  # the global generator has no say
    other = build_module(backbone, seed=other_seed).state_dict()
    same = torch.equal(one, other["adapter.maps.0.0.weight"])
    assert same == (other_seed == 0)


def test_dtype_when_bfloat16_then_trained_part_stays_float32(backbone):
    half = load_backbone(replace(backbone.config, dtype=torch.bfloat16))
    module = build_module(half, PROMPT_IDS)
    assert half.model.dtype == torch.bfloat16
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert features_of(module, random_ids(5)).dtype == torch.float32
