"""PixelCNN prior over grids of codes: predicts each code from those above it and to its left."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class CausalConv(nn.Conv2d):
    """Masked convolution: sees the rows above and the positions to the left; with `include_center`, its own too."""

    mask: Tensor

    def __init__(self, n_in: int, n_out: int, size: int, include_center: bool):
        super().__init__(n_in, n_out, size, padding=size // 2)
        mask = torch.zeros(size, size)
        mask[: size // 2] = 1
        mask[size // 2, : size // 2 + include_center] = 1
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, n_in, h, w) -> (B, n_out, h, w)."""
        return functional.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class PixelCNN(nn.Module):
    """Autoregressive model of a grid (h, w) of `num_codes` codes (van den Oord et al., arXiv 1601.06759).

    Residual blocks of masked convolutions. As a method it reads `codes` (B, h, w); its loss is their mean negative
    log-likelihood in nats per code.
    """

    reads = ("codes",)

    def __init__(self, num_codes: int, grid: tuple[int, int], width: int, layers: int):
        super().__init__()
        self.num_codes, self.grid = num_codes, grid
        self.embed = nn.Embedding(num_codes, width)
        self.place = nn.Parameter(torch.zeros(width, *grid))
        self.first = CausalConv(width, width, 5, include_center=False)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.GELU(),
                nn.Conv2d(width, width // 2, 1),
                nn.GELU(),
                CausalConv(width // 2, width // 2, 3, include_center=True),
                nn.GELU(),
                nn.Conv2d(width // 2, width, 1),
            )
            for _ in range(layers)
        )
        self.last = nn.Sequential(nn.GELU(), nn.Conv2d(width, num_codes, 1))

    def logits(self, codes: Tensor) -> Tensor:
        """Return the logits (B, K, h, w) of codes (B, h, w) int64; each position's depend only on earlier codes."""
        x = self.first(self.embed(codes).permute(0, 3, 1, 2)) + self.place
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of the batch's `codes`."""
        return {"loss": functional.cross_entropy(self.logits(batch["codes"]), batch["codes"])}

    def sample(self, n: int) -> Tensor:
        """Sample `n` grids code by code, (n, h, w) int64, from torch's global random stream."""
        height, width = self.grid
        codes = torch.zeros(n, height, width, dtype=torch.int64, device=self.place.device)
        for row in range(height):
            for column in range(width):
                p = self.logits(codes)[:, :, row, column].softmax(1)
                codes[:, row, column] = torch.multinomial(p, 1)[:, 0]
        return codes
