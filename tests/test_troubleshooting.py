"""The page of errors and warnings lists what the package says, by its first words."""

import ast
import re
from pathlib import Path

import pytest

from sksemantic import exceptions

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sksemantic"
PAGE = ROOT / "docs" / "troubleshooting.md"
GAP = "…"  # stands for a value in a message
FIRST_WORDS = 5
# What a new user meets first: every error of these files has an entry.
COMMON = ("_inputs/columns.py", "_inputs/prompt.py", "_backbone/source.py")
# Others of `X`, which the entry without more words is for.
OF_X = ("X must be a sequence of texts", f"{GAP} Got {GAP} instead.", f"{GAP} Got a 0-")

pytestmark = pytest.mark.skipif(
    not PAGE.is_file(), reason="not part of this distribution"
)


def text_of(node, constants):
    """Return a message as it is written, with a gap for each value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.FormattedValue):
        return text_of(node.value, constants)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part, constants) for part in node.values)
    if isinstance(node, ast.BinOp):
        return text_of(node.left, constants) + text_of(node.right, constants)
    return constants.get(getattr(node, "id", None), GAP)


def constants_of(tree):
    """Return the texts that a module gives a name."""
    return {
        node.targets[0].id: text_of(node.value, {})
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def messages(file, kind):
    """Return what a file warns of, or the errors that it raises."""
    tree = ast.parse(file.read_text("utf-8"))
    constants = constants_of(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name.endswith(kind):
                yield flat(text_of(node.args[0], constants))


def every_text(file):
    """Return all texts of a file, whether they are a part of a message or not."""
    tree = ast.parse(file.read_text("utf-8"))
    constants = constants_of(tree)
    kinds = ast.JoinedStr | ast.Constant
    texts = (
        text_of(node, constants) for node in ast.walk(tree) if isinstance(node, kinds)
    )
    return map(flat, texts)


def flat(text):
    """Return a text in one line, with one gap where several meet."""
    return re.sub(f"{GAP}+", GAP, " ".join(text.split()))


def page_text():
    return PAGE.read_text("utf-8")


def entries():
    """Return the messages that the page has entries for, and others in these."""
    terms = re.findall(r"^`(.+)`\n: ", page_text(), re.MULTILINE)
    return [*terms, *re.findall(f"`({GAP} [^`\n]+)`", page_text())]


def first_words(message):
    """Return the words that an entry has to have."""
    return " ".join(message.removeprefix(GAP).split()[:FIRST_WORDS])


def without_entry(found):
    """Return the messages whose first words no entry has."""
    known = entries()
    return [text for text in found if not any(first_words(text) in e for e in known)]


def is_said(entry, texts):
    """Whether the parts of an entry between gaps occur in a text, in order.

    The first of them may be in another text, which a message begins with.
    """
    parts = [part.strip() for part in entry.split(GAP) if part.strip(" .,:;")]
    whole, rest = (".*".join(map(re.escape, p)) for p in (parts, parts[1:]))
    return re.search(whole, texts) or (
        parts[0] in texts and rest and re.search(rest, texts)
    )


def test_page_when_the_package_warns_then_has_the_first_words():
    files = PACKAGE.rglob("*.py")
    found = [text for file in files for text in messages(file, "warn") if len(text) > 1]
    assert len(found) > 10
    assert not without_entry(found), "docs/troubleshooting.md lacks these warnings"


def test_page_when_an_error_is_common_then_has_the_first_words():
    files = [PACKAGE / name for name in COMMON]
    found = [text for file in files for text in messages(file, "Error")]
    assert len(found) > 15
    found = [text for text in found if not text.startswith(OF_X)]
    assert not without_entry(found), "docs/troubleshooting.md lacks these errors"


def test_page_when_there_is_an_exception_then_names_it():
    names = [*exceptions.__all__, "UnlabelledWarning"]
    assert [name for name in names if f"`{name}`" not in page_text()] == []


def test_page_when_it_quotes_a_message_then_the_package_has_it():
    files = PACKAGE.rglob("*.py")
    texts = "\n".join(text for file in files for text in every_text(file))
    stale = [entry for entry in entries() if not is_said(entry, texts)]
    assert not stale, "the package says none of these"
