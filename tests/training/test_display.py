"""What `verbose=1` shows, in a terminal and elsewhere."""

import io
import re
import sys
from contextlib import contextmanager, redirect_stderr
from types import SimpleNamespace

import pytest
from sklearn.model_selection import GridSearchCV

from sksemantic._training import display
from sksemantic._training.display import duration, make_display


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@contextmanager
def in_terminal():
    """Let standard error be a terminal; pytest sets its own between fixtures."""
    terminal = Terminal()
    with redirect_stderr(terminal):
        yield terminal


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (0.7, "0.7 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (130, "2 min 10 s"),
        (1234, "21 min"),
        (7199, "2 h"),
        (11_100, "3 h 5 min"),
    ],
)
def test_duration_when_shown_then_is_as_people_say_it(seconds, text):
    assert duration(seconds) == text


def test_fit_when_in_a_terminal_then_shows_one_bar(classifier, texts, labels):
    with in_terminal() as terminal:
        classifier.set_params(verbose=1, max_epochs=3).fit(texts, labels)
    frames = re.split(r"[\r\n]", terminal.getvalue())
    bars = [frame for frame in frames if "%|" in frame]
    assert terminal.getvalue().count("\n") == 1  # one bar, which stays
    assert all(bar.startswith("Classifier") for bar in bars)
    shown = "\n".join(bars)
    for phase in ("loading", "measuring", "frozen pass", "linear probe", "epoch 3/3"):
        assert f"Classifier: {phase} " in shown
    assert re.search(r" s left, loss \d\.\d+, held-out acc \d\.\d\d\d", shown)
    shares = [int(share) for share in re.findall(r"(\d+)%", shown)]
    assert shares == sorted(shares)


def test_bar_when_below_another_then_it_goes_when_it_is_done(classifier, texts, labels):
    with in_terminal() as terminal, display.tqdm(total=2, desc="search") as outer:
        classifier.set_params(verbose=1).fit(texts, labels)
        outer.update()
        assert "\n\r" in terminal.getvalue()  # the inner one is a line below
    assert terminal.getvalue().rstrip().rsplit("\r", 1)[1].startswith("search")


def test_fit_when_there_is_no_terminal_then_writes_few_lines(
    classifier, texts, labels, capfd
):
    classifier.set_params(verbose=1).fit(texts, labels)
    out, err = capfd.readouterr()
    first, second, last = err.splitlines()
    assert first == "Classifier: checks, 0%"
    assert re.fullmatch(r"Classifier: measuring, \d+%, .* s left", second)
    pattern = r"Classifier: done in .* s, 100%, loss .*"
    assert re.fullmatch(pattern, last)
    assert out == ""


class Gone(io.StringIO):
    """A standard error whose reader has gone."""

    def write(self, text):
        raise BrokenPipeError


@pytest.mark.parametrize("kind", ["closed", "gone", "none", "closed terminal"])
def test_fit_when_standard_error_cannot_be_used_then_goes_on(
    kind, classifier, texts, labels, monkeypatch, capfd
):
    stream = {"closed": io.StringIO(), "gone": Gone(), "none": None}.get(kind)
    if kind == "closed terminal":
        stream = Terminal()
    if kind.startswith("closed"):
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    assert len(classifier.set_params(verbose=1).fit(texts, labels).predict(texts)) == 24
    assert capfd.readouterr().out == ""


def test_lines_when_time_goes_by_then_are_one_a_minute(monkeypatch, capfd):
    now = [0.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    shown = make_display("fit", 1)
    for second in range(0, 200, 10):
        now[0] = float(second)
        shown.show(second / 200, 200.0 - second, f"epoch {second}", "loss 0.5")
    lines = capfd.readouterr().err.splitlines()
    assert lines == [
        "fit: epoch 0, 0%, 3 min 20 s left, loss 0.5",
        "fit: epoch 60, 30%, 2 min 20 s left, loss 0.5",
        "fit: epoch 120, 60%, 1 min 20 s left, loss 0.5",
        "fit: epoch 180, 90%, 20 s left, loss 0.5",
    ]


def test_fit_when_in_a_notebook_then_shows_a_bar(
    classifier, texts, labels, capfd, monkeypatch
):
    shell = SimpleNamespace(kernel=object())
    ipython = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    classifier.set_params(verbose=1).fit(texts, labels)
    assert "%|" in capfd.readouterr().err


def test_search_when_candidates_are_silent_then_nothing_is_shown(
    classifier, texts, labels, capfd
):
    GridSearchCV(classifier, {"max_epochs": [1]}, cv=2).fit(texts, labels)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("method", ["predict", "transform"])
def test_reading_when_it_takes_long_then_is_shown(
    method, classifier, texts, labels, capfd, monkeypatch
):
    clf = classifier.fit(texts, labels)
    getattr(clf.set_params(verbose=1), method)(texts)
    assert capfd.readouterr().err == ""  # a moment is not worth a line
    monkeypatch.setattr("sksemantic._training.progress._SHOWN_FROM", 0.0)
    getattr(clf, method)(texts)
    line = capfd.readouterr().err.splitlines()[-1]
    assert re.match(r"Classifier: reading texts, \d+%, .* left", line)
