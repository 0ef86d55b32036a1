"""Errors and warnings raised by sksemantic.

SKSemanticError
 ├── BackboneMismatchError      (ValueError)  other weights than those of the fit
 ├── BackboneNotFoundError      (ValueError)  no weights under that name, anywhere
 └── UnsupportedBackboneError   (ValueError)  weights found, but they cannot be used
UserWarning
 ├── TruncationWarning          some texts were cut to `max_length` tokens
 ├── FallbackWarning            the linear probe is clearly better, and is used
 ├── InconsistentVersionWarning another version of sksemantic made the pickle
 ├── TimeLimitWarning           a fit left something out to be done in time
 ├── UnlabelledWarning          some texts, or words, have no label
 └── UnreadableTextWarning      the tokenizer knows nothing in some texts
"""

__all__ = [
    "BackboneMismatchError",
    "BackboneNotFoundError",
    "FallbackWarning",
    "InconsistentVersionWarning",
    "SKSemanticError",
    "TimeLimitWarning",
    "TruncationWarning",
    "UnreadableTextWarning",
    "UnsupportedBackboneError",
]


class SKSemanticError(Exception):
    """Base class of all errors defined by sksemantic."""


class BackboneMismatchError(SKSemanticError, ValueError):
    """The backbone has other weights than those that the estimator was fitted on."""


class BackboneNotFoundError(SKSemanticError, ValueError):
    """No weights were found for `model`; the message lists what was tried."""


class UnsupportedBackboneError(SKSemanticError, ValueError):
    """The backbone was found, but cannot take a semantic prefix or be loaded safely."""


class TruncationWarning(UserWarning):
    """Some texts are longer than `max_length` tokens and were cut."""


class FallbackWarning(UserWarning):
    """The linear probe is clearly better on the held-out texts, and is used.

    The trained model is kept unless the linear probe is ahead of it by two standard
    errors, after half of the epochs and again at the end. The numbers in the message
    are the first losses of ``comparison_``, such as error rates, not the losses of
    ``history_``. In a search such a candidate is scored with the linear probe.
    """


class InconsistentVersionWarning(UserWarning):
    """An estimator was pickled by another version of sksemantic than the one in use.

    As scikit-learn's warning of this name, which is for its own estimators.
    """


class TimeLimitWarning(UserWarning):
    """A fit left out epochs, or texts, to be done within its `time_limit`."""


class UnlabelledWarning(UserWarning):
    """Some texts, or words, have a missing value for a label: they count as unlabelled.

    Words that are marked by -100 are so on purpose, and no warning tells of them.
    """


class UnreadableTextWarning(UserWarning):
    """Some texts hold no token that the tokenizer knows: they all look alike."""
