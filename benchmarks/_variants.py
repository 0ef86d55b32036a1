"""Adapters, and ways to pool, tried in place of the estimators' own.

And fits that are not compared with the closed form.
"""

from functools import partial
from unittest.mock import patch

import torch
from torch import nn
from torch.nn import functional

from sksemantic._backbone.prefix import attention, editing, make_visitable
from sksemantic._backbone.prefix.attention import AttentionPrefix
from sksemantic._model import module as _module
from sksemantic._model.adapters import PrefixAdapter, _heads, _normalised, _rms
from sksemantic._model.frozen import embed
from sksemantic._model.module import SemanticModule
from sksemantic._training import holdout as _holdout

# With these, no text is held back and nothing is compared with the closed form.
UNCOMPARED = {"validation_fraction": 1e-6}


class Partial(PrefixAdapter):
    """Refines the keys alone, or the values alone."""

    refined = 0  # 0 is the keys, 1 the values

    def forward(self):
        """Return the prefix of every layer."""
        return [
            tuple(
                part if which == self.refined else frozen
                for which, (part, frozen) in enumerate(zip(new, old, strict=True))
            )
            for new, old in zip(super().forward(), self._frozen, strict=True)
        ]


class ValuesOnly(Partial):
    """Refines the values alone."""

    refined = 1


class Direct(PrefixAdapter):
    """Trains the keys and values themselves, from the prompt's."""

    def __init__(self, read, tuned, rank):
        super().__init__(read, tuned, rank)
        self.maps = nn.ModuleList()  # nothing is mapped
        self.changes = nn.ParameterList(
            nn.Parameter(torch.zeros(part.shape))
            for i in tuned
            for part in read.prefix[i]
        )

    def forward(self):
        """Return the prefix of every layer."""
        prefix = list(self._frozen)
        changes = iter(self.changes)
        for i in self._tuned:
            prefix[i] = tuple(
                part + _rms(part) * next(changes) for part in self._frozen[i]
            )
        return prefix


class Gated(PrefixAdapter):
    """Has, besides the map, a factor for the keys and one for the values of a head."""

    def __init__(self, read, tuned, rank):
        super().__init__(read, tuned, rank)
        self.gates = nn.ParameterList(
            nn.Parameter(torch.zeros(len(part), 1, 1))
            for i in tuned
            for part in read.prefix[i]
        )

    def forward(self):
        """Return the prefix of every layer."""
        prefix = super().forward()
        gates = iter(self.gates)
        for i in self._tuned:
            prefix[i] = tuple(part * (1 + next(gates)) for part in prefix[i])
        return prefix


def adapter(kind):
    """Return the patch that replaces the adapter."""
    return patch.object(_module, "PrefixAdapter", kind)


class AttentionPooled(SemanticModule):
    """Weighs the tokens by a trained query; it starts as the pooling there was."""

    FOR_LAST = 12.0  # the logit with which the last token starts, if that was pooled

    def __init__(self, *args):
        super().__init__(*args)
        width = self.backbone.hidden_size
        device = self.backbone.device
        self.query = nn.Parameter(torch.zeros(width, device=device))

    def _embed(self, hidden, inputs):
        """Return the embeddings (n_rows, C) of hidden states (B, T, C)."""
        hidden, seen = hidden.float(), inputs["attention_mask"]
        logits = _normalised(hidden) @ self.query
        if self.pooling == "last":
            last = seen.sum(dim=1, keepdim=True) - 1
            logits = logits.scatter_add(
                1, last, torch.full_like(logits[:, :1], self.FOR_LAST)
            )
        weights = logits.masked_fill(seen == 0, -torch.inf).softmax(dim=1)  # (B, T)
        return (weights[:, None] @ hidden)[:, 0]


class Mixed(SemanticModule):
    """Adds a weighted sum of what lower layers put out; it starts at zero."""

    N_MIXED = 4  # layers below the last one

    def __init__(self, *args):
        super().__init__(*args)
        n_layers = make_visitable(self.backbone.model)
        self.mixed = range(n_layers)[-self.N_MIXED - 1 : -1]
        weights = torch.zeros(len(self.mixed), device=self.backbone.device)
        self.mixture = nn.Parameter(weights)

    def _run(self, inputs):
        """Return the mixed hidden states (B, T, C)."""
        self.lower = []
        hidden = super()._run(inputs).float()
        lower, self.lower = self.lower, []
        for weight, states in zip(self.mixture, lower, strict=True):
            hidden = hidden + weight * _rms(hidden) * _normalised(states)
        return hidden

    def _edited(self, length):
        """Keep what the lower layers put out, refined if they are."""
        edits = {} if self.text_adapter is None else self.text_adapter.edits()
        kept = {i: partial(self._keep, edits.get(i)) for i in self.mixed}
        return editing(edits | kept, length)

    def _keep(self, edit, states):
        refined = states if edit is None else edit(states)
        self.lower.append(refined)
        return refined


class DroppingTokens(SemanticModule):
    """Hides a tenth of a text's tokens in training, never the first one."""

    SHARE = 0.1

    def _read(self, inputs):
        """Return the embeddings (n_rows, C) of rows of tokens."""
        if self.training and torch.is_grad_enabled():
            mask = inputs["attention_mask"]
            kept = torch.rand(mask.shape, device=mask.device) >= self.SHARE
            kept[:, 0] = True
            inputs = inputs | {"attention_mask": mask * kept}
        return super()._read(inputs)


class Conditioned(SemanticModule):
    """Its values depend on the text: on the mean of what enters the tuned layers.

    Every layer's rank is scaled by one plus a linear map of that mean, which starts at
    zero.
    """

    def __init__(self, *args):
        super().__init__(*args)
        n_in, rank = self.backbone.hidden_size, self.config.adapter_rank
        self.gates = nn.ModuleList(
            nn.Linear(n_in, rank, bias=False, device=self.backbone.device)
            for _ in self.adapter.maps
        )
        for gate in self.gates:
            nn.init.zeros_(gate.weight)

    def _run(self, inputs):
        """Return the last hidden states (B, T, C)."""
        if self.frozen.entry is None:
            states = self.backbone.embed(inputs["input_ids"])
        else:
            states = self.frozen.states(inputs)  # (B, T, C)
        context = _normalised(embed(states, inputs, "mean"))  # (B, C)
        with patch.object(self.adapter, "forward", lambda: self._prefix(context)):
            folded, self._folded = self._folded, None
            try:
                return super()._run(inputs)
            finally:
                self._folded = folded

    def _prefix(self, context):
        """Return the prefix of every layer; values are (B, H, P, D)."""
        adapter = self.adapter
        prefix = list(type(adapter).forward(adapter))
        parts = adapter._tuned, adapter._states, adapter.maps, self.gates
        for i, states, (down, up), gate in zip(*parts, strict=True):
            key, value = prefix[i]
            scales = gate(context)  # (B, r)
            change = up(down(states) * scales[:, None])  # (B, P, out)
            change = change[..., key[:, 0].numel() :]
            by_text = torch.stack([_heads(each, len(value)) for each in change])
            prefix[i] = key, value + _rms(adapter._frozen[i][1]) * by_text
        return prefix


def expanded_once(prefix, states):
    """Repeat a prefix for each text, unless each has its own."""
    if prefix.ndim == states.ndim:
        return prefix.to(states)
    return _expanded(prefix, states)


_expanded = attention.expanded


def conditioned():
    """Return the patches that let the prefix depend on the text."""
    return [
        module(Conditioned),
        patch.object(attention, "expanded", expanded_once),
    ]


def module(kind):
    """Return the patch that replaces the module."""
    build = SemanticModule.seeded.__func__
    return patch.object(
        SemanticModule, "seeded", classmethod(lambda cls, *args: build(kind, *args))
    )


def weighing(offset):
    """Return the patches by which the prompt weighs exp(-offset) as much."""

    def widen(joiner, mask, prefix_key, key):
        """Return what is added to the scores (B, 1, T, P + T)."""
        kept = joiner._wide.get(id(mask))
        if kept is None:
            batch, _, length, _ = key.shape
            least = torch.finfo(key.dtype).min
            added = key.new_zeros(batch, 1, length, length)
            if mask is not None:
                is_bool = mask.dtype == torch.bool
                added = added.masked_fill(~mask, least) if is_bool else added + mask
            size = (*added.shape[:-1], prefix_key.shape[1])
            wide = torch.cat([added.new_full(size, -offset), added], dim=-1)
            kept = joiner._wide[id(mask)] = mask, wide
        return kept[1]

    call = attention._Joiner.__call__

    def join(joiner, module, key, value, mask, is_causal):
        if mask is None and not is_causal:
            mask = key.new_zeros(len(key), 1, key.shape[2], key.shape[2])
        return call(joiner, module, key, value, mask, is_causal)

    return [
        patch.object(attention._Joiner, "_widen", widen),
        patch.object(attention._Joiner, "__call__", join),
    ]


def supervised_contrast(features, classes, weights, temperature=0.1):
    """Return the supervised contrastive loss of texts.

    P. Khosla et al. 2020, arXiv 2004.11362, equation 2.
    """
    unit = functional.normalize(features, dim=1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    logits = (unit @ unit.T / temperature).masked_fill(itself, -torch.inf)
    is_same = (classes[:, None] == classes) & ~itself
    n_same = is_same.sum(dim=1)
    found = logits.log_softmax(dim=1).masked_fill(~is_same, 0).sum(dim=1)
    losses = -found / n_same.clamp(min=1)
    counts = weights * (n_same > 0)
    return (losses * counts).sum() / counts.sum().clamp(min=1e-12)


def over_noise():
    """Return the patch that puts random states of the same scale for the prompt's.

    In all layers: nothing of the prompt is left but what stands behind the slot.
    """
    build = _module.SemanticModule.seeded.__func__
    read = AttentionPrefix.read

    def read_noise(prefix_mechanism, inputs_embeds):
        found = read(prefix_mechanism, inputs_embeds)
        return type(found)(
            [torch.randn_like(states) for states in found.states],
            [
                tuple(torch.randn_like(part) * _rms(part) for part in layer)
                for layer in found.prefix
            ],
            found.layers,
        )

    def seeded(cls, *args):
        with patch.object(AttentionPrefix, "read", read_noise):
            return build(cls, *args)

    return patch.object(_module.SemanticModule, "seeded", classmethod(seeded))


def without_comparison():
    """Return the patch that, with `UNCOMPARED`, leaves all texts to the training."""
    return patch.object(_holdout, "_HELD_BACK_ROWS", 0)
