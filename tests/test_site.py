"""The built site, where there is one (`make docs`), and a browser (Chromium)."""

import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
SITE = DOCS / "_build"

BAD = """<html><head></head><body>
<a href="nowhere.html">a</a> <a href="good.html#nowhere">b</a> <img src="gone.png">
<div style="width: 2000px">wide</div>
<script>console.error("told"); undefinedFunction();</script>
</body></html>"""
GOOD = """<html><head></head><body><a id="x" href="#x">a</a>
<ul id="search-results"><li><a href="guide/few_labels.html">b</a></li></ul>
</body></html>"""


@pytest.fixture(scope="module")
def check_site():
    """Return the script that checks the site."""
    if not (DOCS / "check_site.py").is_file():
        pytest.skip("not part of this distribution")
    sys.path.insert(0, str(DOCS))
    try:
        import check_site
    finally:
        sys.path.remove(str(DOCS))
    return check_site


@pytest.fixture(scope="module")
def browser(check_site):
    """Return the path of a browser."""
    found = check_site.find_browser()
    if found is None:
        pytest.skip("needs Chromium")
    return found


@pytest.fixture
def bad_site(tmp_path):
    """Write a site in which something of each kind is wrong."""
    for name, text in {"bad": BAD, "good": GOOD, "search": GOOD}.items():
        (tmp_path / f"{name}.html").write_text(text, "utf-8")
    (tmp_path / "guide").mkdir()
    (tmp_path / "guide" / "few_labels.html").write_text(GOOD, "utf-8")
    return tmp_path


def test_check_when_links_are_broken_then_finds_them(check_site, bad_site):
    links = ["nowhere.html", "good.html#nowhere", "gone.png"]
    found = check_site.broken_links(bad_site)
    assert [link for page, link in found if page == "bad.html"] == links


def test_check_when_a_page_is_wide_and_fails_then_finds_it(
    check_site, bad_site, browser
):
    found = check_site.browse(bad_site, ["bad.html", "good.html"], "x", browser)
    assert [row[:2] for row in found["wide"]] == [["bad.html", 390], ["bad.html", 1280]]
    assert {page for page, _ in found["errors"]} == {"/bad.html"}
    told = " ".join(error for _, error in found["errors"])
    assert "told" in told and "undefinedFunction" in told and "gone.png" in told
    assert found["hits"] == ["/guide/few_labels.html"]


@pytest.mark.slow
@pytest.mark.skipif(not (SITE / "index.html").is_file(), reason="needs `make docs`")
def test_site_when_it_is_opened_then_nothing_is_wrong(check_site, browser):
    assert check_site.problems(SITE, browser) == []
