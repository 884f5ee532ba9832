"""HiFi-GAN's generator (arXiv 2010.05646, versions 1 to 3): log-mel frames -> waveforms."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.1  # of the leaky ReLUs
CHUNK_FRAMES = 1000  # that are synthesised at once


@dataclass(frozen=True)
class GeneratorShape:
    """The network's shape, as its published config.json says: a stage for each rate of upsampling."""

    n_mels: int
    channels: int  # of the first layer; each stage halves them
    upsample_rates: tuple[int, ...]
    upsample_kernels: tuple[int, ...]
    block_kernels: tuple[int, ...]
    block_dilations: tuple[tuple[int, ...], ...]
    has_pairs: bool  # resblock "1": after each dilated convolution a plain one

    @property
    def hop(self) -> int:
        """Return the samples of a frame."""
        return math.prod(self.upsample_rates)

    @property
    def context(self) -> int:
        """Return the frames on each side that the samples of a frame depend on, at most."""
        reach = 3.0 + 1  # of the first convolution, and of rounding
        rate = 1
        for upsampling, kernel in zip(self.upsample_rates, self.upsample_kernels, strict=True):
            reach += kernel / 2 / upsampling / rate
            rate *= upsampling
            blocks = zip(self.block_kernels, self.block_dilations, strict=True)
            reach += max((k - 1) / 2 * (sum(d) + self.has_pairs * len(d)) for k, d in blocks) / rate
        return math.ceil(reach + 3 / rate)


class HifiGan(nn.Module):
    """The generator, with its weight normalisation folded: a plain convolution has the same function."""

    def __init__(self, shape: GeneratorShape):
        super().__init__()
        self.shape = shape
        self.conv_pre = nn.Conv1d(shape.n_mels, shape.channels, 7, padding=3)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        n = shape.channels
        for rate, kernel in zip(shape.upsample_rates, shape.upsample_kernels, strict=True):
            self.ups.append(nn.ConvTranspose1d(n, n // 2, kernel, rate, padding=(kernel - rate) // 2))
            n //= 2
            for size, dilations in zip(shape.block_kernels, shape.block_dilations, strict=True):
                self.resblocks.append(_ResidualBlock(n, size, dilations, shape.has_pairs))
        self.conv_post = nn.Conv1d(n, 1, 7, padding=3)

    def forward(self, frames: Tensor) -> Tensor:
        """Return waveforms (B, T * hop) of log-mels (B, T, M), in chunks of a bounded size."""
        n_frames, hop, context = frames.shape[1], self.shape.hop, self.shape.context
        pieces = []
        for start in range(0, n_frames, CHUNK_FRAMES):
            end, first = min(start + CHUNK_FRAMES, n_frames), max(start - context, 0)
            wave = self._synthesize(frames[:, first : end + context].transpose(1, 2))
            pieces.append(wave[:, (start - first) * hop : (end - first) * hop])
        return torch.cat(pieces, 1)

    def _synthesize(self, x: Tensor) -> Tensor:
        """Return waveforms (B, T * hop) of log-mels (B, M, T)."""
        x, n_blocks = self.conv_pre(x), len(self.shape.block_kernels)
        for stage, up in enumerate(self.ups):
            x = up(functional.leaky_relu(x, SLOPE))
            blocks = self.resblocks[stage * n_blocks : (stage + 1) * n_blocks]
            x = torch.stack([block(x) for block in blocks]).mean(0)
        return torch.tanh(self.conv_post(functional.leaky_relu(x)))[:, 0]  # the last slope is torch's own: 0.01


class _ResidualBlock(nn.Module):
    """Dilated convolutions, each added to what it reads."""

    def __init__(self, n: int, kernel: int, dilations: tuple[int, ...], has_pairs: bool):
        super().__init__()
        dilated = nn.ModuleList(
            nn.Conv1d(n, n, kernel, dilation=dilation, padding=(kernel - 1) * dilation // 2) for dilation in dilations
        )
        self.has_pairs = has_pairs
        if has_pairs:  # the published names
            self.convs1 = dilated
            self.convs2 = nn.ModuleList(nn.Conv1d(n, n, kernel, padding=(kernel - 1) // 2) for _ in dilations)
        else:
            self.convs = dilated

    def forward(self, x: Tensor) -> Tensor:
        for k, conv in enumerate(self.convs1 if self.has_pairs else self.convs):
            y = conv(functional.leaky_relu(x, SLOPE))
            x = x + (self.convs2[k](functional.leaky_relu(y, SLOPE)) if self.has_pairs else y)
        return x


def fold_weight_norm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights without weight normalisation: `weight_g * weight_v / |weight_v|`, a norm for each first index.

    Torch has given the two factors two names.
    """
    folded = {}
    for name, value in state.items():
        if name.endswith((".weight_g", ".parametrizations.weight.original0")):
            continue
        pairs = {".weight_v": ".weight_g", ".parametrizations.weight.original1": ".parametrizations.weight.original0"}
        suffix = next((end for end in pairs if name.endswith(end)), None)
        if suffix is None:
            folded[name] = value
            continue
        stem = name.removesuffix(suffix)
        gain, norm = state[stem + pairs[suffix]], value.flatten(1).norm(dim=1).view(-1, 1, 1)
        folded[f"{stem}.weight"] = gain * value / norm
    return folded
