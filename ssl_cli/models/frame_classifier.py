"""Classifier of sounds: a small 2-d convolutional network over log-mel frames, pooled over time."""

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (16, 24, 32, 48)


class FrameClassifier(nn.Module):
    """Logits of a sound: (B, T, M) and lengths (B,) -> (B, n_classes), whatever the padding.

    Each layer halves the bands, and the first and third the frames. Mean and deviation over time are classified.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_mels: int, n_classes: int, dropout: float = 0.1):
        super().__init__()
        widths = (1, *CHANNELS)
        self.strides = [(1 if k % 2 else 2, 2) for k in range(len(CHANNELS))]  # of time and bands
        self.convs = nn.ModuleList(
            nn.Conv2d(n_in, n_out, 3, stride, padding=1)
            for n_in, n_out, stride in zip(widths[:-1], widths[1:], self.strides, strict=True)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, width) for width in CHANNELS)
        bands = n_mels
        for _ in CHANNELS:
            bands = -(-bands // 2)
        self.hidden = nn.Linear(bands * CHANNELS[-1], 96)
        self.dropout = nn.Dropout(dropout)
        self.classes = nn.Linear(192, n_classes)
        self.register_buffer("mean", torch.zeros(n_mels))
        self.register_buffer("std", torch.ones(n_mels))

    def forward(self, frames: Tensor, length: Tensor) -> Tensor:
        """Return the logits of log-mels of which the first `length` frames count."""
        x = ((frames - self.mean) / self.std)[:, None]  # (B, 1, T, M)
        mask = (torch.arange(x.shape[2], device=x.device) < length[:, None]).float()[:, None, :, None]  # (B, 1, T, 1)
        x = x * mask
        for conv, norm, (step, _) in zip(self.convs, self.norms, self.strides, strict=True):
            x = conv(x)
            mask = mask[:, :, ::step]
            x = functional.relu(_norm_by_frame(x, norm)) * mask
        x = functional.relu(self.hidden(x.transpose(1, 2).flatten(2))) * mask[:, 0]  # (B, T', 96)
        n = mask[:, 0].sum(1)  # (B, 1)
        mean = x.sum(1) / n
        deviation = (((x - mean[:, None]) * mask[:, 0]).square().sum(1) / n + 1e-5).sqrt()
        return self.classes(self.dropout(torch.cat([mean, deviation], 1)))


def _norm_by_frame(x: Tensor, norm: nn.Module) -> Tensor:
    """Return (B, C, T, M) normalised over the channels and bands of each frame."""
    batch, channels, frames, bands = x.shape
    by_frame = x.transpose(1, 2).reshape(batch * frames, channels, bands)
    return norm(by_frame).view(batch, frames, channels, bands).transpose(1, 2)
