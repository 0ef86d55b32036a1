"""Errors and warnings raised by sksemantic.

SKSemanticError
 ├── BackboneNotFoundError      (ValueError)  no weights under that name, anywhere
 └── UnsupportedBackboneError   (ValueError)  weights found, but they cannot be used
UserWarning
 ├── TruncationWarning          some texts were cut to `max_length` tokens
 └── FallbackWarning            training did not beat the closed-form head
"""

__all__ = [
    "BackboneNotFoundError",
    "FallbackWarning",
    "SKSemanticError",
    "TruncationWarning",
    "UnsupportedBackboneError",
]


class SKSemanticError(Exception):
    """Base class of all errors defined by sksemantic."""


class BackboneNotFoundError(SKSemanticError, ValueError):
    """No weights were found for `model`; the message lists what was tried."""


class UnsupportedBackboneError(SKSemanticError, ValueError):
    """The backbone was found, but cannot take a semantic prefix or be loaded safely."""


class TruncationWarning(UserWarning):
    """Some texts are longer than `max_length` tokens and were cut."""


class FallbackWarning(UserWarning):
    """On held-back texts training did not beat the closed-form head, which is used."""
