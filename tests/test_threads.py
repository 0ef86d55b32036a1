"""How the threads of torch wait for one another: OpenMP tells what it has read."""

import re
import sys

import pytest

OURS = "import sksemantic; sksemantic.SKTuningClassifier"
SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@pytest.mark.skipif(sys.platform != "linux", reason="torch has another OpenMP")
@pytest.mark.parametrize(
    ("imports", "own", "spins"),
    [
        (OURS, {}, "0"),
        (OURS, {"GOMP_SPINCOUNT": "1000"}, "1000"),
        (OURS, {"KMP_BLOCKTIME": "1"}, None),
        (f"import torch; {OURS}", {}, None),
        ("import sksemantic, torch; sksemantic.FallbackWarning", {}, None),
    ],
)
def test_threads_when_torch_is_imported_by_us_then_sleep_while_they_wait(
    imports, own, spins, run_python, monkeypatch
):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    code = f"import os; os.dup2(1, 2); {imports}; print(*os.environ)"
    shown = run_python(code, OMP_DISPLAY_ENV="VERBOSE", **own)
    found = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", shown)
    if not found:
        pytest.skip("torch has another OpenMP")
    # The first one is torch's, which here comes before scikit-learn's own.
    assert found[0] == spins if spins else found[0] != "0"
    assert "OMP_WAIT_POLICY" not in shown.splitlines()[-1].split()
