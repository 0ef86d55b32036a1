import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import hostile
import hostile_files
import pytest
from hostile_models import MAKERS, make_outside

FOLDER = Path(hostile.__file__).parent
UNPICKLE = "import pickle; pickle.load(open(sys.argv[3] + '/pytorch_model.bin', 'rb'))"
WATCHED = """
import sys
sys.path[:0] = [sys.argv[1]]
from tripwire import Tripwire
wire = Tripwire(sys.argv[2], sys.argv[3])
{code}
print(*wire.seen(), sep="\\n")
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return a directory with a backbone, and what must not be read."""
    root = tmp_path_factory.mktemp("hostile")
    (root / "bert").mkdir()
    MAKERS["bert"](root / "bert")
    make_outside(root / "outside", root / "bert")
    shutil.copytree(root / "outside", root / "payloads")
    return root


def content(folder):
    return {f.name: f.read_bytes() for f in hostile_files.files_of(folder)}


def test_changes_when_of_the_same_number_then_are_the_same(root, tmp_path):
    before, found = content(root / "bert"), set()
    for number in range(40):
        two = []
        for name in ("one", "two"):
            folder = shutil.copytree(root / "bert", tmp_path / f"{name}-{number}")
            rng = random.Random(number)
            changes = hostile_files.break_files(folder, rng, root / "outside")
            two.append((changes, content(folder)))
        assert two[0] == two[1]
        found.add(two[0][1] != before)
    assert True in found


@pytest.mark.parametrize(
    ("code", "event"),
    [
        ("open(sys.argv[2] + '/config.json').read()", ""),
        ("open(sys.argv[3] + '/config.json').read()", "outside/config.json is read"),
        ("open(sys.argv[2] + '/new', 'w')", "new is written to"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
        ("import os; os.system('true')", "os.system"),
        ("import socket; socket.getaddrinfo('localhost', 80)", "socket.getaddrinfo"),
        (UNPICKLE, "unpickled is written to"),
        ("sys.path += [sys.argv[2]]; import evil", "evil.py"),
    ],
)
def test_tripwire_when_something_is_done_then_is_seen(code, event, root, tmp_path):
    model = shutil.copytree(root / "payloads", tmp_path / "model")
    outside = shutil.copytree(root / "payloads", tmp_path / "outside")
    make = [sys.executable, "-B", "-c", WATCHED.format(code=code)]
    done = subprocess.run(
        [*make, str(FOLDER), str(model), str(outside)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert event in done.stdout if event else done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({"outcome": "works"}, 0),
        ({"outcome": "refused", "wire": []}, 0),
        ({"outcome": "UNDOCUMENTED KeyError"}, 1),
        ({"outcome": "HANGS over 30 s"}, 1),
        ({"outcome": "works", "wire": ["/etc/passwd is read"]}, 1),
        ({"outcome": "refused", "megabytes": 900}, 1),
    ],
)
def test_case_when_it_is_not_as_documented_then_is_a_fault(case, expected, capsys):
    case = {"number": 0, "model": "bert", "changes": "", "limit": 500} | case
    assert len(hostile.faults(case)) == expected
    assert hostile.report([json.loads(json.dumps(case))], 1) == bool(expected)
    assert "1 cases" in capsys.readouterr().out
