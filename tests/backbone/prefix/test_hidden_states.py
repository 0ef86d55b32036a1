"""Prefix mechanism "hidden_states"; what all mechanisms share is in test_base.py."""

import pytest
import torch
from conftest import load_tiny, random_ids

from sksemantic._backbone.prefix.base import Positions
from sksemantic._backbone.prefix.hidden_states import HiddenStatesPrefix
from sksemantic.exceptions import UnsupportedBackboneError

PROMPT_IDS = [2, 10, 11]


@torch.no_grad()
def test_run_when_states_are_those_of_the_whole_row_then_output_is_the_models(
    tiny_gemma3,
):
    """Overwriting states with themselves changes nothing."""
    backbone = load_tiny(tiny_gemma3, "hidden_states")
    (text,) = random_ids(7)
    joint = torch.tensor([PROMPT_IDS + text])
    states = backbone.model(joint, output_hidden_states=True).hidden_states[:-1]
    n_prompt = len(PROMPT_IDS)
    prefix = [(state[:, :n_prompt],) for state in states]
    ids = joint[:, n_prompt:]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    output = backbone.prefix_mechanism.run(inputs, prefix)
    expected = backbone.run({"input_ids": joint})[:, n_prompt:]
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-6)


def test_mechanism_when_layers_take_no_hooks_then_refused(tiny_bert):
    with pytest.raises(UnsupportedBackboneError, match="No list of 2 layers"):
        HiddenStatesPrefix(load_tiny(tiny_bert).model, Positions(True, 0), False)
