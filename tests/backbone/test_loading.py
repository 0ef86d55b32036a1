"""Loading: once for all, safely, silently."""

import gc
import os
import pickle
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CPU, FAST, LABELS, TEXTS, load_tiny, save_tiny, save_wordpiece
from transformers import (
    AutoModel,
    AutoTokenizer,
    Gemma3Config,
    Gemma3Model,
    Gemma3TextModel,
)
from transformers.utils import logging as transformers_logging

from sksemantic import SKTuningClassifier, UnsupportedBackboneError
from sksemantic._backbone import loading as _loading
from sksemantic._backbone.loading import BackboneConfig
from sksemantic._backbone.registry import load_backbone
from sksemantic._backbone.source import resolve


@pytest.fixture
def own_copy(tiny_bert, tmp_path):
    """Return a tiny BERT that no other test has loaded."""
    return shutil.copytree(tiny_bert, tmp_path / "bert")


def test_load_when_asked_again_then_is_the_same_copy(tiny_bert):
    assert load_tiny(tiny_bert) is load_tiny(tiny_bert)


def test_load_when_injection_differs_then_weights_are_shared(tiny_bert):
    backbones = [load_tiny(tiny_bert, name) for name in ("attention", "hidden_states")]
    assert [b.prefix_mechanism.name for b in backbones] == [
        "attention",
        "hidden_states",
    ]
    assert backbones[0].model is backbones[1].model


def test_load_when_asked_under_another_path_then_is_the_same_copy(
    tiny_bert, monkeypatch
):
    path = Path(tiny_bert)
    monkeypatch.chdir(path.parent)
    assert load_tiny(path.name) is load_tiny(tiny_bert)


def test_load_when_dtype_differs_then_is_another_copy(tiny_bert):
    half = load_backbone(BackboneConfig(resolve(tiny_bert), CPU, torch.bfloat16))
    assert half.model.dtype == torch.bfloat16
    assert load_tiny(tiny_bert).model.dtype == torch.float32


def test_load_when_files_have_changed_then_they_are_read_again(own_copy):
    before = load_tiny(str(own_copy))
    save_tiny("roberta", own_copy)
    os.utime(own_copy / "model.safetensors", ns=(0, 2**62))
    after = load_tiny(str(own_copy))
    assert after is not before
    assert type(after.model).__name__ == "RobertaModel"


def test_load_when_the_last_user_is_gone_then_only_the_latest_stays(
    own_copy, tiny_roberta
):
    backbone = load_tiny(str(own_copy))
    model = weakref.ref(backbone.model)
    del backbone
    gc.collect()
    assert model() is not None  # the latest one waits for the next estimator
    load_tiny(tiny_roberta)
    gc.collect()
    assert model() is None


def test_load_when_another_is_loaded_then_the_former_goes_first(
    own_copy, tiny_roberta, monkeypatch
):
    model = weakref.ref(load_tiny(str(own_copy)).model)
    load = _loading._load

    def load_alone(*args):
        gc.collect()
        assert model() is None  # never two in memory without need
        return load(*args)

    monkeypatch.setattr(_loading, "_load", load_alone)
    elsewhere = shutil.copytree(tiny_roberta, own_copy.parent / "roberta")
    load_tiny(str(elsewhere))


def test_load_when_random_numbers_follow_then_they_are_undisturbed(own_copy):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_tiny(str(own_copy))
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_load_when_done_then_is_silent_and_settings_are_restored(own_copy, capfd):
    transformers_logging.set_verbosity_info()
    try:
        load_tiny(str(own_copy))
        assert transformers_logging.get_verbosity() == transformers_logging.INFO
    finally:
        transformers_logging.set_verbosity_warning()
    assert transformers_logging.is_progress_bar_enabled()
    assert capfd.readouterr() == ("", "")


def test_load_when_done_then_model_is_frozen_and_in_eval_mode(own_copy):
    model = load_tiny(str(own_copy)).model
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(module.training for module in model.modules())


def test_load_when_weights_are_pickled_then_refused(tiny_bert, tmp_path):
    model = AutoModel.from_pretrained(tiny_bert)
    model.config.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    message = "were found .* could not be loaded.*pickled weights and remote code never"
    with pytest.raises(UnsupportedBackboneError, match=f"(?s){message}"):
        load_tiny(str(tmp_path))


def test_load_when_a_tensor_is_missing_then_refused(own_copy):
    from safetensors.torch import load_file, save_file

    tensors = load_file(own_copy / "model.safetensors")
    name = next(
        name for name in tensors if name.endswith("layer.1.output.dense.weight")
    )
    del tensors[name]
    save_file(tensors, own_copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        UnsupportedBackboneError, match="lack 1 tensors .*'encoder.layer"
    ):
        load_tiny(str(own_copy))


def test_load_when_only_the_pooler_is_missing_then_works(own_copy):
    from safetensors.torch import load_file, save_file

    tensors = load_file(own_copy / "model.safetensors")
    kept = {name: t for name, t in tensors.items() if "pooler" not in name}
    assert len(kept) == len(tensors) - 2
    save_file(kept, own_copy / "model.safetensors", {"format": "pt"})
    assert load_tiny(str(own_copy)).hidden_size == 32


def test_load_when_weights_are_cut_short_then_refused(own_copy):
    weights = own_copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UnsupportedBackboneError, match="could not be loaded"):
        load_tiny(str(own_copy))


def test_load_when_tokenizer_is_missing_then_refused(own_copy):
    for file in own_copy.glob("*token*"):
        file.unlink()
    with pytest.raises(
        UnsupportedBackboneError, match="without the files of their tokenizer"
    ):
        load_tiny(str(own_copy))


def test_load_when_architecture_is_unknown_then_refused(own_copy):
    config = own_copy / "config.json"
    config.write_text(config.read_text().replace('"bert"', '"no-such-model"'))
    with pytest.raises(UnsupportedBackboneError, match="could not be loaded"):
        load_tiny(str(own_copy))


def test_load_when_directory_brings_code_then_it_is_never_run(own_copy):
    (own_copy / "evil.py").write_text("raise SystemExit('remote code was run')\n")
    config = own_copy / "config.json"
    text = config.read_text().replace('"bert"', '"evil"').rstrip().rstrip("}")
    config.write_text(
        text + ', "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}}'
    )
    with pytest.raises(UnsupportedBackboneError, match="could not be loaded"):
        load_tiny(str(own_copy))


def test_load_when_several_threads_ask_then_they_get_one_copy(own_copy):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(load_tiny, [str(own_copy)] * 4))
    assert len({id(backbone) for backbone in found}) == 1
    assert len(_loading._latest) == 1


def int8():
    """Return a config that a CPU can serve."""
    pytest.importorskip("torchao")
    pytest.importorskip("accelerate")
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    return TorchAoConfig(Int8WeightOnlyConfig())


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_fit_when_weights_are_quantized_then_adapter_learns_and_pickles(name, tiny):
    config = int8()
    params = {**FAST, "model": tiny(name), "quantization_config": config}
    clf = SKTuningClassifier(**params).fit(TEXTS, LABELS)
    model = clf.net_.module_.backbone.model
    assert model.is_quantized
    assert {p.dtype for p in clf.net_.module_.parameters()} == {torch.float32}
    expected = clf.predict_proba(TEXTS)
    copy = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(copy.predict_proba(TEXTS), expected)
    plain = SKTuningClassifier(**{**params, "quantization_config": None})
    assert plain.fit(TEXTS, LABELS).net_.module_.backbone.model is not model


@pytest.mark.parametrize("device_map", ["auto", {"": "cpu"}])
def test_fit_when_spread_by_a_device_map_then_predicts_as_on_one(device_map, fast):
    pytest.importorskip("accelerate")
    spread = (
        SKTuningClassifier(**fast)
        .set_params(model_kwargs__device_map=device_map)
        .fit(TEXTS, LABELS)
    )
    alone = SKTuningClassifier(**fast).fit(TEXTS, LABELS)
    np.testing.assert_allclose(
        spread.predict_proba(TEXTS), alone.predict_proba(TEXTS), atol=1e-6
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_fit_when_dtype_is_chosen_then_adapter_and_head_stay_float32(dtype, fast):
    clf = SKTuningClassifier(**{**fast, "dtype": dtype}).fit(TEXTS, LABELS)
    module = clf.net_.module_
    assert str(module.backbone.model.dtype) == f"torch.{dtype}"
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert np.isfinite(clf.predict_proba(TEXTS)).all()


def test_load_when_weights_are_in_shards_then_as_in_one_file(tiny_llama, tmp_path):
    AutoModel.from_pretrained(tiny_llama).save_pretrained(
        tmp_path, max_shard_size=20000
    )
    AutoTokenizer.from_pretrained(tiny_llama).save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    one, shards = load_tiny(tiny_llama).model, load_tiny(str(tmp_path)).model
    for name, tensor in one.state_dict().items():
        assert torch.equal(shards.state_dict()[name], tensor), name


def test_load_when_model_has_vision_too_then_its_text_part_is_used(tmp_path):
    config = Gemma3Config(
        text_config=_text_sizes(),
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
    backbone = load_tiny(str(tmp_path))
    assert type(backbone.model) is Gemma3TextModel
    assert backbone.is_causal
    assert backbone.prefix_mechanism.name == "attention"


def _text_sizes():
    return {
        "vocab_size": 120,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "intermediate_size": 64,
    }
