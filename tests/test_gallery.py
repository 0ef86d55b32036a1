"""Every example has a title and cells, stands in the gallery, and downloads nothing."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def examples():
    """Return the example scripts, without the module that they read data with."""
    found = sorted((ROOT / "examples").glob("*.py"))
    return [path for path in found if path.name != "example_data.py"]


@pytest.mark.parametrize("path", examples(), ids=lambda path: path.stem)
def test_example_when_read_then_has_a_title_a_paragraph_and_cells(path):
    code = path.read_text("utf-8")
    title, underline, empty, *paragraph = ast.get_docstring(ast.parse(code)).split("\n")
    assert underline == "=" * len(title)
    assert not empty and len(" ".join(paragraph)) > 100
    assert code.count("\n# %%\n") > 1


def test_gallery_when_it_orders_the_examples_then_all_of_them(monkeypatch):
    if not (ROOT / "docs").is_dir():
        pytest.skip("not part of this distribution")
    monkeypatch.syspath_prepend(ROOT / "docs")
    listed = import_module("_gallery").EXAMPLES
    assert sorted(listed) == [path.name for path in examples()]


@pytest.mark.parametrize("path", examples(), ids=lambda path: path.stem)
def test_example_when_the_gallery_runs_it_then_downloads_no_data(path):
    is_run = path.name.startswith("plot_")
    assert not (is_run and "example_data" in path.read_text("utf-8"))
