import pytest
import torch
from conftest import CPU

from sksemantic._backbone.device import (
    has_bfloat16,
    move_batch,
    processor_flags,
    resolve_device,
    resolve_dtype,
)


def test_device_when_named_then_is_that_one():
    assert resolve_device("cpu") == CPU
    assert resolve_device("cpu:0").type == "cpu"


def test_device_when_auto_then_is_one_that_is_there():
    device = resolve_device("auto")
    if torch.cuda.is_available():
        assert device.type == "cuda"
    else:
        assert device.type in {"cpu", "mps"}
    assert torch.ones(2, device=device).sum() == 2


@pytest.mark.parametrize("device", ["cuda:99", "cpu:1", "meta", "tpu", "", "cpu:x"])
def test_device_when_not_there_then_error_names_what_would_do(device):
    with pytest.raises(ValueError, match="'device' parameter must be 'auto', 'cpu'"):
        resolve_device(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_device_when_cuda_is_not_there_then_error_says_so():
    with pytest.raises(ValueError, match="Got 'cuda' instead: 0 such device"):
        resolve_device("cuda")


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_dtype_when_named_then_is_that_one(name):
    assert resolve_dtype(name, CPU) == getattr(torch, name)


def test_dtype_when_auto_on_cpu_then_follows_the_processor():
    native = has_bfloat16(processor_flags())
    assert resolve_dtype("auto", CPU) == (torch.bfloat16 if native else torch.float32)


X86 = "processor : 0\nflags\t\t: fpu avx2 avx512f {}\n\nprocessor : 1\nflags : x\n"
ARM = "processor : 0\nFeatures\t: fp asimd {}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (X86.format("avx512_bf16"), True),
        (X86.format("amx_bf16 amx_tile"), True),
        (X86.format("avx512_fp16"), False),
        (ARM.format("bf16 i8mm"), True),
        (ARM.format("i8mm"), False),
        ("model name : none of these\n", False),
    ],
)
def test_bfloat16_when_linux_lists_the_flags_then_is_known(text, expected, tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(text)
    assert has_bfloat16(processor_flags(file)) == expected
    assert processor_flags(tmp_path / "missing") == frozenset()


def test_move_batch_when_it_is_there_already_then_nothing_is_copied():
    batch = {"input_ids": torch.tensor([[1, 2]]), "sample_weight": torch.ones(1)}
    moved = move_batch(batch, torch.device("cpu"))
    assert {name: id(each) for name, each in moved.items()} == {
        name: id(each) for name, each in batch.items()
    }
