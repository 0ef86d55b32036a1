"""Trees of values and tensors: the tensors apart, in a file of their own."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

_ARRAY, _TENSOR = "\0array", "\0tensor"  # the only key of what stands for one


def split_tensors(value: Any, tensors: dict[str, np.ndarray]) -> Any:
    """Return a tree with marks where its arrays and tensors were; collect these."""
    kind = _TENSOR if isinstance(value, torch.Tensor) else _ARRAY
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        name = str(len(tensors))
        tensors[name] = np.array(value, order="C")  # several may share their memory
        return {kind: name}
    if isinstance(value, Mapping):
        return {key: split_tensors(each, tensors) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(split_tensors(each, tensors) for each in value)
    return value


def join_tensors(value: Any, tensors: Mapping[str, np.ndarray]) -> Any:
    """Return the tree of `split_tensors`."""
    if type(value) in (list, tuple):
        return type(value)(join_tensors(each, tensors) for each in value)
    if not isinstance(value, dict):
        return value
    if value.keys() == {_ARRAY}:
        return tensors[value[_ARRAY]]
    if value.keys() == {_TENSOR}:
        return torch.from_numpy(tensors[value[_TENSOR]])
    return {key: join_tensors(each, tensors) for key, each in value.items()}
