"""Run the Python blocks of a page as they are written: python run_page.py PAGE.

README and the tutorial define all that they use. The pages of the guide may use `X`,
`y` and others, which stand for a user's own texts.
"""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

# What needs a socket, a database, other processes, or a package that serves.
NOT_RUN = ("dask.distributed", "import mlflow", "import ray", "from ray import")
NOT_RUN = (*NOT_RUN, "import bentoml", "notebook_launcher", "pyspark", "sqlite:")


def names_of_a_user():
    """Return texts, labels and a fitted estimator."""
    from sksemantic import SKTuningClassifier

    words = {"good": ["good", "great", "lovely"], "bad": ["bad", "dull", "awful"]}
    nouns = ["film", "play", "book", "song"]
    rows = [(f"a {w} {n}", k) for n in nouns for k in words for w in words[k]]
    X, y = (list(each) for each in zip(*rows, strict=True))
    clf = SKTuningClassifier(max_epochs=1).fit(X, y)
    parts = {"X": X[:12], "y": y[:12], "X_new": X[12:14]}
    return parts | {"X_test": X[12:], "y_test": y[12:], "clf": clf}


def main(page):
    """Run one block after the other; an error ends the process."""
    text = page.read_text("utf-8")
    names = names_of_a_user() if page.parent.name == "guide" else {}
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        if can_run(block):
            exec(compile(block, str(page), "exec"), names)


def can_run(block):
    """Whether a block needs nothing but packages that are there."""
    packages = re.findall(r"^(?:from|import) ([\w.]+)", block, re.MULTILINE)
    is_alone = not any(words in block for words in NOT_RUN)
    return is_alone and all(map(is_installed, packages))


def is_installed(name):
    """Whether a module is there; of a package that is not, none is."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    main(Path(sys.argv[1]))
