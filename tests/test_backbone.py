import gc
import os
import shutil
import weakref
from pathlib import Path

import pytest
import torch
from conftest import BACKBONES, CPU, DECODERS, load_tiny, save_tiny
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from sksemantic import UnsupportedBackboneError, _backbone
from sksemantic._backbone import load_backbone
from sksemantic._resolution import resolve

LENGTHS = {"bert": 128, "roberta": 128, "llama": 256, "gemma3": 256}


@pytest.fixture
def own_copy(tiny_bert, tmp_path):
    """Return a tiny BERT that no other test has loaded."""
    return shutil.copytree(tiny_bert, tmp_path / "bert")


@pytest.fixture(params=BACKBONES)
def name(request):
    return request.param


@pytest.fixture
def backbone(name, tiny):
    return load_tiny(tiny(name))


def test_is_causal_when_probed_then_is_right(name, backbone):
    assert backbone.is_causal == (name in DECODERS)


def test_max_positions_when_read_then_positions_never_used_do_not_count(name, backbone):
    assert backbone.max_positions == LENGTHS[name]


@pytest.mark.parametrize("name", ["bert", "roberta"], indirect=True)
def test_max_positions_when_text_is_that_long_then_model_runs(name, backbone):
    ids = torch.full((1, backbone.max_positions), 10)
    backbone.run({"input_ids": ids})
    with pytest.raises(Exception, match="index out of range|size"):
        backbone.run({"input_ids": torch.full((1, ids.shape[1] + 3), 10)})


def test_special_tokens_when_read_then_are_those_around_a_text(name, backbone):
    left, right = backbone.special_tokens
    (plain,) = backbone.encode(["a good film"])
    assert left + plain + right == backbone.tokenizer("a good film")["input_ids"]
    assert (left, right) == {
        "bert": ([2], [3]),
        "roberta": ([0], [2]),
        "llama": ([0], []),
        "gemma3": ([2], []),
    }[name]


def test_encode_when_many_texts_then_as_one_by_one(backbone):
    texts = ["a good film", "", "bad"]
    assert backbone.encode(texts) == [backbone.encode([text])[0] for text in texts]
    assert backbone.encode([]) == []


def test_encode_when_text_spells_out_a_special_token_then_length_is_finite(backbone):
    assert all(backbone.encode(["[SEP] </s> <pad> [PAD] <s>"]))


def test_pad_id_when_there_is_no_padding_token_then_there_still_is_an_id(tiny_llama):
    backbone = load_tiny(tiny_llama)
    assert backbone.tokenizer.pad_token_id is None
    assert backbone.pad_id == 0


def test_size_when_read_then_is_the_models(backbone):
    assert backbone.hidden_size == 32
    assert backbone.device == CPU


def test_load_when_asked_again_then_is_the_same_copy(tiny_bert):
    assert load_tiny(tiny_bert) is load_tiny(tiny_bert)


def test_load_when_injection_differs_then_weights_are_shared(tiny_bert):
    backbones = [load_tiny(tiny_bert, name) for name in ("attention", "states")]
    assert [b.injection.name for b in backbones] == ["attention", "states"]
    assert backbones[0].model is backbones[1].model


def test_load_when_asked_under_another_path_then_is_the_same_copy(
    tiny_bert, monkeypatch
):
    path = Path(tiny_bert)
    monkeypatch.chdir(path.parent)
    assert load_tiny(path.name) is load_tiny(tiny_bert)


def test_load_when_dtype_differs_then_is_another_copy(tiny_bert):
    half = load_backbone(resolve(tiny_bert), CPU, torch.bfloat16)
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
    load = _backbone._load

    def load_alone(*args):
        gc.collect()
        assert model() is None  # never two in memory without need
        return load(*args)

    monkeypatch.setattr(_backbone, "_load", load_alone)
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
    assert len(_backbone._latest) == 1
