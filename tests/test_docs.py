"""The Python blocks of the README and the user guide run, in their order."""

import re
import warnings
from pathlib import Path

import pytest
from conftest import LABELS, TEXTS

ROOT = Path(__file__).parents[1]
ESTIMATOR_CALL = re.compile(r"\b(SKTuning\w+)\(")


def with_one_epoch(estimator, *args, **params):
    """Make an estimator that passes over the texts once."""
    return estimator(*args, **params | {"max_epochs": 1})


@pytest.mark.real
@pytest.mark.parametrize("name", ["README.md", "docs/user_guide.md", "docs/tasks.md"])
def test_document_when_its_code_is_run_then_works(name, minilm, tmp_path, monkeypatch):
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
        "with_one_epoch": with_one_epoch,
    }
    for block in blocks:
        block = ESTIMATOR_CALL.sub(r"with_one_epoch(\1, ", block)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(block, name, "exec"), namespace)
