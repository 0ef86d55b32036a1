"""What libraries raise on broken files becomes one documented error."""

import json

import pytest
import torch
from safetensors import SafetensorError
from tokenizers import Regex, Tokenizer, pre_tokenizers

from sksemantic._backbone.files import read_json
from sksemantic._backbone.foreign_errors import refuse_foreign_errors
from sksemantic._saving.checks import BrokenFile, check
from sksemantic.exceptions import BackboneNotFoundError, UnsupportedBackboneError


def backtrack():
    split = pre_tokenizers.Split(Regex("(a+)+$"), "isolated")
    split.pre_tokenize_str("a" * 40 + "!")


def raise_(error):
    raise error


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        (lambda: json.loads("{"), "before: Expecting property name.*after"),
        (lambda: Tokenizer.from_str("{}"), "before: Model missing.*after"),
        (backtrack, "before: .*retry-limit.*after"),
        (lambda: raise_(SafetensorError("x")), "before: xafter"),
        (lambda: raise_(KeyError()), "before: KeyErrorafter"),
        (lambda: raise_(RecursionError("y" * 1000)), r"before: y{500}\.\.\.after"),
    ],
)
def test_error_when_of_a_library_then_is_refused_with_its_cause(fails, message):
    with (
        pytest.raises(UnsupportedBackboneError, match=f"(?s){message}") as caught,
        refuse_foreign_errors("before", "after"),
    ):
        fails()
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        MemoryError(),
        torch.OutOfMemoryError(),
        BackboneNotFoundError("x"),
        UserWarning("x"),
    ],
)
def test_error_when_it_does_not_come_of_the_files_then_stays(error):
    with pytest.raises(type(error)) as caught, refuse_foreign_errors("before"):
        raise error
    assert caught.value is error


def test_error_when_raised_in_this_package_then_stays():
    with pytest.raises(AttributeError), refuse_foreign_errors("before"):
        read_json("no path")
    with pytest.raises(BrokenFile), refuse_foreign_errors("before"):
        check(int, "x", "y")
