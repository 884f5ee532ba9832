"""Batch normalization and gathering of rows over all devices that share a batch."""

import torch
import torch.distributed.nn.functional as across
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm2d):
    """Batch normalization (arXiv 1502.03167) of (B, C) or (B, C, H, W) by the statistics of the whole batch.

    If several devices share it, the statistics are those of all of them, and so is their gradient: torch's
    SyncBatchNorm, which also works on CPUs. Each device must have as many rows.
    """

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() not in (2, 4):
            raise ValueError(f"expected (B, C) or (B, C, H, W), got {x.dim()} dimensions")

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized `x`."""
        if not (self.training and is_shared()):
            return super().forward(x)
        dims = [dim for dim in range(x.dim()) if dim != 1]
        x32 = x.float()
        moments = torch.stack([x32.mean(dims), x32.square().mean(dims)])  # (2, C)
        mean, square = (across.all_reduce(moments) / world_size()).unbind()
        var = (square - mean.square()).clamp(min=0)
        n = x.numel() // x.shape[1] * world_size()
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        assert self.momentum is not None
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (n / max(n - 1, 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        shape = [1, -1] + [1] * (x.dim() - 2)
        scale, shift = (var + self.eps).rsqrt(), x32.new_zeros(())
        if self.affine:
            scale, shift = scale * self.weight, self.bias
        return (x32 * scale.view(shape) + (shift - mean * scale).view(shape)).to(x.dtype)


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
    return torch.cat(across.all_gather(x)) if is_shared() else x
