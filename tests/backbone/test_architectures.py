"""Every backbone of the matrix: it learns, and its prefix is proved to be right.

`docs/make_backbones.py` writes the documented matrix from what these tests report.
"""

from copy import deepcopy

import pytest
import torch
import transformers
from architectures import ARCHITECTURES, REFUSED
from conftest import (
    batch_of,
    build_module,
    load_tiny,
    random_ids,
    save_wordpiece,
    stir,
)
from packaging.version import Version
from transformers import CONFIG_MAPPING

from sksemantic._backbone.layers import add_hooks
from sksemantic._backbone.prefix.base import SplitLayer, run_model
from sksemantic._model.config import resolve_text_rank
from sksemantic.exceptions import UnsupportedBackboneError

RELEASE, NEWEST = Version(transformers.__version__), Version("5.24")
PROMPT_IDS = [10, 11, 12]
SHARED = ("ALBERT",)
NEEDS_ALL_LAYERS = (*SHARED, "Qwen3-Next")
# Their upper layers need more than hidden states from those below.
NEEDS_LOWER_LAYERS = (*SHARED, "Longformer", "T5 encoder", "mT5 encoder")
NAMES = [architecture.name for architecture in ARCHITECTURES]


@pytest.fixture(scope="session", params=ARCHITECTURES, ids=NAMES)
def architecture(request):
    if request.param.model_type not in CONFIG_MAPPING or RELEASE < Version(
        request.param.since
    ):
        pytest.skip("not in this release of transformers")
    return request.param


@pytest.fixture(scope="session")
def directory(architecture, tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    vocab_size = save_wordpiece(folder)
    architecture.make(vocab_size).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def backbone(directory):
    return load_tiny(directory)


def inputs_of(*rows, pad_left=False):
    """Return ids and mask (B, T)."""
    inputs = batch_of(rows)
    if pad_left:
        order = inputs["attention_mask"].argsort(dim=1, stable=True)
        inputs = {name: values.gather(1, order) for name, values in inputs.items()}
    return inputs


@torch.no_grad()
def read_prompt(backbone):
    return backbone.prefix_mechanism.read(
        backbone.embed(torch.tensor([PROMPT_IDS]))
    ).prefix


def own_positions(backbone, length):
    """Return the positions of prompt and text where the text keeps its own."""
    positions = backbone.prefix_mechanism.positions
    if positions.own is None or not positions.given:
        return {}
    starts = (len(PROMPT_IDS), length)
    parts = [torch.arange(positions.own, positions.own + n) for n in starts]
    return {"position_ids": torch.cat(parts)[None]}


def test_mechanism_when_auto_then_is_the_best_that_works(
    architecture, backbone, record_property
):
    record_property("prefix_mechanism", backbone.prefix_mechanism.name)
    record_property("kind", "causal" if backbone.is_causal else "encoder")
    if RELEASE >= NEWEST:  # older releases leave some fewer ways
        assert backbone.prefix_mechanism.name == architecture.prefix_mechanism


@torch.no_grad()
def test_prefix_when_read_from_the_prompt_then_as_if_it_stood_before_the_text(
    backbone, record_property
):
    """Oracle 1 for causal models; oracle 2, the prompt read alone, for encoders."""
    (text,) = random_ids(7)
    output = backbone.prefix_mechanism.run(inputs_of(text), read_prompt(backbone))
    joint = inputs_of(PROMPT_IDS + text) | own_positions(backbone, len(text))
    if not backbone.is_causal:
        if backbone.prefix_mechanism.name == "hidden_states":
            pytest.skip("see the test of states")
        joint["attention_mask"] = block_mask(backbone, len(text))
    expected = backbone.run(joint)[:, len(PROMPT_IDS) :]
    record_property("error", float((output - expected).abs().max()))
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_layers_when_removed_then_backbone_is_as_if_it_had_been_built_with_fewer_layers(
    architecture, backbone, directory, record_property
):
    n_layers = backbone.n_layers - 1
    if architecture.name in NEEDS_ALL_LAYERS:
        with pytest.raises(
            ValueError, match="'n_layers' entry of .* must be 'auto' or"
        ):
            load_tiny(directory, n_layers=n_layers)
        record_property("cut", "no")
        return
    lower = load_tiny(directory, n_layers=n_layers)
    record_property("cut", "yes")
    assert lower.n_layers == n_layers
    config = deepcopy(lower.model.config)
    if hasattr(config, "encoder_layers"):
        config.encoder_layers = n_layers
    if hasattr(config, "scale_depth"):  # divided by the root of the number of layers
        config.scale_depth *= (n_layers / backbone.n_layers) ** 0.5
    small = type(backbone.model)(config).eval()
    small.load_state_dict(backbone.model.state_dict(), strict=False)
    inputs = inputs_of(*random_ids(7, 5))
    mask = inputs["attention_mask"].bool()
    output, expected = lower.run(inputs)[mask], run_model(small, inputs)[mask]
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
    assert (output - backbone.run(inputs)[mask]).abs().max() > 1e-3


def block_mask(backbone, length):
    """Let the prompt's rows see the prompt only; old attention adds the mask."""
    total = len(PROMPT_IDS) + length
    mask = torch.ones(1, 1, total, total, dtype=torch.bool)
    mask[..., : len(PROMPT_IDS), len(PROMPT_IDS) :] = False
    if backbone.prefix_mechanism.name == "kv_cache" and RELEASE < Version("5.23"):
        return mask[:, 0].long()
    if backbone.prefix_mechanism.name == "kv_cache":
        return torch.zeros(mask.shape).masked_fill(~mask, -1e9)
    return mask


@torch.no_grad()
def test_states_when_those_of_the_whole_row_then_output_is_the_models(
    directory, record_property
):
    """Overwriting states with themselves changes nothing, for any backbone."""
    backbone = load_tiny(directory)
    if backbone.prefix_mechanism.name != "hidden_states":
        pytest.skip("not a backbone of this mechanism")
    (text,) = random_ids(7)
    joint = inputs_of(PROMPT_IDS + text) | own_positions(backbone, len(text))
    n_prompt = len(PROMPT_IDS)
    states = {}
    with add_hooks(on_input=states.setdefault):
        expected = backbone.run(joint)[:, n_prompt:]
    prefix = [(states[i][:, :n_prompt],) for i in range(backbone.n_layers)]
    output = backbone.prefix_mechanism.run(inputs_of(text), prefix)
    record_property("error", float((output - expected).abs().max()))
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_prefix_when_padded_then_equals_unpadded(backbone):
    rows = random_ids(3, 11, 7)
    prefix = read_prompt(backbone)
    padded = backbone.prefix_mechanism.run(inputs_of(*rows), prefix)
    for i, row in enumerate(rows):
        alone = backbone.prefix_mechanism.run(inputs_of(row), prefix)[0]
        torch.testing.assert_close(padded[i, : len(row)], alone, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_prefix_when_padded_on_the_left_then_equals_padded_on_the_right(backbone):
    if (
        backbone.prefix_mechanism.name == "hidden_states"
        or not backbone.prefix_mechanism.positions.given
    ):
        pytest.skip("takes no positions that would make up for the shift")
    rows = random_ids(3, 11, 7)
    prefix = read_prompt(backbone)
    right = backbone.prefix_mechanism.run(inputs_of(*rows), prefix)
    inputs = inputs_of(*rows, pad_left=True)
    own = backbone.prefix_mechanism.positions.own
    first = len(PROMPT_IDS) if own is None else own
    counted = inputs["attention_mask"].cumsum(dim=1) - 1
    inputs["position_ids"] = first + counted.clamp(min=0)
    left = backbone.prefix_mechanism.run(inputs, prefix)
    for i, row in enumerate(rows):
        torch.testing.assert_close(
            left[i, -len(row) :], right[i, : len(row)], rtol=0, atol=1e-5
        )


@torch.no_grad()
def test_split_layer_when_layers_below_are_skipped_then_output_is_the_same(
    architecture, backbone, record_property
):
    mechanism = backbone.prefix_mechanism
    read = mechanism.read(backbone.embed(torch.tensor([PROMPT_IDS])))
    split_layer = SplitLayer(read.layers[-1], len(read.layers) - 1)
    can_split = mechanism.can_split(read, split_layer)
    record_property("split_layer", can_split)
    assert can_split == (architecture.name not in NEEDS_LOWER_LAYERS)
    if not can_split:
        return
    inputs = inputs_of(*random_ids(3, 11, 7))
    expected = mechanism.run(inputs, read.prefix)
    output, states = mechanism.run_recording(inputs, read.prefix, split_layer)
    torch.testing.assert_close(output, expected)
    lower = mechanism.run_lower(inputs, read.prefix, split_layer)
    torch.testing.assert_close(lower, states)
    upper = mechanism.run_upper(inputs, read.prefix, split_layer, states)
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(upper[real], expected[real], rtol=0, atol=1e-5)


@torch.no_grad()
def test_text_adapter_when_it_does_something_then_batch_does_not_matter(
    architecture, backbone
):
    rank = resolve_text_rank(4, True, backbone, "prefix", "low_rank")
    if architecture.name in SHARED:
        assert rank == 0
        return
    module = build_module(backbone, text_rank=rank)
    rows = random_ids(4, 9)
    before = module.features(inputs_of(*rows))
    stir(module.text_adapter)
    features = module.features(inputs_of(*rows))
    assert (features - before).abs().mean() > 1e-3
    alone = torch.cat([module.features(inputs_of(row)) for row in rows])
    torch.testing.assert_close(features, alone, rtol=0, atol=1e-4)


@torch.no_grad()
def test_max_text_length_when_a_text_has_it_then_its_end_sees_the_prefix(
    architecture, backbone
):
    (text,) = random_ids(backbone.max_text_length("prefix", len(PROMPT_IDS)))
    window = getattr(backbone.model.config, "sliding_window", None)
    is_cached = backbone.prefix_mechanism.name == "kv_cache"
    assert len(text) >= (10 if window and is_cached else 100)
    prefix = read_prompt(backbone)
    changed = [tuple(-part for part in layer) for layer in prefix]
    outputs = [
        backbone.prefix_mechanism.run(inputs_of(text), each)[0]
        for each in (prefix, changed)
    ]
    assert len(outputs[0]) == len(text)
    difference = (outputs[0] - outputs[1]).abs().amax(dim=1)  # (T,)
    assert difference[0] > 1e-4
    # Longformer attends in windows that end long before.
    assert (difference[-1] > 1e-4) == (architecture.name != "Longformer")


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_module_when_trained_then_adapter_and_head_learn(
    method, backbone, record_property
):
    record_property("method", method)
    module = build_module(backbone, method=method, dropout=0.0)
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    losses = []
    for _ in range(6):
        scores = module(**inputs_of(*random_ids(7, 5)))
        loss = torch.nn.functional.cross_entropy(scores, torch.tensor([0, 1]))
        optimizer.zero_grad()
        loss.backward()
        gradients = [p.grad.abs().max() for p in module.adapter.parameters()]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert max(gradients) > 0


@pytest.mark.parametrize(
    ("refused", "reason"), REFUSED, ids=[refused.name for refused, _ in REFUSED]
)
def test_backbone_when_it_cannot_be_used_then_refused(
    refused, reason, tmp_path, record_property
):
    refused.make(save_wordpiece(tmp_path)).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedBackboneError, match=reason) as caught:
        load_tiny(str(tmp_path)).prefix_mechanism  # noqa: B018
    record_property("refusal", str(caught.value))
