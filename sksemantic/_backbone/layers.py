"""Hooks on the layers of a backbone.

The hooks are set once, when a backbone is made. What they do belongs to one call and is
held in a context variable: another thread that runs the same backbone never sees it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Takes a layer's number and hidden states (B, T, C); returns what takes their place.
StatesHook = Callable[[int, Tensor], Tensor]
# Key, value, mask, and whether the attention is causal besides.
AttentionCall = tuple[Tensor, Tensor, Tensor | None, bool]
AttentionHook = Callable[[nn.Module, AttentionCall], AttentionCall]
# Takes the weights (B, H, T, S) that T queries give to S keys.
WeightsHook = Callable[[Tensor], None]

# What the code of an architecture raises on a call it was not written for: arguments it
# does not take (TypeError), layers or attributes it does not have, or tensors whose
# shapes do not fit (RuntimeError, ValueError). Warnings are not among them.
_MODEL_ERRORS = (
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


@contextmanager
def refuse_model_errors(problem: str = "{error}") -> Iterator[None]:
    """Turn an error in a model's own code into an UnsupportedBackboneError.

    An error in this package is a bug, and a lack of memory is no property of the model:
    both are left as they are.
    """
    try:
        yield
    except (UnsupportedBackboneError, torch.OutOfMemoryError):
        raise
    except _MODEL_ERRORS as exc:
        if _is_raised_here(exc):
            raise
        error = f"{type(exc).__name__}: {exc}"
        raise UnsupportedBackboneError(problem.format(error=error)) from exc


def _is_raised_here(error: Exception) -> bool:
    """Whether the last line of Python that ran before an error is in this package."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__", "").startswith("sksemantic.")


@dataclass(frozen=True)
class LayerHooks:
    """What is done at the layers during one call of a backbone."""

    first_layer: int = 0  # the layers below it are skipped
    # These take the states (B, T, C) that enter or leave a layer, and return others.
    on_input: tuple[StatesHook, ...] = ()
    on_output: tuple[StatesHook, ...] = ()
    # Takes what an attention call attends to, and returns it changed.
    on_attention: AttentionHook | None = None
    # Is shown the weights of every attention call, in the order of the calls.
    on_weights: WeightsHook | None = None


_NO_HOOKS = LayerHooks()
_HOOKS: ContextVar[LayerHooks] = ContextVar("layer_hooks", default=_NO_HOOKS)
current_hooks = _HOOKS.get  # of the call that the current thread makes


@contextmanager
def add_hooks(
    *,
    first_layer: int = 0,
    on_input: StatesHook | None = None,
    on_output: StatesHook | None = None,
    on_attention: AttentionHook | None = None,
    on_weights: WeightsHook | None = None,
) -> Iterator[None]:
    """Add hooks to those there are, for the calls that this thread makes inside."""
    hooks = current_hooks()
    token = _HOOKS.set(
        replace(
            hooks,
            first_layer=max(hooks.first_layer, first_layer),
            on_input=hooks.on_input + ((on_input,) if on_input else ()),
            on_output=hooks.on_output + ((on_output,) if on_output else ()),
            on_attention=on_attention or hooks.on_attention,
            on_weights=on_weights or hooks.on_weights,
        )
    )
    try:
        yield
    finally:
        _HOOKS.reset(token)


@dataclass
class RecordedStates:
    """The text's hidden states that entered a layer, once it was called."""

    layer: int
    states: Tensor | None = None

    def get(self) -> Tensor:
        """Return the states (B, T, C)."""
        if self.states is None:
            raise UnsupportedBackboneError(f"Layer {self.layer} was never called.")
        return self.states


class _Stop(Exception):
    """A layer was reached, and the layers above it need not run."""


@contextmanager
def record_states(
    layer: int, length: int, *, stop: bool = False
) -> Iterator[RecordedStates]:
    """Record the last `length` hidden states (B, T, C) that enter a layer.

    With `stop` the call ends there, and so does the block.
    """
    recorded = RecordedStates(layer)

    def record(index: int, hidden: Tensor) -> Tensor:
        if index == layer:
            recorded.states = hidden[:, hidden.shape[1] - length :]
            if stop:
                raise _Stop
        return hidden

    with suppress(_Stop), add_hooks(on_input=record):
        yield recorded


@contextmanager
def start_at(layer: int, states: Tensor) -> Iterator[None]:
    """Skip the layers below one; let the text's states (B, T, C) enter it.

    All that is around the layers (embeddings, masks, tables of positions) is still
    computed by the backbone's own code.
    """

    def put_in(index: int, hidden: Tensor) -> Tensor:
        return _replace_last(hidden, states.to(hidden)) if index == layer else hidden

    with add_hooks(first_layer=layer, on_input=put_in):
        yield


@contextmanager
def edit_outputs(
    edits: Mapping[int, Callable[[Tensor], Tensor]], length: int
) -> Iterator[None]:
    """Change the last `length` hidden states (B, T, C) that some layers put out."""

    def edit(index: int, hidden: Tensor) -> Tensor:
        if index not in edits:
            return hidden
        text = hidden[:, hidden.shape[1] - length :]
        return _replace_last(hidden, edits[index](text))

    with add_hooks(on_output=edit):
        yield


def _replace_last(hidden: Tensor, states: Tensor) -> Tensor:
    """Return hidden states whose last ones, the text's, are replaced."""
    n_before = hidden.shape[1] - states.shape[1]
    return torch.cat([hidden[:, :n_before], states], dim=1) if n_before else states


class _HookedForward:
    """A layer's forward that does what the hooks of the current call say."""

    def __init__(
        self, forward: Callable[..., Any], index: int, returns_tuple: bool
    ) -> None:
        self._forward = forward
        self._index = index
        self._returns_tuple = returns_tuple

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        hooks = current_hooks()
        if hooks is _NO_HOOKS:
            return self._forward(*args, **kwargs)
        hidden = args[0] if args else kwargs["hidden_states"]
        if self._index < hooks.first_layer:
            return (hidden, None) if self._returns_tuple else hidden
        for change in hooks.on_input:
            hidden = change(self._index, hidden)
        if args:
            output = self._forward(hidden, *args[1:], **kwargs)
        else:
            output = self._forward(**kwargs | {"hidden_states": hidden})
        hidden = output[0] if self._returns_tuple else output
        for change in hooks.on_output:
            hidden = change(self._index, hidden)
        return (hidden, *output[1:]) if self._returns_tuple else hidden


def hook_layers(model: "PreTrainedModel") -> bool:
    """Set the hooks on a model's layers; return whether it has layers that take them.

    It has none where layers are shared, or do not pass hidden states on. To be called
    before the model is used by others: it runs the model to find its layers.
    """
    layers, calls = find_layers(model)
    returns_tuple = {call.module: isinstance(call.output, tuple) for call in calls}
    for index, layer in enumerate(layers or ()):
        if not isinstance(layer.forward, _HookedForward):
            layer.forward = _HookedForward(layer.forward, index, returns_tuple[layer])
    return layers is not None


def no_layers_error(model: "PreTrainedModel") -> UnsupportedBackboneError:
    """Return the error for a model whose layers take no hooks."""
    return UnsupportedBackboneError(
        f"No list of {model.config.num_hidden_layers} layers was found that pass "
        "hidden states on."
    )


class LayerCall(NamedTuple):
    """One call of a module: the hidden states (1, T, C) that entered it, its output."""

    module: nn.Module
    hidden: Any
    output: Any


@torch.no_grad()
def record_calls(model: "PreTrainedModel", modules: set[nn.Module]) -> list[LayerCall]:
    """Run a model on three tokens; return the calls of some of its modules in order."""
    calls: list[LayerCall] = []

    def record(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        hidden = args[0] if args else kwargs.get("hidden_states")
        calls.append(LayerCall(module, hidden, output))

    ids = torch.tensor([[5, 6, 7]], device=model.device)
    with ExitStack() as handles:
        for module in modules:
            hook = module.register_forward_hook(record, with_kwargs=True)
            handles.enter_context(hook)
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return calls


def find_layers(
    model: "PreTrainedModel",
) -> tuple[nn.ModuleList | None, list[LayerCall]]:
    """Return the list whose members pass hidden states on, each once; and all calls."""
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m)]
    calls = record_calls(model, {member for layers in lists for member in layers})
    takes_states = [
        module
        for module, hidden, _ in calls
        if isinstance(hidden, Tensor) and hidden.dim() == 3 and len(hidden) == 1
    ]
    for layers in lists:
        members = {*layers}
        called = [module for module in takes_states if module in members]
        if len(layers) == model.config.num_hidden_layers and called == [*layers]:
            return layers, calls
    return None, calls
