"""The head of a warm start: rows of the fit before, and rows of new classes."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._training.fitted import FittedModel

_ROWS = ("head.weight", "head.bias")  # one for each output


def with_outputs(model: "FittedModel", places: "NDArray") -> "FittedModel":
    """Return a fitted model with other rows of the head; new ones are zero.

    `places` (K,) says which of its rows each one was; -1 for a new one.
    """
    is_old, weights = places >= 0, dict(model.weights)
    for name in _ROWS:
        former = weights[name]
        weights[name] = np.zeros((len(places), *former.shape[1:]), former.dtype)
        weights[name][is_old] = former[places[is_old]]
    model_config = replace(model.config.model, n_outputs=len(places))
    config = replace(model.config, model=model_config)
    return replace(model, config=config, weights=weights, _loaded=[])
