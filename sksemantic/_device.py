"""Which device and which precision a frozen backbone runs in."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")


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

    "auto" is bfloat16 where the device multiplies it natively (float16 on older CUDA
    devices), else float32.
    """
    import torch

    if dtype != "auto":
        return getattr(torch, dtype)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu" and _cpu_multiplies_bfloat16():
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


def _cpu_multiplies_bfloat16() -> bool:
    """Whether the processor has bfloat16 matrix tiles (AMX) or dot products."""
    import torch

    amx = getattr(torch.cpu, "_is_amx_tile_supported", bool)
    avx512 = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)
    return bool(amx() or avx512())
