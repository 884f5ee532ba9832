"""A prior over grids of codes: each code from those above it and to its left."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class CausalConv(nn.Conv2d):
    """A convolution that sees the rows above and what is left in its own row; with `itself`, its own place too."""

    mask: Tensor

    def __init__(self, n_in: int, n_out: int, size: int, itself: bool):
        super().__init__(n_in, n_out, size, padding=size // 2)
        mask = torch.zeros(size, size)
        mask[: size // 2] = 1
        mask[size // 2, : size // 2 + itself] = 1
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class PixelCNN(nn.Module):
    """The logits of every code of a grid (h, w), each of `codes` kinds (van den Oord et al., arXiv 1601.06759).

    Residual blocks of masked convolutions. As an objective it reads `codes` (B, h, w) and gives their mean negative log
    likelihood in nats a code.
    """

    reads = ("codes",)

    def __init__(self, codes: int, grid: tuple[int, int], width: int, layers: int):
        super().__init__()
        self.n_codes, self.grid = codes, grid
        self.embed = nn.Embedding(codes, width)
        self.place = nn.Parameter(torch.zeros(width, *grid))
        self.first = CausalConv(width, width, 5, itself=False)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.GELU(),
                nn.Conv2d(width, width // 2, 1),
                nn.GELU(),
                CausalConv(width // 2, width // 2, 3, itself=True),
                nn.GELU(),
                nn.Conv2d(width // 2, width, 1),
            )
            for _ in range(layers)
        )
        self.last = nn.Sequential(nn.GELU(), nn.Conv2d(width, codes, 1))

    def logits(self, codes: Tensor) -> Tensor:
        """(B, h, w) int64 -> (B, K, h, w); those of a place know nothing of its own code, nor of those after it."""
        x = self.first(self.embed(codes).permute(0, 3, 1, 2)) + self.place
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": functional.cross_entropy(self.logits(batch["codes"]), batch["codes"])}

    def sample(self, n: int) -> Tensor:
        """(n, h, w) int64, drawn code by code from torch's own random stream"""
        height, width = self.grid
        codes = torch.zeros(n, height, width, dtype=torch.int64, device=self.place.device)
        for row in range(height):
            for column in range(width):
                p = self.logits(codes)[:, :, row, column].softmax(1)
                codes[:, row, column] = torch.multinomial(p, 1)[:, 0]
        return codes
