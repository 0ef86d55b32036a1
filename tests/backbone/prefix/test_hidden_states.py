"""Prefix mechanism "hidden_states"; what all mechanisms share is in test_base.py."""

import pytest
from conftest import load_tiny

from sksemantic._backbone.prefix.base import Positions
from sksemantic._backbone.prefix.hidden_states import HiddenStatesPrefix
from sksemantic.exceptions import UnsupportedBackboneError


def test_mechanism_when_layers_take_no_hooks_then_refused(tiny_bert):
    with pytest.raises(UnsupportedBackboneError, match="No list of 2 layers"):
        HiddenStatesPrefix(load_tiny(tiny_bert).model, Positions(True, 0), False)
