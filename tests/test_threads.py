"""How the threads of torch wait for one another: OpenMP tells what it has read."""

import os
import re
import subprocess
import sys

import pytest

TESTS = os.path.dirname(__file__)
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
    imports, own, spins
):
    others = {k: v for k, v in os.environ.items() if k not in SETTINGS}
    paths = [os.path.dirname(TESTS), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", f"{imports}; import os; print(*os.environ)"],
        env=others
        | {"PYTHONPATH": os.pathsep.join(paths), "OMP_DISPLAY_ENV": "VERBOSE"}
        | own,
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)
    if not found:
        pytest.skip("torch has another OpenMP")
    # The first one is torch's, which here comes before scikit-learn's own.
    assert found[0] == spins if spins else found[0] != "0"
    assert "OMP_WAIT_POLICY" not in done.stdout.split()
