"""Norm by the root mean square, faster in training on a CPU."""

from typing import Any

import torch
from torch import Tensor, nn


class RMSNorm(nn.RMSNorm):
    """Norm by the root mean square (arXiv 1910.07467): (..., C) -> (..., C).

    In training on a CPU, in float32, it takes half the time of torch's, which computes each step by itself.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return x divided by its root mean square, times the weight."""
        if x.device.type == "cpu" and x.dtype == torch.float32 and torch.is_grad_enabled():
            return _TrainedRMSNorm.apply(x, self.weight, self.eps)
        return super().forward(x)


class _TrainedRMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])  # (..., 1)
        scale = mean_square.add_(eps).rsqrt_()
        normalized = x * scale
        ctx.save_for_backward(normalized, scale, weight)
        return normalized * weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        normalized, scale, weight = ctx.saved_tensors
        product = gradient * normalized
        with torch.autocast("cpu", enabled=False):
            mean = (product @ weight)[..., None].div_(weight.shape[0])  # of the gradient's part along x, (..., 1)
        grad_x = torch.addcmul(gradient * weight, normalized, mean, value=-1).mul_(scale)
        return grad_x, product.flatten(0, -2).sum(0), None
