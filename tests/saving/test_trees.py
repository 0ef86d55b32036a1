import numpy as np
import torch

from sksemantic._saving.trees import join_tensors, split_tensors


def test_tree_when_split_and_joined_then_is_the_same_with_its_types():
    tree = {"a": [torch.ones(2), (np.zeros(3), 1)], "b": {"c": None, 0: "x"}}
    tensors = {}
    rest = split_tensors(tree, tensors)
    assert sorted(tensors) == ["0", "1"]
    assert all(isinstance(each, np.ndarray) for each in tensors.values())
    found = join_tensors(rest, tensors)
    assert torch.equal(found["a"][0], torch.ones(2))
    assert found["a"][1][0].tolist() == [0, 0, 0]
    assert isinstance(found["a"][1], tuple)
    assert found["b"] == tree["b"]
