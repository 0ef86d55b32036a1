"""Checks of `model_kwargs`: how the backbone is loaded and given a prefix."""

from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any

from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)

_CONSTRAINTS: dict[str, list[Any]] = {
    "revision": [str, None],
    "dtype": [StrOptions({"auto", "float32", "bfloat16", "float16"})],
    "quantization_config": [dict, HasMethods("to_dict"), None],
    "device_map": [str, dict, None],
    "n_layers": [
        StrOptions({"auto", "all"}),
        Interval(Integral, 1, None, closed="left"),
    ],
    "prefix_mechanism": [
        StrOptions({"auto", "attention", "kv_cache", "hidden_states"})
    ],
}


@dataclass(frozen=True)
class ModelOptions:
    """The entries of `model_kwargs`.

    Attributes
    ----------
    revision : str or None
        Branch, tag or commit of a model on the hub.
    dtype : {"auto", "float32", "bfloat16", "float16"}
        Precision of the backbone.
    quantization_config : object with `to_dict`, dict or None
        A quantization config of transformers.
    device_map : str, dict or None
        Which layers go to which device.
    n_layers : {"auto", "all"} or int
        How many layers are run, from the bottom.
    prefix_mechanism : {"auto", "attention", "kv_cache", "hidden_states"}
        How the backbone is given the prefix.
    """

    revision: str | None = None
    dtype: str = "auto"
    quantization_config: Any = None
    device_map: str | dict[str, Any] | None = None
    n_layers: str | int = "auto"
    prefix_mechanism: str = "auto"


def check_model_kwargs(model_kwargs: Any, caller: str) -> ModelOptions:
    """Return the options that `model_kwargs` sets; the others have their defaults.

    Parameters
    ----------
    model_kwargs : dict or None
    caller : str
        Name of the estimator, for messages.

    Raises
    ------
    ValueError
        If it is no dictionary, or has an unknown key or a wrong value.
    """
    validate_parameter_constraints(
        {"model_kwargs": [dict, None]}, {"model_kwargs": model_kwargs}, caller
    )
    given = dict(model_kwargs or {})
    names = [field.name for field in fields(ModelOptions)]
    unknown = [key for key in given if key not in names]
    if unknown:
        raise ValueError(
            f"The 'model_kwargs' parameter of {caller} has the unknown key "
            f"{unknown[0]!r}. Accepted keys are {', '.join(map(repr, names))}."
        )
    prefix = "model_kwargs__"
    validate_parameter_constraints(
        {prefix + name: constraints for name, constraints in _CONSTRAINTS.items()},
        {prefix + name: value for name, value in given.items()},
        caller,
    )
    return ModelOptions(**given)
