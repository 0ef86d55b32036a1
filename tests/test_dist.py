"""The wheel and the source distribution: what they hold, and that they work alone.

They are built for the tests; `make dist` names the folder of those it has built, and
has them installed, too.
"""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from sysconfig import get_path

import pytest

import sksemantic

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sksemantic"
FIT = """
import sksemantic
from importlib.metadata import version
X = ["a good film", "a bad film", "a great book", "an awful book"] * 5
y = ["good", "bad"] * 10
clf = sksemantic.SKTuningClassifier(max_epochs=2, random_state=0).fit(X, y)
print(version("sksemantic"), sksemantic.__version__, sksemantic.__path__[0])
print(*clf.predict(X[:2]))
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Return the folder of a wheel and a source distribution."""
    if "DIST" in os.environ:
        return ROOT / os.environ["DIST"]
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return folder


def archive(built, pattern):
    (file,) = built.glob(pattern)
    return file


def test_wheel_when_built_then_holds_the_package_and_nothing_else(built):
    with zipfile.ZipFile(archive(built, "*.whl")) as wheel:
        names = {*wheel.namelist()}
    info = f"sksemantic-{sksemantic.__version__}.dist-info/"
    assert {name for name in names if name.startswith("sksemantic/")} == {
        str(file.relative_to(ROOT))
        for file in PACKAGE.rglob("*.*")
        if file.suffix not in (".pyc", "")
    }
    assert {name for name in names if not name.startswith("sksemantic/")} == {
        info + name
        for name in (
            *("METADATA", "RECORD", "WHEEL", "entry_points.txt"),
            "licenses/LICENSE",
        )
    }


def test_source_distribution_when_built_then_holds_tests_and_no_benchmarks(built):
    with tarfile.open(archive(built, "*.tar.gz")) as source:
        names = {*source.getnames()}
    top = f"sksemantic-{sksemantic.__version__}"
    for name in ("CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", "PKG-INFO"):
        assert f"{top}/{name}" in names
    for folder in (PACKAGE, ROOT / "tests"):
        files = {str(file.relative_to(ROOT)) for file in folder.rglob("*.py")}
        assert {f"{top}/{file}" for file in files} <= names
    assert {name.split("/")[1] for name in names} == {
        *("CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", "PKG-INFO"),
        *(".gitignore", "sksemantic", "tests"),
    }


@pytest.fixture
def install(built, tmp_path):
    """Return what installs a distribution into an environment of its own."""
    if "DIST" not in os.environ:
        pytest.skip("run by make dist")

    def into_environment(pattern):
        env = tmp_path / "env"
        venv.create(env)
        python = venv.EnvBuilder().ensure_directories(env).env_exe
        (folder,) = env.glob("**/site-packages")
        # The dependencies are those of here; that the package is here too does not
        # count, as what a path names in turn is not read.
        (folder / "dependencies.pth").write_text(get_path("purelib"))
        install = [sys.executable, "-m", "pip", "--python", python, "install"]
        install += ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
        subprocess.run([*install, archive(built, pattern)], check=True, cwd=tmp_path)
        return python, folder

    return into_environment


def run_with(python, *arguments, folder):
    """Run an environment's Python in a folder, and return the lines it prints."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(
        [python, "-W", "ignore", *arguments],
        cwd=folder,
        env=kept | {"HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.splitlines()


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
def test_distribution_when_installed_alone_then_fits(pattern, install, tmp_path):
    python, folder = install(pattern)
    out = run_with(python, "-c", FIT, folder=tmp_path)
    version = sksemantic.__version__
    assert out[0] == f"{version} {version} {folder / 'sksemantic'}"
    assert len(out[1].split()) == 2


@pytest.mark.slow
@pytest.mark.real
def test_pages_when_run_from_the_wheel_then_every_block_works_as_written(
    install, tmp_path
):
    python, _ = install("*.whl")
    pages = [ROOT / "README.md", ROOT / "docs/tutorial.md"]
    pages += sorted((ROOT / "docs/guide").glob("*.md"))
    for page in pages:
        run_with(python, ROOT / "tests/run_page.py", page, folder=tmp_path)
