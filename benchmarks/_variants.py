"""Adapters tried in place of the estimators' own; fits that are not compared."""

from unittest.mock import patch

import torch
from torch import nn

from sksemantic import _holdout, _module
from sksemantic._adapters import PrefixAdapter, _rms
from sksemantic._injection.attention import AttentionInjection

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


def over_noise():
    """Return the patch that puts random states of the same scale for the prompt's.

    In all layers: nothing of the prompt is left but what stands behind the slot.
    """
    build = _module.SemanticModule.seeded.__func__
    read = AttentionInjection.read

    def read_noise(injection, inputs_embeds):
        found = read(injection, inputs_embeds)
        return type(found)(
            [torch.randn_like(states) for states in found.states],
            [
                tuple(torch.randn_like(part) * _rms(part) for part in layer)
                for layer in found.prefix
            ],
            found.layers,
        )

    def seeded(cls, *args):
        with patch.object(AttentionInjection, "read", read_noise):
            return build(cls, *args)

    return patch.object(_module.SemanticModule, "seeded", classmethod(seeded))


def without_comparison():
    """Return the patch that, with `UNCOMPARED`, leaves all texts to the training."""
    return patch.object(_holdout, "_HELD_BACK_ROWS", 0)
