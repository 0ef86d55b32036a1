import pytest
import torch
from conftest import load_tiny
from torch import nn
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.olmo2.modeling_olmo2 import Olmo2RMSNorm

from sksemantic._backbone.kernels import pack_linears, speed_up_norms

NORMS = [LlamaRMSNorm, Gemma3RMSNorm, Olmo2RMSNorm]
every_norm = pytest.mark.parametrize("kind", NORMS, ids=lambda kind: kind.__name__)


def make(kind, dtype, size=24):
    norm = kind(size, eps=1e-6).to(dtype).requires_grad_(False)
    norm.weight.normal_(0.3, 0.5)
    return norm


@every_norm
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norm_when_sped_up_then_output_is_the_same_to_the_last_bit_and_gradient_right(
    kind, dtype
):
    norm = make(kind, dtype)
    x = torch.randn(3, 5, 24).to(dtype).requires_grad_()
    weights = torch.randn(3, 5, 24)
    expected = norm(x)
    (gradient,) = torch.autograd.grad((expected * weights).sum(), x)
    assert speed_up_norms(nn.ModuleList([norm])) == 1
    output = norm(x)
    assert output.dtype == dtype
    assert torch.equal(output, expected)
    if dtype == torch.float32:
        (found,) = torch.autograd.grad((output * weights).sum(), x)
        torch.testing.assert_close(found, gradient, rtol=1e-5, atol=1e-6)


@every_norm
def test_norm_when_in_half_precision_then_gradient_is_near_that_in_single(kind):
    single = make(kind, torch.float32)
    half = kind(24, eps=1e-6).to(torch.bfloat16).requires_grad_(False)
    half.weight.copy_(single.weight)
    x = torch.randn(3, 5, 24)
    speed_up_norms(nn.ModuleList([half]))
    gradients = []
    for norm in (single, half):
        leaf = x.to(norm.weight.dtype).requires_grad_()
        (gradient,) = torch.autograd.grad(norm(leaf).float().square().sum(), leaf)
        gradients.append(gradient.float())
    assert (gradients[1] - gradients[0]).abs().max() < 0.05 * gradients[0].abs().max()


class ShiftedRMSNorm(LlamaRMSNorm):
    def forward(self, hidden_states):
        return super().forward(hidden_states) + 1


@pytest.mark.parametrize(
    "norm",
    [make(ShiftedRMSNorm, torch.float32), nn.LayerNorm(24), LlamaRMSNorm(24)],
    ids=["of another formula", "of another kind", "whose weights are trained"],
)
def test_norm_when_not_known_or_not_frozen_then_is_left_alone(norm):
    assert speed_up_norms(nn.ModuleList([norm])) == 0
    assert "forward" not in vars(norm)


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_backbone_when_made_then_all_its_norms_are_fast(name, tiny):
    modules = load_tiny(tiny(name)).model.modules()
    norms = [module for module in modules if type(module).__name__.endswith("RMSNorm")]
    assert norms
    assert all("forward" in vars(norm) for norm in norms)


def make_linear(dtype=torch.bfloat16, *, bias=True):
    return nn.Linear(48, 40, bias=bias).to(dtype).requires_grad_(False)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_tokens", [1, 7, 300])
def test_linear_when_packed_then_output_and_gradient_are_the_same(bias, n_tokens):
    linear = make_linear(bias=bias)
    x = torch.randn(2, n_tokens, 48).to(torch.bfloat16).requires_grad_()
    weights = torch.randn(2, n_tokens, 40)
    expected = linear(x)
    (gradient,) = torch.autograd.grad((expected * weights).sum(), x)
    if pack_linears(nn.Sequential(linear)) == 0:
        pytest.skip("torch is built without oneDNN")
    assert "forward" in vars(linear)
    output = linear(x)
    (found,) = torch.autograd.grad((output * weights).sum(), x)
    torch.testing.assert_close(output, expected, rtol=0.01, atol=0.01)
    torch.testing.assert_close(found, gradient, rtol=0.01, atol=0.01)
    with torch.inference_mode():
        torch.testing.assert_close(linear(x), expected, rtol=0.01, atol=0.01)


def test_linear_when_trained_or_in_single_precision_then_is_left_alone():
    others = [make_linear(torch.float32), make_linear().requires_grad_(True)]
    assert pack_linears(nn.ModuleList(others)) == 0
    assert not any("forward" in vars(module) for module in others)
