"""A fingerprint of a backbone's weights: the same for the same numbers.

It does not depend on how they are spread over files, nor on what else these say.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open

from sksemantic._backbone.foreign_errors import refuse_foreign_errors
from sksemantic._backbone.weight_files import check_weight_files

if TYPE_CHECKING:
    from torch import Tensor

    from sksemantic._backbone.source import BackboneSource

_CHUNK = 1 << 24  # bytes read of a file at once


def fingerprint(source: "BackboneSource") -> str:
    """Return the SHA-256 of all weights, in hexadecimal digits.

    Of safetensors it is that of names, dtypes, shapes and values, of a GGUF file that
    of its bytes. Files that have not been written since are not read again.
    """
    folder = Path(source.location)
    found = folder.glob(source.gguf_file or "*.safetensors")
    files = [file for file in found if file.is_file()]
    written = []
    for file in sorted(files):
        stat = file.stat()
        written.append((str(file), stat.st_mtime_ns, stat.st_size, stat.st_ino))
    with refuse_foreign_errors(
        f"The weights of model={source.name!r} ({source.location}) cannot be read",
        ". Save them again with `save_pretrained`.",
    ):
        return _of_files(tuple(written), source)


@lru_cache(maxsize=64)
def _of_files(
    files: tuple[tuple[str, int, int, int], ...], source: "BackboneSource"
) -> str:
    check_weight_files(source)
    if source.gguf_file is not None:
        return _of_bytes(Path(files[0][0]))
    digests: dict[str, bytes] = {}
    for name, *_ in files:
        with safe_open(name, framework="pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118  no mapping
                digests[key] = _of_tensor(tensors.get_tensor(key))
    whole = hashlib.sha256()
    for key in sorted(digests):
        whole.update(key.encode() + b"\0" + digests[key])
    return whole.hexdigest()


def _of_tensor(tensor: "Tensor") -> bytes:
    head = f"{tensor.dtype} {tuple(tensor.shape)} ".encode()
    values = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    digest = hashlib.sha256(head)
    digest.update(values.data)
    return digest.digest()


def _of_bytes(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
