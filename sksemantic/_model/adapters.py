"""Adapters: small trainable maps that change the prefix, a text's states, or a prompt.

SK-Tuning: Prottasha et al., "Parameter-efficient fine-tuning of large language models
using semantic knowledge tuning", Scientific Reports 14:30667 (2024), arXiv 2410.08598.

Every adapter starts as the identity, as its output layer is zero: before the first step
the model is the frozen backbone after the prompt. Adapters return plain tensors.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import hardtanh, layer_norm, pad

if TYPE_CHECKING:
    from sksemantic._backbone.backbone import Backbone
    from sksemantic._backbone.prefix.base import Prefix, PromptStates

# With this scale the prefix's learning rates suit the text adapter. Measured with
# Gemma 3 270M and MiniLM: words of CoNLL gain from a larger one, reviews from less.
_TEXT_SCALE = 0.5
# Limit of a state's values, in multiples of their mean absolute value. In causal models
# one to three dimensions have up to nine tenths of its square, the same for all tokens.
# In encoders few values are larger than the limit.
_LARGEST_READ = 4.0


class _Map(nn.Sequential):
    """A map that starts at zero: C -> r -> out (low rank), or C -> out (full)."""

    def __init__(self, n_in: int, n_out: int, rank: int | None) -> None:
        first = [nn.Linear(n_in, rank, bias=False, dtype=torch.float32)] if rank else []
        last = nn.Linear(rank or n_in, n_out, bias=False, dtype=torch.float32)
        super().__init__(*first, last)
        self.reset()

    def reset(self) -> None:
        """Return to zero output."""
        *_, last_weight = self.parameters()
        nn.init.zeros_(last_weight)


class _Adapter(nn.Module):
    def reset(self) -> None:
        """Return to the identity."""
        for module in self.modules():
            if isinstance(module, _Map):
                module.reset()


class PrefixAdapter(_Adapter):
    """Change each tuned layer's keys and values: k + A(s), v + B(s).

    Or the layer's states, s + A(s), with the mechanism "hidden_states". Layers that are
    not tuned keep their frozen prefix.

    The map reads the layer-normalised states; without a rank it is one full matrix. Its
    output is multiplied by the root mean square of the layer's keys or values, so that
    one learning rate suits any backbone.
    """

    def __init__(self, read: "PromptStates", tuned: range, rank: int | None) -> None:
        super().__init__()
        self._frozen = read.prefix
        self._tuned = tuned
        self._states = [_normalised(read.states[i]) for i in tuned]  # (P, C) each
        self._scales = [[_rms(old) for old in read.prefix[i]] for i in tuned]
        self.maps = nn.ModuleList(
            _Map(read.states[i].shape[1], sum(_widths(read.prefix[i])), rank)
            for i in tuned
        )

    def forward(self) -> "Prefix":
        """Return every layer's prefix: keys and values (H, P, D), or states."""
        prefix = list(self._frozen)
        layers = zip(self._tuned, self._states, self._scales, self.maps, strict=True)
        for i, states, scales, adapt in layers:
            changes = adapt(states).split(_widths(prefix[i]), dim=1)  # (P, H * D) each
            # Split into heads (H, P, D).
            prefix[i] = tuple(
                old + scale * change.unflatten(1, (len(old), -1)).transpose(0, 1)
                for old, scale, change in zip(prefix[i], scales, changes, strict=True)
            )
        return prefix


class TextAdapter(_Adapter):
    """Change a text's own states at the output of each tuned layer: h + B(A(h)).

    A prefix changes what a text's tokens attend to; this changes the tokens. It is
    DiReFT (Wu et al. 2024, arXiv 2404.03592, section 3.2) at every token. The map's
    input is divided by the state's mean absolute value, and its output multiplied by
    it. Larger inputs are clipped: a few dimensions are very large, and nearly the same
    for all tokens (Sun et al. 2024, arXiv 2402.17762).

    The tuned `layers` are counted over all layers of the backbone; `width` is C.
    """

    def __init__(self, layers: list[int], width: int, rank: int) -> None:
        super().__init__()
        self.layers = layers
        maps = [_Map(width, width, rank) for _ in layers]
        self.maps = nn.ModuleList(maps)
        # The two layers of each map, which take long to look up by their names.
        self._pairs: list[Any] = [(each[0], each[1]) for each in maps]

    def edits(self) -> dict[int, Callable[[Tensor], Tensor]]:
        """Return the change (B, T, C) to (B, T, C) of each layer's output."""
        maps = zip(self.layers, self._pairs, strict=True)
        return {layer: partial(_refined, *pair) for layer, pair in maps}

    def weights(self) -> "dict[int, tuple[Tensor, Tensor]]":
        """Return the map (r, C), (C, r) of each tuned layer, by its number."""
        maps = zip(self.layers, self._pairs, strict=True)
        return {layer: (first.weight, last.weight) for layer, (first, last) in maps}


def edits_of_rows(
    maps: "Sequence[dict[int, tuple[Tensor, Tensor]]]", rows: Tensor
) -> dict[int, Callable[[Tensor], Tensor]]:
    """Return the change (B, T, C) to (B, T, C) of each layer's output, row by row.

    `maps` are the weights of several adapters, and `rows` (B,) says which of them a row
    has. A layer that an adapter does not tune is not changed.
    """
    edits: dict[int, Callable[[Tensor], Tensor]] = {}
    for layer in {layer for each in maps for layer in each}:
        given = [each.get(layer) for each in maps]
        rank = max(len(first) for first, _ in filter(None, given))
        some, _ = next(filter(None, given))
        width = some.shape[1]
        nothing = some.new_zeros(0, width), some.new_zeros(width, 0)
        firsts, lasts = zip(*(each or nothing for each in given), strict=True)
        first = torch.stack([_padded(x, rank, 0) for x in firsts])  # (n, r, C)
        last = torch.stack([_padded(x, rank, 1) for x in lasts])  # (n, C, r)
        edits[layer] = partial(_refined_by_row, first[rows], last[rows])
    return edits


def _padded(weight: Tensor, rank: int, dim: int) -> Tensor:
    """Return weights with zeros up to a rank."""
    n_lacking = rank - weight.shape[dim]
    if not n_lacking:
        return weight
    return pad(weight, (0, 0, 0, n_lacking) if dim == 0 else (0, n_lacking))


def _refined_by_row(firsts: Tensor, lasts: Tensor, states: Tensor) -> Tensor:
    """Change states (B, T, C) by a map (r, C), (C, r) of each row, without gradient."""
    refined, _ = _refine(states.to(firsts.device), firsts, lasts)
    return refined.to(states.device)


def _refined(in_layer: nn.Linear, out_layer: nn.Linear, states: Tensor) -> Tensor:
    first, last = in_layer.weight, out_layer.weight  # (r, C), (C, r)
    flat = states.flatten(0, 1).to(first.device)  # a layer may be on another one
    if torch.is_grad_enabled():
        refined = _Refine.apply(flat, first, last)
    else:  # `apply` takes as long as several steps of a short text
        refined, _ = _refine(flat, first, last)
    return refined.view_as(states).to(states.device)


def _refine(
    states: Tensor, first: Tensor, last: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return what `TextAdapter` makes of states (n, C), and what led to it.

    Or of states (B, T, C) with maps of each row. It is computed in float32, in few
    steps. The size of a state counts as a constant.
    """
    wide = states.to(first.dtype)
    size = wide.abs().mean(dim=-1, keepdim=True)
    size.clamp_min_(torch.finfo(size.dtype).tiny)  # padding may be zero
    scaled = wide / size
    usual = hardtanh(scaled, -_LARGEST_READ, _LARGEST_READ)
    size *= _TEXT_SCALE
    ranks = (usual @ first.mT).mul_(size)  # (n, r)
    add: Any = torch.addmm if states.dim() == 2 else torch.baddbmm
    return add(wide, ranks, last.mT).to(states.dtype), (scaled, size, ranks)


class _Refine(torch.autograd.Function):
    """`_refine` with the gradients of states and maps."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, first: Tensor, last: Tensor) -> Tensor:
        refined, between = _refine(states, first, last)
        ctx.save_for_backward(*between, first, last)
        return refined

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scaled, size, ranks, first, last = ctx.saved_tensors
        grad = grads[0].to(first.dtype)
        of_ranks = grad @ last  # (n, r)
        bounds = -_LARGEST_READ, _LARGEST_READ
        usual = hardtanh(scaled, *bounds)
        of_first = (of_ranks * size).T @ usual
        of_usual = (_TEXT_SCALE * of_ranks) @ first  # in units of the size
        of_states = torch.ops.aten.hardtanh_backward(of_usual, scaled, *bounds)
        return of_states.add_(grad).to(grads[0].dtype), of_first, (ranks.T @ grad).T


class PromptAdapter(_Adapter):
    """Change the prompt's input embeddings into a soft prompt: e + F(e)."""

    def __init__(self, embeddings: Tensor, rank: int | None) -> None:
        super().__init__()
        self._frozen = embeddings.float()  # (P, C)
        self._input = _normalised(embeddings)
        self.map = _Map(embeddings.shape[1], embeddings.shape[1], rank)

    def forward(self) -> Tensor:
        """Return the soft prompt (P, C)."""
        return self._frozen + _rms(self._frozen) * self.map(self._input)


class EmbeddingAdapter(nn.Module):
    """Train the prompt's embeddings (P, C) themselves.

    With method="prefix" the frozen backbone reads them again at every step, with
    gradient, as a batch of one: the algorithm of the authors' code for 7 B models. The
    layers that are not tuned keep the `frozen` prefix, which is None with "prompt".
    Parameters are multiplied by the embeddings' root mean square.
    """

    def __init__(
        self,
        embeddings: Tensor,
        backbone: "Backbone",
        frozen: "Prefix | None",
        tuned: range,
    ) -> None:
        super().__init__()
        self._start = embeddings.float()
        self._backbone = backbone
        self._frozen = frozen
        self._tuned = tuned
        self.change = nn.Parameter(torch.zeros_like(self._start))  # (P, C)

    def forward(self) -> "Prefix | Tensor":
        """Return the prefix of every layer, or the soft prompt (P, C)."""
        embeddings = self._start + _rms(self._start) * self.change
        if self._frozen is None:
            return embeddings
        inputs_embeds = embeddings[None].to(self._backbone.model.dtype)
        new = self._backbone.prefix_mechanism.read(inputs_embeds).prefix
        pairs = enumerate(zip(self._frozen, new, strict=True))
        return [after if i in self._tuned else before for i, (before, after) in pairs]

    def reset(self) -> None:
        """Return to the prompt's own embeddings."""
        nn.init.zeros_(self.change)


def _widths(tensors: "tuple[Tensor, ...]") -> list[int]:
    """Return how many values each tensor (H, P, D) has for one token: H * D."""
    return [tensor[:, 0].numel() for tensor in tensors]


def _normalised(states: Tensor) -> Tensor:
    states = states.float()
    return layer_norm(states, states.shape[-1:])


def _rms(tensor: Tensor) -> Tensor:
    return tensor.float().square().mean().sqrt()
