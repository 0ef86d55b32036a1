"""A backbone's layers: how to run, or to have, only some, and to edit what they say.

What enters a layer can be recorded, and put back later: the layers below are then
skipped, while everything around them (embeddings, masks, rotary tables, the running
index of a layer) is made by the backbone's own code as always.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class _Reached(Exception):
    """A layer was reached, and nothing above it is wanted."""


@dataclass
class _Visit:
    """What is to happen at one layer: its states are recorded, or replaced.

    The states (B, T, C) are the text's: the last T of what enters the layer.
    """

    layer: int
    length: int
    states: Tensor | None = None
    stops: bool = False

    def recorded(self) -> Tensor:
        """Return the recorded states (B, T, C)."""
        if self.states is None:
            raise UnsupportedBackboneError(f"Layer {self.layer} was never reached.")
        return self.states

    def see(self, hidden: Tensor) -> Tensor:
        """Record what enters the layer, or return what is to enter in its place."""
        before = hidden.shape[1] - self.length
        if self.states is None:
            self.states = hidden[:, before:]
            if self.stops:
                raise _Reached
            return hidden
        return _rejoined(hidden, self.states.to(hidden))


@dataclass
class _Skip:
    """Everything below a layer is skipped."""

    visit: _Visit


@dataclass
class _Edits:
    """What layers put out is changed: the text's states (B, T, C), the last T."""

    length: int
    maps: "Mapping[int, Callable[[Tensor], Tensor]]"

    def edited(self, index: int, output: Any, is_tuple: bool) -> Any:
        """Return a layer's output with its text's states mapped."""
        hidden = output[0] if is_tuple else output
        text = hidden[:, hidden.shape[1] - self.length :]
        hidden = _rejoined(hidden, self.maps[index](text))
        return (hidden, *output[1:]) if is_tuple else hidden


def _rejoined(hidden: Tensor, states: Tensor) -> Tensor:
    """Return hidden states whose last ones, the text's, are replaced by these."""
    before = hidden.shape[1] - states.shape[1]
    return torch.cat([hidden[:, :before], states], dim=1) if before else states


_FATAL = (torch.cuda.OutOfMemoryError, KeyboardInterrupt)  # no fault of a model
_LISTS = ("architectures",)  # in a config, that are not of layers

_ACTIVE: ContextVar["_Visit | _Skip | None"] = ContextVar("visit", default=None)
_EDITS: ContextVar["_Edits | None"] = ContextVar("edits", default=None)
_visited: "WeakKeyDictionary[nn.Module, int]" = WeakKeyDictionary()


def make_visitable(model: "PreTrainedModel") -> int:
    """Let a model's layers be recorded, skipped, edited; return how many there are.

    Raises
    ------
    UnsupportedBackboneError
        If it has no list of layers that pass the hidden states on.
    """
    if model not in _visited:
        layers = find_layers(model)
        for index, (layer, is_tuple) in enumerate(layers.items()):
            layer.forward = _visiting(layer.forward, index, is_tuple)
        _visited[model] = len(layers)
    return _visited[model]


@contextmanager
def recording(layer: int, length: int, *, stop: bool = False) -> Iterator[_Visit]:
    """Record the last `length` states (B, T, C) that enter a layer.

    With `stop` the forward ends there, and leaves the block.
    """
    visit = _Visit(layer, length, stops=stop)
    token = _ACTIVE.set(visit)
    try:
        yield visit
    except _Reached:
        pass
    finally:
        _ACTIVE.reset(token)


@contextmanager
def entering(layer: int, states: Tensor) -> Iterator[None]:
    """Skip all layers below one, and let these states (B, T, C) enter it."""
    token = _ACTIVE.set(_Skip(_Visit(layer, states.shape[1], states)))
    try:
        yield
    finally:
        _ACTIVE.reset(token)


@contextmanager
def editing(
    maps: "Mapping[int, Callable[[Tensor], Tensor]]", length: int
) -> Iterator[None]:
    """Map the last `length` states (B, T, C) that some layers put out."""
    token = _EDITS.set(_Edits(length, maps))
    try:
        yield
    finally:
        _EDITS.reset(token)


def _visiting(
    forward: Callable[..., Any], index: int, is_tuple: bool
) -> Callable[..., Any]:
    """Wrap a layer's forward, which runs as always unless a block above is active."""

    def visited(*args: Any, **kwargs: Any) -> Any:
        active = _ACTIVE.get()
        if active is not None:
            hidden = args[0] if args else kwargs["hidden_states"]
            visit = active.visit if isinstance(active, _Skip) else active
            if isinstance(active, _Skip) and index < visit.layer:
                return (hidden, None) if is_tuple else hidden
            if index == visit.layer:
                hidden = visit.see(hidden)
            if args:
                args = (hidden, *args[1:])
            else:
                kwargs["hidden_states"] = hidden
        output = forward(*args, **kwargs)
        edits = _EDITS.get()
        if edits is None or index not in edits.maps:
            return output
        return edits.edited(index, output, is_tuple)

    return visited


def cut(model: "PreTrainedModel", n_layers: int) -> None:
    """Take away all layers above the `n_layers` lowest.

    What the last of them puts out then goes where the whole model's went: through a
    final norm, where there is one.

    Raises
    ------
    UnsupportedBackboneError
        If the model cannot do without; it is left as it was.
    """
    try:
        layers = _find_list(model)[0]
        upper = layers[n_layers:]
        expected = _what_enters(model, upper[0])
    except _FATAL:
        raise
    except Exception as exc:  # an architecture may fail in any way of its own
        raise UnsupportedBackboneError(
            f"Its layers cannot be told apart: {exc}"
        ) from exc
    config = model.config
    n_all = len(layers)
    former = {
        name: value
        for name, value in vars(config).items()
        if isinstance(value, list) and len(value) == len(layers) and name not in _LISTS
    }
    is_same = False
    try:
        config.num_hidden_layers = n_layers
        del layers[n_layers:]
        for name, value in former.items():
            setattr(config, name, value[:n_layers])
        is_same = torch.equal(_what_leaves(model, layers[-1]), expected)
    except _FATAL:
        raise
    except Exception as exc:
        problem = f"It cannot do without its upper layers: {exc}"
        raise UnsupportedBackboneError(problem) from exc
    finally:
        is_changed = len(layers) < n_all or config.num_hidden_layers != n_all
        if is_changed and not is_same:
            layers.extend(upper[len(layers) - n_layers :])
            config.num_hidden_layers = n_all
            for name, value in former.items():
                setattr(config, name, value)
    if not is_same:
        raise UnsupportedBackboneError(
            "Without its upper layers, the others put out something else."
        )


def _what_enters(model: "PreTrainedModel", layer: nn.Module) -> Tensor:
    """Return the hidden states (1, T, C) that enter a layer, of some tokens."""
    seen: list[Tensor] = []

    def note(module: nn.Module, args: Any, kwargs: Any) -> None:
        seen.append(args[0] if args else kwargs["hidden_states"])

    with _hooked(layer.register_forward_pre_hook(note, with_kwargs=True)):
        _try(model)
    return seen[0]


def _what_leaves(model: "PreTrainedModel", layer: nn.Module) -> Tensor:
    """Return the hidden states (1, T, C) that leave a layer, of the same tokens."""
    seen: list[Tensor] = []

    def note(module: nn.Module, args: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    with _hooked(layer.register_forward_hook(note)):
        _try(model)
    return seen[0]


@contextmanager
def _hooked(*hooks: Any) -> Iterator[None]:
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def _try(model: "PreTrainedModel") -> None:
    ids = torch.tensor([[5, 6, 7]], device=model.device)
    model(input_ids=ids, attention_mask=torch.ones_like(ids))


def find_layers(model: "PreTrainedModel") -> dict[nn.Module, bool]:
    """Find the list whose members pass the hidden states (B, T, C) on, each once.

    Returns
    -------
    dict of Module to bool
        The layers from the bottom up, and whether they return a tuple.

    Raises
    ------
    UnsupportedBackboneError
        If there is none, as where layers are shared.
    """
    layers, is_tuple = _find_list(model)
    return {layer: is_tuple[layer] for layer in layers}


def _find_list(
    model: "PreTrainedModel",
) -> tuple[nn.ModuleList, dict[nn.Module, bool]]:
    """Return the list of layers, and which of them return a tuple."""
    lists = [
        module
        for module in model.modules()
        if isinstance(module, nn.ModuleList) and len(module) > 0
    ]
    calls: list[nn.Module] = []
    is_tuple: dict[nn.Module, bool] = {}

    def note_input(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        hidden = args[0] if args else kwargs.get("hidden_states")
        if isinstance(hidden, Tensor) and hidden.dim() == 3 and len(hidden) == 1:
            calls.append(module)

    def note_output(module: nn.Module, args: Any, output: Any) -> None:
        is_tuple[module] = isinstance(output, tuple)

    members = {member for layers in lists for member in layers}
    hooks = [m.register_forward_pre_hook(note_input, with_kwargs=True) for m in members]
    hooks += [m.register_forward_hook(note_output) for m in members]
    with _hooked(*hooks):
        _try(model)
    wanted = model.config.num_hidden_layers
    for layers in lists:
        called = [module for module in calls if module in set(layers)]
        if len(layers) == wanted and called == [*layers]:
            return layers, is_tuple
    raise UnsupportedBackboneError(
        f"No list of {wanted} layers was found that pass hidden states on."
    )
