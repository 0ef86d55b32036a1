"""Which device and which precision a frozen backbone runs in."""

from pathlib import Path

import torch
from torch import Tensor

# How Linux calls arithmetic in bfloat16: of AVX-512, of AMX, and of ARM.
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn the `device` parameter into a device; refuse one that is not there."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as exc:
        raise ValueError(_no_device(device, "torch does not know it")) from exc
    present = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }.get(resolved.type, 0)
    if (resolved.index or 0) >= present:
        raise ValueError(_no_device(device, f"{present} such device(s) are present"))
    return resolved


def resolve_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Turn the `dtype` parameter into a torch dtype.

    "auto" is bfloat16 where the device has arithmetic for it. Without it CUDA devices
    take float16, and processors, which would be several times slower, float32.
    """
    if dtype != "auto":
        return getattr(torch, dtype)
    if device.type == "cuda":
        is_native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if is_native else torch.float16
    if device.type == "cpu" and has_bfloat16(processor_flags()):
        return torch.bfloat16
    return torch.float32


def has_bfloat16(flags: frozenset[str]) -> bool:
    """Whether a processor with these flags has arithmetic in bfloat16."""
    return bool(flags & _BFLOAT16_FLAGS)


def processor_flags(file: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return what the processor can do, as Linux lists it; nothing on other systems."""
    if file.is_file():
        for line in file.read_text().splitlines():
            name, _, flags = line.partition(":")
            if name.strip() in ("flags", "Features"):  # x86, ARM
                return frozenset(flags.split())
    return frozenset()


def move(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; on the way to a GPU nothing waits for the GPU."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def move_batch(batch: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Return a batch on a device, as `move` does."""
    return {name: move(each, device) for name, each in batch.items()}


def _no_device(device: object, why: str) -> str:
    return (
        "The 'device' parameter must be 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps', and "
        f"be there. Got {str(device)!r} instead: {why}. device='auto' takes the best "
        "one there is."
    )
