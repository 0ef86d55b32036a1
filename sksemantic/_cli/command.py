"""From a function to a command: shared options, errors, warnings and exit codes."""

import inspect
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any

import typer

from sksemantic._cli.errors import (
    FAILED,
    INTERRUPTED,
    READER_GONE,
    WRONG_USAGE,
    UsageError,
    WorkError,
)

_DEBUG = inspect.Parameter(
    "debug",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ],
)
# What says enough by its message; others are named as well.
_SPEAKING = (UsageError, WorkError, ValueError, TypeError, OSError, MemoryError)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function a command.

    A parameter whose type is a dataclass stands for one option for each of its fields.
    Errors end the command with a line on stderr, and the exit code that they have.
    """
    own, shared = [], []
    groups: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            shared += [*map(_as_option, fields(parameter.annotation))]
        else:
            own.append(parameter)

    def run(**values: Any) -> None:
        with reported(with_traceback=values.pop("debug")):
            for name, group in groups.items():
                own_values = {
                    each.name: values.pop(each.name) for each in fields(group)
                }
                values[name] = group(**own_values)
            function(**values)

    parameters = [*own, *shared, _DEBUG]
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _as_option(field: Any) -> inspect.Parameter:
    default = field.default
    if default is MISSING:
        default = inspect.Parameter.empty
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(field.name, kind, default=default, annotation=field.type)


@contextmanager
def reported(*, with_traceback: bool = False) -> Iterator[None]:
    """Turn errors and warnings into lines on stderr.

    Raises
    ------
    typer.Exit
        With the exit code of the error.
    """
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            with _ended_by_interrupts():
                yield
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except (_Interrupted, KeyboardInterrupt):
            _leave("Interrupted.", INTERRUPTED)
        except BrokenPipeError:
            forget_output()
            raise typer.Exit(READER_GONE) from None
        except Exception as exc:
            if with_traceback:
                traceback.print_exc()
            code = WRONG_USAGE if isinstance(exc, UsageError) else FAILED
            _leave(f"Error: {_message(exc)}", code)


class _Interrupted(BaseException):
    """Ctrl-C: unlike `KeyboardInterrupt` it also ends a fit, at once."""


@contextmanager
def _ended_by_interrupts() -> Iterator[None]:
    """Let Ctrl-C end everything; a fit would otherwise return what it has learned."""

    def interrupt(*args: Any) -> None:
        raise _Interrupted

    try:
        before = signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _message(error: Exception) -> str:
    """Return what an error says, in one line."""
    text = one_line(str(error))
    if isinstance(error, _SPEAKING) and text:
        return text
    return f"{type(error).__name__}: {text}"


def one_line(text: str) -> str:
    """Return a text without line breaks."""
    return " ".join(text.split())


def _leave(text: str, code: int) -> None:
    typer.echo(text, err=True)
    raise typer.Exit(code) from None


def _show_warning(message: Any, category: type, *args: Any, **kwargs: Any) -> None:
    typer.echo(f"Warning: {one_line(str(message))}", err=True)


def forget_output() -> None:
    """Write nothing more to standard output: nobody reads it, or it is cut short."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # no file
        return
