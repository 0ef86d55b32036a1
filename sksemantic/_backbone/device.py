"""Which device and which precision a frozen backbone runs in.

Estimators are made, and refuse bad input, without torch, whose import takes seconds:
it is imported inside the functions here.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")
# Arithmetic in bfloat16, as torch and Linux call it: of AVX-512 and AMX, and of ARM.
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def resolve_device(device: "str | torch.device") -> "torch.device":
    """Turn the `device` parameter into a device that is there.

    Raises
    ------
    ValueError
        If the device is unknown to torch or not present on this machine.
    """
    import torch

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


def resolve_dtype(dtype: str, device: "torch.device") -> "torch.dtype":
    """Turn the `dtype` parameter into a torch dtype.

    "auto" is bfloat16 where the device has arithmetic for it. Without it CUDA devices
    take float16, and processors, which would be several times slower, float32.
    """
    import torch

    if dtype != "auto":
        return getattr(torch, dtype)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu" and has_bfloat16(processor_flags()):
        return torch.bfloat16
    return torch.float32


def has_bfloat16(flags: frozenset[str]) -> bool:
    """Whether a processor with these flags has arithmetic in bfloat16."""
    return bool(flags & _BFLOAT16_FLAGS)


@cache
def processor_flags() -> frozenset[str]:
    """Return what this processor can do, as torch or, before it can tell, Linux says.

    None are known on other systems with an older torch.
    """
    import torch

    get_capabilities = getattr(torch.cpu, "get_capabilities", None)
    if get_capabilities is not None:
        return frozenset(
            name for name, has in get_capabilities().items() if has is True
        )
    return read_cpuinfo(Path("/proc/cpuinfo"))


def read_cpuinfo(file: Path) -> frozenset[str]:
    """Return the flags of the first processor that Linux lists."""
    if not file.is_file():
        return frozenset()
    for line in file.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):  # x86, ARM
            return frozenset(value.split())
    return frozenset()


def _no_device(device: object, why: str) -> str:
    return (
        "The 'device' parameter must be 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps', and "
        f"be there. Got {str(device)!r} instead: {why}. device='auto' takes the best "
        "one there is."
    )
