"""Which device and which precision a frozen backbone runs in."""

from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")
_MUCH = 0.7
_TIMES = 12


def resolve_device(device: "str | torch.device") -> "torch.device":
    """Turn the `device` parameter into a device that is there.

    Raises
    ------
    ValueError
        If the device is unknown to torch or not present on this machine.
    """
    import torch

    if device == "auto":
        return torch.device(_best_device())
    try:
        resolved = torch.device(device)
    except RuntimeError as exc:
        raise ValueError(_no_device(device, "torch does not know it")) from exc
    present = _n_devices(resolved.type)
    if (resolved.index or 0) >= present:
        raise ValueError(_no_device(device, f"{present} such device(s) are present"))
    return resolved


def resolve_dtype(dtype: str, device: "torch.device") -> "torch.dtype":
    """Turn the `dtype` parameter into a torch dtype.

    "auto" is bfloat16 where the device is much faster with it (float16 on older CUDA
    devices), else float32.
    """
    import torch

    if dtype != "auto":
        return getattr(torch, dtype)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu" and is_bfloat16_fast():
        return torch.bfloat16
    return torch.float32


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _n_devices(kind: str) -> int:
    import torch

    if kind == "cuda":
        return torch.cuda.device_count()
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    return int(kind == "cpu")


def _no_device(device: object, why: str) -> str:
    return (
        "The 'device' parameter must be 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps', and "
        f"be there. Got {str(device)!r} instead: {why}. device='auto' takes the best "
        "one there is."
    )


@cache
def is_bfloat16_fast() -> bool:
    """Whether this processor multiplies matrices of bfloat16 much faster than float32.

    Measured once per process, in some milliseconds: on the processors that have no
    instruction for it, it is several times slower. Nothing in between is known.
    """
    import torch

    return _seconds_to_multiply(torch.bfloat16) < _MUCH * _seconds_to_multiply(
        torch.float32
    )


def _seconds_to_multiply(dtype: "torch.dtype") -> float:
    """Return the best of several times of one product of a layer's size."""
    import torch

    x = torch.ones(128, 512, dtype=dtype)
    weight = torch.ones(512, 512, dtype=dtype)
    seconds = []
    for _ in range(_TIMES):
        start = perf_counter()
        torch.nn.functional.linear(x, weight)
        seconds.append(perf_counter() - start)
    return min(seconds)
