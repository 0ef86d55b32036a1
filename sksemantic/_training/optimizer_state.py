"""An optimizer's state in arrays and JSON values, as it is saved."""

from collections.abc import Mapping
from typing import Any

import torch


def without_tensors(optimizer_state: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return an optimizer's state in arrays and JSON values."""
    if optimizer_state is None:
        return None
    moments = {
        str(number): {name: value.cpu().numpy() for name, value in each.items()}
        for number, each in optimizer_state["state"].items()
    }
    return {**optimizer_state, "state": moments}


def with_tensors(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the optimizer's state of `without_tensors`."""
    if values is None:
        return None
    moments = {
        int(number): {name: torch.tensor(value) for name, value in each.items()}
        for number, each in values["state"].items()
    }
    return {**values, "state": moments}
