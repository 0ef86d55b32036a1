"""What is installed with the package is under permissive licenses, and is listed."""

from importlib import import_module
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def licenses(monkeypatch):
    """Return the script that writes the page."""
    if not DOCS.is_dir():
        pytest.skip("not part of this distribution")
    monkeypatch.syspath_prepend(DOCS)
    return import_module("make_licenses")


def test_dependencies_when_installed_then_their_licenses_are_permissive(licenses):
    found = {
        name: licenses.license_of(name) for name in licenses.runtime_dependencies()
    }
    assert {"torch", "numpy", "joblib"} <= found.keys()
    refused = {k: v for k, v in found.items() if not licenses.is_permissive(v)}
    assert not refused


def test_license_when_it_is_not_permissive_then_refused(licenses):
    assert licenses.is_permissive("(Apache-2.0 OR BSD-2-Clause) AND MIT")
    for name in ("GPL-3.0-only", "MIT AND LGPL-2.1", "none named", "Other"):
        assert not licenses.is_permissive(name)


def test_page_when_read_then_lists_what_the_project_depends_on(licenses):
    page = (DOCS / "licenses.md").read_text("utf-8")
    direct = page.partition("<!-- direct -->")[2].partition("<!-- end of direct")[0]
    for requirement in licenses.requirements_of(licenses.PROJECT):
        name = licenses.canonicalize_name(requirement.name)
        assert f"| `{name}` | `{requirement.specifier}` |" in direct
