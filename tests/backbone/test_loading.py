"""Weights are loaded safely, silently and completely, or not at all."""

import pytest
import torch
from conftest import CPU, SIZES, inputs_of, int8_config, load_tiny, save_wordpiece
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoTokenizer,
    Gemma3Config,
    Gemma3Model,
    Gemma3TextModel,
    LlamaConfig,
    LlamaModel,
)
from transformers.utils import logging as transformers_logging

from sksemantic._backbone.loading import (
    BackboneConfig,
    check_gguf_support,
    load_weights,
    read_output_embeddings,
    remove_upper_layers,
)
from sksemantic._backbone.prefix.base import run_model
from sksemantic._backbone.source import resolve
from sksemantic.exceptions import UnsupportedBackboneError

TALL = SIZES | {"vocab_size": 50, "num_hidden_layers": 6}


def load(directory, dtype=torch.float32, **params):
    """Return the model alone."""
    return load_weights(BackboneConfig(resolve(str(directory)), CPU, dtype, **params))[
        0
    ]


def test_load_when_random_numbers_follow_then_they_are_undisturbed(own_copy):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(own_copy)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_load_when_done_then_is_silent_and_settings_are_restored(own_copy, capfd):
    transformers_logging.set_verbosity_info()
    try:
        load(own_copy)
        assert transformers_logging.get_verbosity() == transformers_logging.INFO
    finally:
        transformers_logging.set_verbosity_warning()
    assert transformers_logging.is_progress_bar_enabled()
    assert capfd.readouterr() == ("", "")


def test_load_when_weights_are_pickled_then_refused(tiny_bert, tmp_path):
    model = AutoModel.from_pretrained(tiny_bert)
    model.config.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    message = "were found .* could not be loaded.*pickled weights and remote code never"
    with pytest.raises(UnsupportedBackboneError, match=f"(?s){message}"):
        load(tmp_path)


def drop_a_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("1.output.dense.weight"))
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def cut_weights_short(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def drop_the_tokenizer(folder):
    for file in folder.glob("*token*"):
        file.unlink()


def name_an_unknown_model(folder):
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"bert"', '"no-such-model"'))


def bring_code(folder):
    (folder / "evil.py").write_text("raise SystemExit('remote code was run')\n")
    config = folder / "config.json"
    text = config.read_text().replace('"bert"', '"evil"').rstrip().rstrip("}")
    config.write_text(
        text + ', "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}}'
    )


def break_gguf_file(folder):
    (folder / "config.json").unlink()
    (folder / "model.gguf").write_bytes(b"GGUF, but not really")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop_a_tensor, "lack 1 tensors .*'encoder.layer"),
        (cut_weights_short, "are refused"),
        (drop_the_tokenizer, "without the files of their tokenizer"),
        (name_an_unknown_model, "could not be loaded"),
        (bring_code, "could not be loaded"),  # which is never run
        (break_gguf_file, "model.gguf has no header of GGUF"),
    ],
)
def test_load_when_files_are_spoilt_then_refused(spoil, message, own_copy):
    spoil(own_copy)
    with pytest.raises(UnsupportedBackboneError, match=message):
        load(own_copy)


def test_load_when_only_the_pooler_is_missing_then_works(own_copy):
    tensors = load_file(own_copy / "model.safetensors")
    kept = {name: t for name, t in tensors.items() if "pooler" not in name}
    assert len(kept) == len(tensors) - 2
    save_file(kept, own_copy / "model.safetensors", {"format": "pt"})
    assert load(own_copy).pooler.dense.weight.shape == (32, 32)


def test_load_when_weights_are_in_shards_then_as_in_one_file(tiny_llama, tmp_path):
    AutoModel.from_pretrained(tiny_llama).save_pretrained(
        tmp_path, max_shard_size=20000
    )
    AutoTokenizer.from_pretrained(tiny_llama).save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    one, shards = load(tiny_llama), load(tmp_path)
    for name, tensor in one.state_dict().items():
        assert torch.equal(shards.state_dict()[name], tensor), name


def test_load_when_model_has_vision_too_then_its_text_part_is_used(tmp_path):
    config = Gemma3Config(
        text_config=TALL | {"head_dim": 8, "num_key_value_heads": 1},
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        mm_tokens_per_image=4,
    )
    torch.manual_seed(0)
    Gemma3Model(config).save_pretrained(tmp_path)
    save_wordpiece(tmp_path)
    assert type(load(tmp_path)) is Gemma3TextModel


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_load_when_weights_are_quantized_then_output_is_nearly_the_same(name, tiny):
    model = load(tiny(name), quantization_config=int8_config().to_dict())
    assert model.is_quantized
    inputs = inputs_of([5, 6, 7])
    output, expected = run_model(model, inputs), load_tiny(tiny(name)).run(inputs)
    error = (output - expected).norm() / expected.norm()
    assert 0 < error < 0.05


@torch.no_grad()
@pytest.mark.parametrize("device_map", ["auto", {"": "cpu"}])
def test_load_when_spread_by_a_device_map_then_output_is_the_same(
    device_map, tiny_bert
):
    pytest.importorskip("accelerate")
    model = load(tiny_bert, device_map=device_map)
    inputs = inputs_of([5, 6, 7])
    expected = load_tiny(tiny_bert).run(inputs)
    torch.testing.assert_close(run_model(model, inputs), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("version", ["5.2.0", "5.22.0"])
def test_gguf_file_when_transformers_misreads_it_then_refused(version, tmp_path):
    file = tmp_path / "model.gguf"
    file.touch()
    with pytest.raises(UnsupportedBackboneError, match="Install transformers>=5.23"):
        check_gguf_support(resolve(str(file)), version)
    check_gguf_support(resolve(str(file)), "5.23.0")


@pytest.mark.parametrize("name", ["lm_head.weight", "embed_out.weight"])
def test_output_embeddings_when_in_the_files_then_are_those_rows(name, tmp_path):
    weight = torch.randn(7, 4)
    (tmp_path / "config.json").touch()
    save_file({"other": torch.zeros(7, 4)}, tmp_path / "a.safetensors")
    source = resolve(str(tmp_path))
    assert read_output_embeddings(source, [5, 2]) is None
    save_file({name: weight}, tmp_path / "b.safetensors")
    assert torch.equal(read_output_embeddings(source, [5, 2]), weight[[5, 2]])


@torch.no_grad()
@pytest.mark.parametrize(
    ("fails", "error"),
    [
        (IndexError, UnsupportedBackboneError),
        ("differs", UnsupportedBackboneError),
        (torch.cuda.OutOfMemoryError, torch.cuda.OutOfMemoryError),
    ],
)
def test_remove_when_the_model_fails_then_it_is_left_as_it_was(
    fails, error, monkeypatch
):
    torch.manual_seed(0)
    model = LlamaModel(LlamaConfig(**TALL)).eval()
    inputs = inputs_of([5, 6, 7])
    expected = run_model(model, inputs)
    forward = type(model).forward

    def with_all(self, **kwargs):
        if len(self.layers) == 6:
            return forward(self, **kwargs)
        if fails == "differs":
            kwargs["input_ids"] = kwargs["input_ids"] + 1
            return forward(self, **kwargs)
        raise fails("upper layers")

    monkeypatch.setattr(type(model), "forward", with_all)
    with pytest.raises(error, match="upper layers"):
        remove_upper_layers(model, 4)
    assert len(model.layers) == model.config.num_hidden_layers == 6
    torch.testing.assert_close(run_model(model, inputs), expected, rtol=0, atol=0)


def test_remove_when_the_config_has_no_setter_then_says_that_it_cannot(monkeypatch):
    model = LlamaModel(LlamaConfig(**TALL)).eval()

    def refuse(self, value):
        raise NotImplementedError

    number = property(lambda self: 6, refuse)
    monkeypatch.setattr(LlamaConfig, "num_hidden_layers", number, raising=False)
    with pytest.raises(UnsupportedBackboneError, match="upper layers"):
        remove_upper_layers(model, 4)
    assert len(model.layers) == 6


@torch.no_grad()
@pytest.mark.parametrize("n_layers", [1, 4])
def test_remove_when_done_then_output_is_what_entered_the_next_layer(n_layers):
    model = LlamaModel(LlamaConfig(**TALL)).eval()
    inputs = inputs_of([5, 6, 7])
    states = model(**inputs, output_hidden_states=True).hidden_states
    remove_upper_layers(model, n_layers)
    assert len(model.layers) == model.config.num_hidden_layers == n_layers
    expected = model.norm(states[n_layers])
    torch.testing.assert_close(run_model(model, inputs), expected, rtol=0, atol=1e-6)
