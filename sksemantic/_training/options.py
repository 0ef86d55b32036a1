"""Check what the `training` parameter of an estimator says."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from skorch.callbacks import Callback

# Fields of `TrainingConfig` that are parameters of the estimators.
OWN_PARAMETERS = (
    "lr",
    "max_epochs",
    "batch_size",
    "early_stopping",
    "time_limit",
    "verbose",
)
_NATURAL = [Interval(Integral, 0, None, closed="left")]
_POSITIVE = [Interval(Integral, 1, None, closed="left")]
_RATE = [Interval(Real, 0, None, closed="neither")]
_NOT_NEGATIVE = [Interval(Real, 0, None, closed="left")]
_SHARE = [Interval(Real, 0, 1, closed="both")]
_PROPER_SHARE = [Interval(Real, 0, 1, closed="neither")]
_AUTO = StrOptions({"auto"})
_CONSTRAINTS: dict[str, list[Any]] = {
    "objective": [StrOptions({"task", "contrast"})],
    "contrast_first_texts": _NATURAL,
    "contrast_first_sentences": _NATURAL,
    "contrast_temperature": _RATE,
    "cool_down_below": _NOT_NEGATIVE,
    "cool_down_steps": _POSITIVE,
    "head_lr": _RATE,
    "weight_decay": _NOT_NEGATIVE,
    "max_gradient_norm": _RATE,
    "warmup": _SHARE,
    "average_from": _SHARE,
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "min_epochs": _POSITIVE,
    "most_epochs": _POSITIVE,
    "min_steps": _NATURAL,
    "head_init": [StrOptions({"zeros", "random", "linear_probe"})],
    "contrast": _NOT_NEGATIVE,
    "contrast_texts": _POSITIVE,
    "min_contrast_texts": _NATURAL,
    "text_rank": _NATURAL,
    "frozen_share": [Interval(Real, 0, 1, closed="left")],
    "pooling": [StrOptions({"mean", "last", "first"})],
    "validation_fraction": _PROPER_SHARE,
    "min_validation_texts": _NATURAL,
    "max_validation_share": _PROPER_SHARE,
    "max_validation_texts": _POSITIVE,
    "max_probe_rows": _POSITIVE,
    "join_after": _SHARE,
    "clearly_better": _NOT_NEGATIVE,
    "temperature": _RATE,
    "temperature_weight": _NOT_NEGATIVE,
    "max_calibration_texts": _POSITIVE,
    "n_iter_no_change": _POSITIVE,
    "few_labels": _NATURAL,
    "min_texts_per_class": _NATURAL,
    "enough_texts_per_class": _NATURAL,
    "checkpoint_seconds": _NOT_NEGATIVE,
    "processes": [StrOptions({"one", "all"})],
    "callbacks": [list, tuple],
}
OPTION_NAMES = tuple(_CONSTRAINTS)


def check_training_options(options: Mapping[str, Any] | None, caller: str) -> None:
    """Refuse what is no field of `TrainingConfig`, or no value of one.

    Raises
    ------
    ValueError
        With the name of the option, what it may be, and what it was.
    """
    for name in options or ():
        if name in OWN_PARAMETERS:
            raise ValueError(
                f"The 'training' parameter of {caller} must not hold {name!r}, which "
                f"is a parameter of its own: {caller}({name}=...)."
            )
        if name not in OPTION_NAMES:
            raise ValueError(
                f"The 'training' parameter of {caller} must hold fields of "
                f"TrainingConfig: {', '.join(OPTION_NAMES)}. Got {name!r} instead."
            )
    validate_parameter_constraints(
        {f"training__{name}": [_AUTO, *rule] for name, rule in _CONSTRAINTS.items()},
        {f"training__{name}": value for name, value in (options or {}).items()},
        caller_name=caller,
    )
    _check_callbacks((options or {}).get("callbacks", ()), caller)


def _check_callbacks(callbacks: Any, caller: str) -> None:
    """Refuse what skorch does not take for a callback, and a name given twice."""
    names = []
    for given in () if isinstance(callbacks, str) else callbacks:
        is_named = isinstance(given, tuple) and len(given) == 2
        name, callback = given if is_named else (None, given)
        names += [name] * is_named
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, Callback):
            raise ValueError(
                f"The 'training__callbacks' parameter of {caller} must hold callbacks "
                f"of skorch, or pairs of a name and a callback. Got {given!r} instead."
            )
    if len({*names}) < len(names):
        raise ValueError(
            f"The 'training__callbacks' parameter of {caller} must have each name "
            f"once. Got {names!r} instead."
        )
