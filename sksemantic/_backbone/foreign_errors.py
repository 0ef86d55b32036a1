"""What libraries raise on files that anyone may have written, as a documented error."""

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

import torch

from sksemantic.exceptions import SKSemanticError, UnsupportedBackboneError

# Of tokenizers, which is written in Rust. No Exception, so nothing else catches it.
_PANIC = "PanicException"
_LONGEST = 500  # of the message of another library


@contextmanager
def refuse_foreign_errors(before: str, after: str = "") -> Iterator[None]:
    """Turn what other libraries raise into an UnsupportedBackboneError.

    Its message stands between `before` and `after`. An error in this package is a bug,
    and a lack of memory is no property of the files: both are left as they are.
    """
    try:
        yield
    except (SKSemanticError, MemoryError, torch.OutOfMemoryError, Warning):
        raise
    except Exception as exc:
        if _is_raised_here(exc):
            raise
        raise _refusal(before, exc, after) from exc
    except BaseException as exc:
        if type(exc).__name__ != _PANIC:
            raise
        raise _refusal(before, exc, after) from exc


def _refusal(before: str, error: BaseException, after: str) -> UnsupportedBackboneError:
    text = f"{error}".strip()
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return UnsupportedBackboneError(f"{before}: {text or type(error).__name__}{after}")


def _is_raised_here(error: BaseException) -> bool:
    """Whether the last line of Python that ran before an error is in this package.

    Libraries in Rust have no lines, but errors of their own.
    """
    home = type(error).__module__.partition(".")[0]
    if type(error) is Exception or home not in ("builtins", "sksemantic"):
        return False
    *_, (frame, _) = walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__", "").startswith("sksemantic.")
