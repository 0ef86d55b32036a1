"""Faster norms and linear layers of a frozen model on a CPU.

Written out in single operations, as models have them, root mean square layer norms take
a quarter of a training step. Their weights are frozen here, so that their gradient is
short. Linear layers put their weights into the processor's order again in every call:
of one text that takes half of the time. Frozen weights are put into it once.
"""

from collections.abc import Callable
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

_EPS_NAMES = ("eps", "variance_epsilon")
_MOST_PACKED = 2**28  # numbers; larger models would take too much memory twice
_FEW_TOKENS = 32  # what weights are packed for; larger batches gain from that as well


class _Norm(torch.autograd.Function):
    """x / rms(x) * weight in float32 (Zhang and Sennrich 2019, arXiv 1910.07467)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, eps: float, rounds_first: bool
    ) -> Tensor:
        wide = x.float()
        inverse = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, inverse)
        normed = wide * inverse
        if rounds_first:
            return weight.to(x.dtype) * normed.to(x.dtype)
        return normed.mul_(weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        x, weight, inverse = ctx.saved_tensors
        (grad,) = grads
        wide = x.float()
        scaled = grad * weight  # float32, as the weight is
        along = (scaled * wide).mean(-1, keepdim=True).mul_(inverse * inverse)
        change = scaled.sub_(wide.mul_(along)).mul_(inverse)
        return change.to(x.dtype), None, None, None


def speed_up_norms(model: nn.Module) -> int:
    """Give a frozen model's norms the short backward; return how many have it.

    Only norms whose output stays the same to the last bit, which is tried.
    """
    return sum(_speed_up(module) for module in model.modules() if _may_be_norm(module))


def _may_be_norm(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return (
        type(module).__name__.endswith("RMSNorm")
        and isinstance(weight, Tensor)
        and weight.dim() == 1
        and weight.dtype in (torch.float32, torch.bfloat16, torch.float16)
        and not weight.requires_grad
        and not weight.is_meta
        and weight.device.type == "cpu"
        and not any(p is not weight for p in module.parameters())
    )


@torch.no_grad()
def _speed_up(module: nn.Module) -> bool:
    """Replace a norm's forward by the one of ours that computes the same, if any."""
    eps = next((getattr(module, n) for n in _EPS_NAMES if hasattr(module, n)), None)
    if not isinstance(eps, float):
        return False
    weight = module.weight
    assert isinstance(weight, Tensor)
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(4, len(weight), generator=generator).to(weight.dtype)
    expected = module(x)
    for offset in (0.0, 1.0):
        for rounds_first in (False, True):
            forward = _forward(weight.float() + offset, eps, rounds_first)
            if torch.equal(forward(x), expected):
                module.forward = forward
                return True
    return False


def _forward(
    weight: Tensor, eps: float, rounds_first: bool
) -> Callable[[Tensor], Tensor]:
    def forward(hidden_states: Tensor) -> Tensor:
        return _Norm.apply(hidden_states, weight, eps, rounds_first)

    return forward


class _Linear(torch.autograd.Function):
    """A linear layer whose weights, frozen, have no gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, packed: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(weight)
        return _linear(x, packed, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        (grad,) = grads
        flat = grad.reshape(-1, grad.shape[-1]) @ weight  # (B * T, C)
        return flat.view(*grad.shape[:-1], -1), None, None, None


def _linear(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")


def pack_linears(model: nn.Module) -> int:
    """Pack the weights of a frozen model's linear layers; return how many are.

    Only in bfloat16, which gains at any batch size, and where the output stays the
    same, which is tried.
    """
    linears = [module for module in model.modules() if _may_be_packed(module)]
    if sum(module.weight.numel() for module in linears) > _MOST_PACKED:
        return 0
    return sum(map(_pack, linears))


def _may_be_packed(module: nn.Module) -> TypeGuard[nn.Linear]:
    return (
        type(module) is nn.Linear
        and module.weight.dtype == torch.bfloat16
        and module.weight.device.type == "cpu"
        and not any(p.requires_grad for p in module.parameters())
    )


@torch.no_grad()
def _pack(module: nn.Linear) -> bool:
    """Pack the weights of a linear layer, if its output stays the same."""
    weight, bias = module.weight.detach(), module.bias
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, weight.shape[1], generator=generator).to(weight.dtype)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, _FEW_TOKENS)
        is_same = torch.allclose(_linear(x, packed, bias), module(x), rtol=0.02)
    except (AttributeError, RuntimeError):  # torch is built without oneDNN
        return False
    if is_same:
        vars(module)["forward"] = _packed_forward(weight, packed, bias)
    return is_same


def _packed_forward(
    weight: Tensor, packed: Tensor, bias: Tensor | None
) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        if x.requires_grad and torch.is_grad_enabled():
            return _Linear.apply(x, weight, packed, bias)
        return _linear(x, packed, bias)

    return forward
