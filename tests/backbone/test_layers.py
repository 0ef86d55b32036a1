"""Hooks on layers: they do what one call wants, and no other call sees them."""

import pytest
import torch
from conftest import SIZES, inputs_of
from transformers import AlbertConfig, AlbertModel, BertConfig, BertModel

from sksemantic._backbone.layers import (
    add_hooks,
    current_hooks,
    edit_outputs,
    hook_layers,
    record_states,
    refuse_model_errors,
    start_at,
)
from sksemantic.exceptions import UnsupportedBackboneError

INPUTS = inputs_of([5, 6, 7, 8])
SMALL = SIZES | {"vocab_size": 50, "num_hidden_layers": 3}


@pytest.fixture
def bert():
    """Return a hooked model of three layers that no other test uses."""
    model = BertModel(BertConfig(**SMALL))
    model = model.eval().requires_grad_(False)
    assert hook_layers(model)
    return model


def run(model):
    return model(**INPUTS).last_hidden_state


def states_of(model):
    """Return what enters each layer, and what leaves the last."""
    return model(**INPUTS, output_hidden_states=True).hidden_states


def test_record_states_when_done_then_are_the_last_that_enter_the_layer(bert):
    expected = states_of(bert)
    for layer in range(3):
        with record_states(layer, 3) as recorded:
            output = run(bert)
        assert torch.equal(recorded.get(), expected[layer][:, 1:])
        assert torch.equal(output, expected[-1])


def test_record_states_when_it_stops_then_no_layer_above_is_run(bert):
    called = []
    for index, layer in enumerate(bert.encoder.layer):
        layer.attention.register_forward_hook(lambda *_, i=index: called.append(i))
    with record_states(1, 4, stop=True) as recorded:
        run(bert)
        called.append("the block goes on")
    assert called == [0]
    assert torch.equal(recorded.get(), states_of(bert)[1])


def test_record_states_when_layer_was_never_called_then_says_so(bert):
    with record_states(3, 4) as recorded:
        run(bert)
    with pytest.raises(UnsupportedBackboneError, match="Layer 3 was never called"):
        recorded.get()


def test_edit_outputs_when_done_then_the_texts_states_are_changed_alone(bert):
    before = states_of(bert)
    with edit_outputs({1: lambda states: 2 * states}, 3), record_states(2, 4) as after:
        run(bert)
    assert torch.equal(after.get()[:, :1], before[2][:, :1])
    assert torch.equal(after.get()[:, 1:], 2 * before[2][:, 1:])


def test_hooks_when_nested_then_all_are_called(bert):
    before = states_of(bert)[-1]
    with edit_outputs({2: lambda s: s + 1}, 4), edit_outputs({2: lambda s: 2 * s}, 4):
        assert torch.equal(run(bert), 2 * (before + 1))
    assert torch.equal(run(bert), before)


def test_hooks_when_a_call_fails_then_are_gone(bert):
    before, none = run(bert), current_hooks()

    def fail(index, hidden):
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"), add_hooks(on_input=fail):
        run(bert)
    assert current_hooks() is none
    assert torch.equal(run(bert), before)


def test_hook_layers_when_called_again_then_hooks_are_called_once(bert):
    assert hook_layers(bert)
    before = states_of(bert)[-1]
    with edit_outputs({2: lambda states: 2 * states}, 4):
        assert torch.equal(run(bert), 2 * before)


def test_hook_layers_when_layers_are_shared_then_there_are_none():
    assert not hook_layers(AlbertModel(AlbertConfig(**SMALL)).eval())


def in_the_model(error):
    """Raise an error outside of the package, as the code of a model does."""
    raise error


@pytest.mark.parametrize("error", [TypeError, IndexError, RuntimeError, ValueError])
def test_error_when_raised_by_the_model_then_it_is_refused(error):
    message = f"cannot: {error.__name__}: why"
    with pytest.raises(UnsupportedBackboneError, match=message) as caught:
        with refuse_model_errors("cannot: {error}"):
            in_the_model(error("why"))
    assert isinstance(caught.value.__cause__, error)


@pytest.mark.parametrize(
    "error", [FutureWarning, torch.OutOfMemoryError, ZeroDivisionError]
)
def test_error_when_it_says_nothing_of_the_model_then_is_left_as_it_is(error):
    with pytest.raises(error, match="why"), refuse_model_errors():
        in_the_model(error("why"))


def test_error_when_raised_in_this_package_then_is_left_as_it_is(bert):
    with pytest.raises(AttributeError), refuse_model_errors():
        with start_at(1, "no tensor"):
            run(bert)
