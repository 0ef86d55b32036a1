"""Files of a directory are replaced all at once, whatever stops the writing."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sksemantic._saving import directory as module
from sksemantic._saving.directory import place_of, replace_files, settle

NAMES = ("a.txt", "b.txt", "sub")


class Killed(BaseException):
    """What stops a process."""


def writers(text):
    def subdirectory(path):
        path.mkdir()
        (path / "c.txt").write_text(text)

    return {
        "a.txt": lambda path: path.write_text(text),
        "b.txt": lambda path: path.write_text(text),
        "sub": subdirectory,
    }


def read(folder):
    texts = [place_of(folder, name).read_text() for name in NAMES[:2]]
    return {*texts, (place_of(folder, "sub") / "c.txt").read_text()}


def test_files_when_written_then_are_there_and_nothing_else(tmp_path):
    replace_files(tmp_path / "new" / "one", writers("old"))
    replace_files(tmp_path / "new" / "one", writers("new"))
    assert read(tmp_path / "new" / "one") == {"new"}
    assert sorted(os.listdir(tmp_path / "new" / "one")) == [*NAMES]


def test_files_when_there_are_others_then_these_stay(tmp_path):
    (tmp_path / "notes.md").write_text("mine")
    replace_files(tmp_path, writers("new"))
    assert (tmp_path / "notes.md").read_text() == "mine"


@pytest.mark.parametrize("kind", [OSError("No space left on device"), Killed()])
def test_files_when_a_writer_fails_then_all_are_the_old(kind, tmp_path):
    replace_files(tmp_path, writers("old"))

    def fail(path):
        path.write_text("half")
        raise kind

    with pytest.raises(type(kind)):
        replace_files(tmp_path, writers("new") | {"b.txt": fail})
    assert read(tmp_path) == {"old"}
    assert sorted(os.listdir(tmp_path)) == [*NAMES]


@pytest.mark.parametrize("step", range(60))
def test_files_when_killed_at_any_step_then_all_are_the_old_or_the_new(
    step, tmp_path, monkeypatch
):
    """Every call of the system that changes something may be the last."""
    replace_files(tmp_path, writers("old"))
    left = step

    def dying(function):
        def call(*args, **kwargs):
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "fsync", "rmdir", "unlink"):
            patch.setattr(os, name, dying(getattr(os, name)))
        # Nobody cleans up after a process that is killed.
        patch.setattr(module.shutil, "rmtree", dying(module.shutil.rmtree))
        try:
            replace_files(tmp_path, writers("new"))
            is_killed = False
        except Killed:
            is_killed = True
    assert read(tmp_path) in ({"old"}, {"new"})
    if not is_killed:
        assert read(tmp_path) == {"new"}
    settle(tmp_path)
    assert read(tmp_path) in ({"old"}, {"new"})
    replace_files(tmp_path, writers("third"))
    assert read(tmp_path) == {"third"}


def test_files_when_a_process_was_killed_then_what_it_left_is_removed(tmp_path):
    abandoned = tmp_path / ".sksemantic-staged-999999999-x"
    abandoned.mkdir()
    (abandoned / "a.txt").write_text("half")
    others = tmp_path / f".sksemantic-staged-{os.getppid()}-x"
    others.mkdir()
    replace_files(tmp_path, writers("new"))
    assert not abandoned.exists()
    assert others.exists()  # a process that still writes


def test_place_when_a_file_waits_to_be_moved_then_is_where_it_waits(tmp_path):
    replace_files(tmp_path, writers("old"))
    committed = tmp_path / ".sksemantic-committed"
    committed.mkdir()
    (committed / "a.txt").write_text("new")
    assert place_of(tmp_path, "a.txt").read_text() == "new"
    assert place_of(tmp_path, "b.txt").read_text() == "old"  # was moved before
    settle(tmp_path)
    assert Path(tmp_path / "a.txt").read_text() == "new"
    assert not committed.exists()


def test_files_when_two_threads_write_then_all_are_of_one(tmp_path):
    def write(text):
        for _ in range(50):
            replace_files(tmp_path, {name: writers(text)[name] for name in NAMES[:2]})

    with ThreadPoolExecutor(3) as pool:
        [*pool.map(write, ["one", "two", "three"])]
    assert (tmp_path / "a.txt").read_text() == (tmp_path / "b.txt").read_text()
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.txt"]
