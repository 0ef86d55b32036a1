"""The backbone's own files, beside a fitted estimator."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from sksemantic._backbone.source import NEEDED_FILES

if TYPE_CHECKING:
    from sksemantic._backbone.source import BackboneSource


def copy_backbone(source: "BackboneSource", target: Path) -> None:
    """Copy what a backbone needs into a new directory; pickles stay behind."""
    target.mkdir()
    folder = Path(source.location)
    patterns = [source.gguf_file] if source.gguf_file is not None else NEEDED_FILES
    for pattern in patterns:
        for file in folder.glob(pattern):
            if file.is_file():
                shutil.copyfile(file, target / file.name)
