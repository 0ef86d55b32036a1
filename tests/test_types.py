"""What editors and type checkers see of the package."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = """from sksemantic import {name}
model = {name}().fit(X, y)
model.pre"""


@pytest.mark.slow
def test_user_code_when_checked_by_pyright_then_has_no_error():
    if not find_spec("basedpyright"):
        pytest.skip("basedpyright is not installed; mypy checks the file in make lint")
    command = [sys.executable, "-m", "basedpyright", "--level", "error"]
    file = "tests/typing/user_code.py"
    checked = subprocess.run([*command, file], cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    "name, expected",
    [
        ("SKTuningClassifier", {"predict", "predict_proba", "predict_log_proba"}),
        ("SKTuningRegressor", {"predict"}),
        ("SKTuningTokenClassifier", {"predict", "predict_proba"}),
    ],
)
def test_fitted_estimator_when_completed_from_source_then_offers_its_methods(
    name, expected
):
    jedi = pytest.importorskip("jedi")
    code = CODE.format(name=name)
    environment = jedi.InterpreterEnvironment()
    project = jedi.Project(ROOT)
    script = jedi.Script(code, project=project, environment=environment)
    found = {each.name for each in script.complete(3, len("model.pre"))}
    assert expected <= found
