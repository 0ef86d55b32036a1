"""The Python blocks of the README and the user guide run, in their order."""

import re
import warnings
from pathlib import Path

import pytest
from conftest import LABELS, TEXTS

from sksemantic._training import config as _recipe

ROOT = Path(__file__).parents[1]


@pytest.fixture
def one_epoch(monkeypatch):
    for name in ("_MOST_EPOCHS", "_GENTLE_MOST_EPOCHS"):  # of max_epochs="auto"
        monkeypatch.setattr(_recipe, name, 1)


@pytest.mark.real
@pytest.mark.parametrize("name", ["README.md", "docs/user_guide.md", "docs/tasks.md"])
def test_document_when_its_code_is_run_then_works(
    name, minilm, one_epoch, tmp_path, monkeypatch
):
    if not (ROOT / name).is_file():
        pytest.skip("not part of this distribution")
    text = (ROOT / name).read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) > 4
    monkeypatch.chdir(tmp_path)  # where files are saved
    namespace = {
        "X": TEXTS[:12],
        "y": LABELS[:12],
        "X_new": TEXTS[12:14],
        "X_test": TEXTS[12:],
        "y_test": LABELS[12:],
    }
    for block in blocks:
        block = block.replace('model="roberta-large", ', "")  # not packaged
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(block, name, "exec"), namespace)
