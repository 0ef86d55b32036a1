"""README's first block as a user runs it, beside TF-IDF: accuracy and seconds.

python benchmarks/first_block.py --times 3
"""

import argparse
import re
import statistics
import time
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

README = Path(__file__).parents[1] / "README.md"


def first_block():
    """Return the first Python block of README."""
    text = README.read_text("utf-8")
    return re.search(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[1]


def main():
    """Run the block some times, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    accuracies, seconds = [], []
    for _ in range(parser.parse_args().times):
        names = {}
        start = time.perf_counter()
        exec(compile(first_block(), "README.md", "exec"), names)
        seconds.append(time.perf_counter() - start)
        accuracies.append(names["clf"].score(names["X_test"], names["y_test"]))
        print(f"accuracy {accuracies[-1]:.3f}, {seconds[-1]:.0f} s", flush=True)
    words = make_pipeline(TfidfVectorizer(), LogisticRegression())
    start = time.perf_counter()
    words.fit(names["X"], names["y"])
    took = time.perf_counter() - start
    score = words.score(names["X_test"], names["y_test"])
    print(
        f"medians: accuracy {statistics.median(accuracies):.3f}, "
        f"{statistics.median(seconds):.0f} s; "
        f"TF-IDF and logistic regression: {score:.3f}, {took:.2f} s"
    )


if __name__ == "__main__":
    main()
