import numpy as np
import pytest
import torch
from conftest import build_module, load_tiny, random_ids

from sksemantic import TrainingConfig
from sksemantic._inputs.batching import collate
from sksemantic._inputs.dataset import TextDataset
from sksemantic._tasks.classification import Classification
from sksemantic._training.net import build_net
from sksemantic._training.progress import Progress
from sksemantic._training.time_limit import TimeLimit

NO_LIMIT = TimeLimit(None, Progress())
LENGTHS = (3, 9, 4, 7, 12, 5, 6, 8, 2)


@pytest.fixture
def pooling():
    return "auto"


@pytest.fixture
def net(tiny_bert, pooling):
    module = build_module(load_tiny(tiny_bert), dropout=0.0, pooling=pooling)
    torch.nn.init.normal_(module.head.weight)
    config = TrainingConfig(max_epochs=1, contrast=0.0)
    task = Classification(np.arange(2))
    rng, generator = np.random.RandomState(0), torch.Generator()
    return build_net(module, task, config, [], rng, generator, NO_LIMIT)


def batch(n, pair_texts=None):
    weights = np.linspace(0.1, 2, n, dtype=np.float32)
    ids = random_ids(*LENGTHS[:n])
    return collate(0)(
        TextDataset(ids, np.arange(n) % 2, weights, pair_texts=pair_texts)
    )


def gradients_of_one_step(net, data, budget):
    """Return the gradients that one training step leaves."""
    net.module_.zero_grad()
    net.token_budget = budget
    net.train_step_single(data)
    gradients = [p.grad.clone() for p in net.module_.parameters()]
    assert any(gradient.any() for gradient in gradients)
    assert net.module_.training
    return gradients


def assert_alike(gradients, others):
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def forward_sizes(module):
    """Return a list to which every forward appends how many texts it has."""
    sizes = []

    def note(module, args, kwargs):
        sizes.append(len(kwargs["input_ids"]))

    module.register_forward_pre_hook(note, with_kwargs=True)
    return sizes


@pytest.mark.parametrize(("budget", "n_parts"), [(1, 9), (30, 5), (60, 2), (10**6, 1)])
def test_step_when_batch_has_many_tokens_then_gradient_is_that_of_the_whole(
    budget, n_parts, net
):
    expected = gradients_of_one_step(net, batch(9), 10**6)
    sizes = forward_sizes(net.module_)
    assert_alike(gradients_of_one_step(net, batch(9), budget), expected)
    assert len(sizes) == n_parts
    assert sum(sizes) == 9


@pytest.mark.parametrize("pooling", ["pair"])
@pytest.mark.parametrize("budget", [1, 60])
def test_step_when_pairs_have_many_tokens_then_gradient_is_that_of_the_whole(
    budget, net
):
    from sksemantic._inputs.dataset import Ragged

    data = batch(8, Ragged.of(random_ids(*LENGTHS[:8], *LENGTHS[1:])))
    expected = gradients_of_one_step(net, data, 10**6)
    assert_alike(gradients_of_one_step(net, data, budget), expected)


def test_step_when_gpu_memory_runs_out_then_parts_are_halved_for_good(net):
    expected = gradients_of_one_step(net, batch(8), 10**6)
    sizes = forward_sizes(net.module_)

    def run_out(module, args, kwargs):
        if len(kwargs["input_ids"]) > 2:
            raise torch.cuda.OutOfMemoryError("out of memory")

    net.module_.register_forward_pre_hook(run_out, with_kwargs=True)
    assert_alike(gradients_of_one_step(net, batch(8), 10**6), expected)
    assert sizes == [8, 4, 2, 2, 2, 2]
    sizes.clear()
    net.train_step_single(batch(8))
    assert sizes == [2, 2, 2, 2]


def test_step_when_a_single_text_does_not_fit_then_error_is_passed_on(net):
    def run_out(module, args, kwargs):
        raise torch.cuda.OutOfMemoryError("out of memory")

    net.module_.register_forward_pre_hook(run_out, with_kwargs=True)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        net.train_step_single(batch(8))


def test_optimizer_when_built_then_head_and_adapter_have_their_rates(tiny_bert):
    module = build_module(load_tiny(tiny_bert))
    config = TrainingConfig(max_epochs=1, lr=0.1, head_lr=0.2, weight_decay=0.3)
    task = Classification(np.arange(2))
    rng, generator = np.random.RandomState(0), torch.Generator()
    net = build_net(module, task, config, [], rng, generator, NO_LIMIT)
    groups = {group["lr"]: group for group in net.optimizer_.param_groups}
    head = {id(p) for p in module.head.parameters()}
    assert {id(p) for p in groups[0.2]["params"]} == head
    others = {id(p) for p in module.parameters()} - head
    assert {id(p) for p in groups[0.1]["params"]} == others
    assert all(group["weight_decay"] == 0.3 for group in groups.values())
