"""Checks of `model_kwargs`: how the backbone is loaded and given a prefix."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any

from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)


@dataclass(frozen=True)
class ModelOptions:
    """The entries of `model_kwargs`."""

    revision: str | None = None  # branch, tag or commit of a model on the hub
    dtype: str = "auto"
    quantization_config: Any = None  # of transformers
    device_map: str | dict[str, Any] | None = None  # which layers go to which device
    n_layers: str | int = "auto"  # how many layers are run, from the bottom
    prefix_mechanism: str = "auto"  # how the backbone is given the prefix


_MECHANISMS = {"auto", "attention", "kv_cache", "hidden_states"}
_CONSTRAINTS: dict[str, list[Any]] = {
    "revision": [str, None],
    "dtype": [StrOptions({"auto", "float32", "bfloat16", "float16"})],
    "quantization_config": [dict, HasMethods("to_dict"), None],
    "device_map": [str, dict, None],
    "n_layers": [
        StrOptions({"auto", "all"}),
        Interval(Integral, 1, None, closed="left"),
    ],
    "prefix_mechanism": [StrOptions(_MECHANISMS)],
}


def check_model_kwargs(model_kwargs: Any, caller: str) -> ModelOptions:
    """Return the options that `model_kwargs` sets; the others have their defaults.

    Refuse what is no dictionary, an unknown key and a wrong value; `caller` is the
    estimator's name, for the message.
    """
    validate_parameter_constraints(
        {"model_kwargs": [dict, None]}, {"model_kwargs": model_kwargs}, caller
    )
    given = dict(model_kwargs or {})
    unknown = [key for key in given if key not in _CONSTRAINTS]
    if unknown:
        raise ValueError(
            f"The 'model_kwargs' parameter of {caller} has the unknown key "
            f"{unknown[0]!r}. Accepted keys are {', '.join(map(repr, _CONSTRAINTS))}."
        )
    prefix = "model_kwargs__"
    validate_parameter_constraints(
        {prefix + name: constraints for name, constraints in _CONSTRAINTS.items()},
        {prefix + name: value for name, value in given.items()},
        caller,
    )
    return ModelOptions(**given)
