import pytest
import torch

from sksemantic._backbone import device as _device
from sksemantic._backbone.device import is_bfloat16_fast, resolve_device, resolve_dtype

CPU = torch.device("cpu")


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


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.25, torch.bfloat16), (0.9, torch.float32), (4.0, torch.float32)],
)
def test_dtype_when_auto_on_cpu_then_follows_a_measurement(
    seconds, expected, monkeypatch
):
    times = {torch.bfloat16: seconds, torch.float32: 1.0}
    monkeypatch.setattr(_device, "_seconds_to_multiply", times.__getitem__)
    is_bfloat16_fast.cache_clear()
    try:
        assert resolve_dtype("auto", CPU) == expected
    finally:
        is_bfloat16_fast.cache_clear()


def test_bfloat16_when_asked_again_then_is_not_measured_again(monkeypatch):
    asked = []
    measure = _device._seconds_to_multiply
    monkeypatch.setattr(
        _device,
        "_seconds_to_multiply",
        lambda dtype: asked.append(dtype) or measure(dtype),
    )
    is_bfloat16_fast.cache_clear()
    assert is_bfloat16_fast() == is_bfloat16_fast()
    assert asked == [torch.bfloat16, torch.float32]
