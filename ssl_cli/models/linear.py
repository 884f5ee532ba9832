"""A linear layer that learns faster on a CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Linear):
    """nn.Linear, in training by oneDNN where the CPU has AVX-512: (..., n_in) -> (..., n_out), float32 as before.

    Torch multiplies by MKL, which on an AMD uses half the width of its vectors: a training step of an image network
    takes 1.6 times as long (docs/benchmarks.md). Outside training nothing is different.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled() and _suits_onednn(x):
            return functional.linear(x.to_mkldnn(), self.weight, self.bias).to_dense()
        return super().forward(x)


def _suits_onednn(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
    )
