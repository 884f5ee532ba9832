"""Batch normalization and gathering of rows over all devices that share a batch."""

from typing import Any

import torch
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm2d):
    """Batch normalization (arXiv 1502.03167) of (B, C) or (B, C, H, W) by the statistics of the whole batch.

    If several devices share it, the statistics are those of all of them, and so is their gradient: torch's
    SyncBatchNorm, which also works on CPUs. Each device must have as many rows. A norm with `shares` false is of one
    device, while the others do something else.
    """

    shares = True

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() not in (2, 4):
            raise ValueError(f"expected (B, C) or (B, C, H, W), got {x.dim()} dimensions")

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized `x`."""
        if not (self.training and self.shares and is_shared()):
            return super().forward(x)
        dims = [dim for dim in range(x.dim()) if dim != 1]
        x32 = x.float()
        var, mean = torch.var_mean(x32, dims, correction=0)  # (C,) each
        means, vars = _of_all(torch.stack([mean, var])).unbind(1)  # (world, C) each
        mean = means.mean(0)
        var = vars.mean(0) + (means - mean).square().mean(0)
        n = x.numel() // x.shape[1] * world_size()
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        assert self.momentum is not None
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (n / max(n - 1, 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        shape = [1, -1] + [1] * (x.dim() - 2)
        scale, offset = (var + self.eps).rsqrt(), x32.new_zeros(1)
        if self.affine:
            scale, offset = scale * self.weight, self.bias
        return ((x32 - mean.view(shape)) * scale.view(shape) + offset.view(shape)).to(x.dtype)


def world_size() -> int:
    """Return how many devices share each batch."""
    return torch.distributed.get_world_size() if is_shared() else 1


def is_shared() -> bool:
    """Return whether several devices share each batch."""
    return (
        torch.distributed.is_available()
        and torch.distributed.is_initialized()
        and torch.distributed.get_world_size() > 1
    )


def gathered(x: Tensor) -> Tensor:
    """Return the rows (B, D) of all devices, (world * B, D), in the order of the devices; gradients go back to each."""
    return _of_all(x).flatten(0, 1) if is_shared() else x


def _of_all(x: Tensor) -> Tensor:
    """Return the tensors of all devices, (world, *shape)."""
    return _Gather.apply(x)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        parts = [torch.empty_like(x) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, x)
        return torch.stack(parts)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        """Return the sum of what all devices' losses say of this device's tensor."""
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total[torch.distributed.get_rank()]
