"""Write `backbones.md`: run the tests of all architectures, tabulate what they report.

Usage: ``python docs/make_backbones.py``. The table is never edited by hand.
"""

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from tempfile import TemporaryDirectory

from _pages import DOCS, table, table_line, write_part

ROOT = DOCS.parent
PAGE = DOCS / "backbones.md"
TESTS = ROOT / "tests" / "backbone" / "test_architectures.py"
COLUMNS = (
    *("architecture", "kind", "mechanism"),
    *("`prefix`", "`prompt`", "split", "cut", "error"),
)


def run_tests():
    """Run the tests and return their cases, failed ones included."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-o", "junit_family=xunit1"]
        command += [str(TESTS), f"--junitxml={report}"]
        subprocess.run(command, cwd=ROOT, check=False)
        return list(ET.parse(report).iter("testcase"))


def outcome(case):
    """Return "passed", "failed" or "skipped"."""
    kinds = {child.tag for child in case}
    if kinds & {"failure", "error"}:
        return "failed"
    return "skipped" if "skipped" in kinds else "passed"


def properties(case):
    """Return what the test recorded."""
    return {p.get("name"): p.get("value") for p in case.iter("property")}


def collect(cases):
    """Return, for each architecture, its tests' outcomes and properties."""
    rows = {}
    for case in cases:
        test, _, name = case.get("name").partition("[")
        name = name.removesuffix("]").encode().decode("unicode_escape")
        for method in ("prefix", "prompt"):
            if name.endswith(f"-{method}"):
                name, test = name.removesuffix(f"-{method}"), method
            elif name.startswith(f"{method}-"):
                name, test = name.removeprefix(f"{method}-"), method
        if name:
            row = rows.setdefault(name, {"outcomes": {}})
            row["outcomes"][test] = outcome(case)
            row |= properties(case)
    return rows


def line(name, row):
    """Return an architecture's line of the table."""
    proofs = {k: v for k, v in row["outcomes"].items() if k not in ("prefix", "prompt")}
    proved = "failed" not in proofs.values()
    error = f"{float(row['error']):.0e}" if "error" in row else ""
    cells = [
        name,
        row.get("kind", ""),
        row.get("prefix_mechanism", ""),
        mark(row, "prefix"),
        mark(row, "prompt"),
        {"True": "yes", "False": "no"}.get(row.get("split_layer"), ""),
        row.get("cut", ""),
        error if proved else "FAILED",
    ]
    return table_line(cells)


def mark(row, method):
    """Return whether fit and predict work by a method."""
    return {"passed": "yes"}.get(row["outcomes"].get(method), "no")


def matrix(rows):
    """Return the matrix, and what is refused, as lines of Markdown."""
    working = {k: v for k, v in rows.items() if "prefix_mechanism" in v}
    refused = {k: v for k, v in rows.items() if "refusal" in v}
    counts = {
        method: sum(mark(row, method) == "yes" for row in working.values())
        for method in ("prefix", "prompt")
    }
    import transformers

    return [
        f"With transformers {transformers.__version__}: {counts['prefix']} "
        f"architectures by `prefix`, {counts['prompt']} by `prompt`.",
        "",
        *table(COLUMNS, [line(name, row) for name, row in working.items()]),
        "",
        "Refused, with this error:",
        "",
        *(
            f"- **{name}**: {' '.join(row['refusal'].split())}"
            for name, row in refused.items()
        ),
    ]


def main():
    """Replace the matrix in the page."""
    write_part(PAGE, "matrix", matrix(collect(run_tests())))


if __name__ == "__main__":
    main()
