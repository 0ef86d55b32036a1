"""Files of a directory that are replaced all at once, whatever happens meanwhile.

They are written into a directory of their own inside it, and reach the disk there. That
one is then renamed: from this moment they are the ones that count, wherever they are.
Only then are they moved up. Who reads takes each file from there first.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

_STAGED = ".sksemantic-staged-"
_COMMITTED = ".sksemantic-committed"
_MOST_WRITERS = 100


def place_of(directory: Path, name: str) -> Path:
    """Return where the latest version of a file, or subdirectory, is to be read.

    No link is written here: what one leads to is not looked at.
    """
    committed = directory / _COMMITTED
    is_there = not committed.is_symlink() and (committed / name).exists()
    return committed / name if is_there else directory / name


def replace_files(
    directory: Path, writers: Mapping[str, Callable[[Path], object]]
) -> None:
    """Write files, or subdirectories, and put them in the place of earlier ones.

    Parameters
    ----------
    directory : Path
        Made if there is none. Other files in it stay.
    writers : dict of str to callable
        By name in the directory, what writes it to a path. If one raises, all is as it
        was before.

    Raises
    ------
    OSError
        If the disk is full, or does not allow it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    settle(directory)
    _remove_abandoned(directory)
    prefix = f"{_STAGED}{os.getpid()}-"
    staged = Path(tempfile.mkdtemp(prefix=prefix, dir=directory))
    try:
        for name, write in writers.items():
            write(staged / name)
        _sync_all(staged)
        _commit(staged, directory / _COMMITTED)
    except BaseException as exc:
        shutil.rmtree(staged, ignore_errors=True)
        if isinstance(exc, OSError):
            message = f"{exc.strerror}; {str(directory)!r} stays as it was"
            raise OSError(exc.errno, message) from exc
        raise
    _sync(directory)
    settle(directory)


def sha256_of(content: bytes) -> str:
    """Return the SHA-256 of the content of a file."""
    return hashlib.sha256(content).hexdigest()


def _commit(staged: Path, committed: Path) -> None:
    for _ in range(_MOST_WRITERS):
        try:
            os.rename(staged, committed)
        except OSError:
            if not committed.exists():
                raise
            settle(committed.parent)  # what another one has just written
        else:
            return
    raise OSError(f"{committed.parent} is being written by many at once.")


def is_settling(directory: Path) -> bool:
    """Whether there is what is not yet in its place."""
    return (directory / _COMMITTED).exists()


def settle(directory: Path) -> None:
    """Move up what was written, but is not yet in its place. Several may call."""
    committed = directory / _COMMITTED
    try:
        files = sorted(committed.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for file in files:
        target = directory / file.name
        with suppress(FileNotFoundError):  # moved by another one
            if target.is_dir() and not target.is_symlink() and file.exists():
                shutil.rmtree(target)
            os.replace(file, target)
    _sync(directory)
    with suppress(OSError):  # not there any more, or another one's are in it
        committed.rmdir()
    _sync(directory)


def _remove_abandoned(directory: Path) -> None:
    """Remove what processes have left that were killed while they wrote."""
    for staged in directory.glob(f"{_STAGED}*"):
        number = staged.name.removeprefix(_STAGED).partition("-")[0]
        if number.isdigit() and not _is_running(int(number)):
            shutil.rmtree(staged, ignore_errors=True)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # there the signal would end it
        return process != os.getpid()
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _sync_all(directory: Path) -> None:
    for path in sorted(directory.rglob("*")):
        _sync(path)
    _sync(directory)


def _sync(path: Path) -> None:
    """Wait until a file, or the entries of a directory, are on the disk."""
    if path.is_dir() and os.name == "nt":  # where directories cannot be opened
        return
    number = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)
