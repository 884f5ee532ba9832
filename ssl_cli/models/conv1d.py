"""1-d convolutions over sequences of frames with padding: an encoder, a decoder, and an encoder of the voice.

Shapes: B sequences, T frames (the longest), C channels; `mask` (B, 1, T) is 1 at a sequence's own frames and 0 at its
padding. Every layer leaves 0 at the padding, so that no output depends on how far a batch is padded.
"""

import math
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, Natural
from ssl_cli.errors import InputError

NORM_EPSILON = 1e-5

Kernel = Annotated[Count, "frames that a convolution sees, an odd number"]
Strides = Annotated[list[Count], "factors by which strided convolutions shorten the sequence; []: it keeps its length"]
Width = Annotated[Count, "channels of the convolutions"]
Blocks = Annotated[Natural, "residual blocks of two convolutions"]
Normalisation = Literal["none", "instance", "adaptive"]
Mels = Annotated[Count, "mel bands of a frame"]


def frame_mask(length: Tensor, n_frames: int) -> Tensor:
    """Return 1 at the first `length` (B,) of `n_frames` frames and 0 after them, (B, 1, T) float32."""
    return (torch.arange(n_frames, device=length.device) < length[:, None])[:, None].float()


def instance_norm(x: Tensor, mask: Tensor) -> Tensor:
    """Return x (B, C, T) with mean 0 and variance 1 in each channel of each sequence, over its own frames."""
    x, n_frames = x.float(), mask.sum(2, keepdim=True)
    centered = (x - x.sum(2, keepdim=True) / n_frames) * mask  # the padding of x is 0
    variance = centered.square().sum(2, keepdim=True) / n_frames
    return centered * (variance + NORM_EPSILON).rsqrt()


class MaskedConv(nn.Conv1d):
    """Convolution that leaves 0 at the padding: (B, C, T), (B, 1, T) -> (B, C', ceil(T / stride)).

    The mask of its outputs is `mask[..., ::stride]`.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1):
        if kernel % 2 == 0:
            raise InputError(f"A kernel of {kernel} frames has no middle: give an odd number.")
        super().__init__(n_in, n_out, kernel, stride, padding=kernel // 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Return the convolution of x, which must be 0 at the padding."""
        return super().forward(x) * mask[..., :: self.stride[0]]


class Norm(nn.Module):
    """Normalisation in a convolutional layer: none, instance, or adaptive instance normalisation.

    Adaptive: mean and standard deviation of each channel are linear functions of a condition (arXiv 1703.06868, eq. 8).
    """

    def __init__(self, channels: int, norm: Normalisation, condition: int = 0):
        super().__init__()
        self.norm = norm
        self.style = nn.Linear(condition, 2 * channels) if norm == "adaptive" else None

    def forward(self, x: Tensor, mask: Tensor, condition: Tensor | None) -> Tensor:
        """Return x (B, C, T), normalised; `condition` is (B, S)."""
        if self.norm == "none":
            return x
        x = instance_norm(x, mask)
        if self.style is None or condition is None:
            return x
        scale, shift = self.style(condition)[..., None].chunk(2, 1)  # (B, C, 1)
        return ((1 + scale) * x + shift) * mask


class ConvLayer(nn.Module):
    """Convolution, normalisation, ReLU."""

    def __init__(
        self, n_in: int, n_out: int, kernel: int, stride: int = 1, norm: Normalisation = "none", condition: int = 0
    ):
        super().__init__()
        self.conv = MaskedConv(n_in, n_out, kernel, stride)
        self.norm = Norm(n_out, norm, condition)
        self.stride = stride

    def forward(self, x: Tensor, mask: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return (B, C', ceil(T / stride)) of x (B, C, T)."""
        return self.norm(self.conv(x, mask), mask[..., :: self.stride], condition).relu()


class ConvBlock(nn.Module):
    """Residual block of two layers: (B, C, T) -> (B, C, T)."""

    def __init__(self, channels: int, kernel: int, norm: Normalisation = "none", condition: int = 0):
        super().__init__()
        self.first = ConvLayer(channels, channels, kernel, 1, norm, condition)
        self.second = ConvLayer(channels, channels, kernel, 1, norm, condition)

    def forward(self, x: Tensor, mask: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return x plus the output of the layers."""
        return x + self.second(self.first(x, mask, condition), mask, condition)


class FrameEncoder(nn.Module):
    """Encoder of frames: (B, T, n_mels) -> (B, ceil(T / stride), latent), where stride is the product of `strides`."""

    def __init__(
        self,
        n_mels: Mels,
        latent: Annotated[Count, "numbers in a step of the code"],
        width: Width = 128,
        blocks: Blocks = 2,
        kernel: Kernel = 5,
        strides: Strides | None = None,
        norm: Annotated[
            Literal["none", "instance"], "instance: removes each channel's mean and scale over an utterance"
        ] = "none",
    ):
        super().__init__()
        self.n_mels, self.latent, self.strides = n_mels, latent, list(strides or [])
        layers = [ConvLayer(n_mels, width, kernel, 1, norm)]
        layers += [ConvLayer(width, width, kernel, stride, norm) for stride in self.strides]
        self.down = nn.ModuleList(layers)
        self.blocks = nn.ModuleList(ConvBlock(width, kernel, norm) for _ in range(blocks))
        self.to_code = MaskedConv(width, latent, 1)

    @property
    def stride(self) -> int:
        """Frames in a step of the code."""
        return math.prod(self.strides)

    def forward(self, frames: Tensor, length: Tensor) -> Tensor:
        """Encode frames of which the first `length` (B,) count; the code is 0 after ceil(length / stride) steps."""
        mask = frame_mask(length, frames.shape[1])
        x = frames.mT * mask
        for layer, stride in zip(self.down, (1, *self.strides), strict=True):
            x, mask = layer(x, mask), mask[..., :: stride]
        for block in self.blocks:
            x = block(x, mask)
        return self.to_code(x, mask).mT


class StepClassifier(FrameEncoder):
    """Classifier of each step of a code: (B, L, inputs) -> logits (B, L, classes)."""

    def __init__(
        self,
        inputs: Annotated[Count, "numbers in a step of the code"],
        classes: Annotated[Count, "number of classes"],
        width: Width = 64,
        blocks: Blocks = 1,
        kernel: Kernel = 5,
    ):
        super().__init__(inputs, classes, width, blocks, kernel)
        self.inputs, self.classes = inputs, classes


class FrameDecoder(nn.Module):
    """Decoder of frames, given a vector of the voice: (B, ceil(T / stride), latent), (B, voice) -> (B, T, n_mels).

    voice_enters=norm: by adaptive instance normalisation in every layer; input: beside every step of the code.
    """

    def __init__(
        self,
        n_mels: Mels,
        latent: Annotated[Count, "numbers in a step of the code"],
        voice: Annotated[Count, "numbers in the vector of a voice"],
        width: Width = 128,
        blocks: Blocks = 2,
        kernel: Kernel = 5,
        strides: Strides | None = None,
        voice_enters: Annotated[
            Literal["norm", "input"], "norm: by adaptive instance normalisation in every layer; input: beside the code"
        ] = "input",
    ):
        super().__init__()
        self.n_mels, self.latent, self.voice, self.strides = n_mels, latent, voice, list(strides or [])
        self.voice_enters = voice_enters
        norm: Normalisation = "adaptive" if voice_enters == "norm" else "none"
        n_in = latent if voice_enters == "norm" else latent + voice
        self.first = ConvLayer(n_in, width, kernel, 1, norm, voice)
        self.up = nn.ModuleList(ConvLayer(width, width, kernel, 1, norm, voice) for _ in self.strides)
        self.blocks = nn.ModuleList(ConvBlock(width, kernel, norm, voice) for _ in range(blocks))
        self.to_frames = MaskedConv(width, n_mels, 1)

    def forward(self, code: Tensor, voice: Tensor, length: Tensor, n_frames: int) -> Tensor:
        """Decode `n_frames` frames, of which the first `length` (B,) count; the others are 0."""
        masks = [frame_mask(length, n_frames)]
        for stride in self.strides:
            masks.append(masks[-1][..., ::stride])
        x, mask = code.mT * masks[-1], masks.pop()
        if self.voice_enters == "input":
            x = torch.cat([x, voice[..., None] * mask], 1)
        x = self.first(x, mask, voice)
        for layer, stride in zip(self.up, reversed(self.strides), strict=True):
            mask = masks.pop()
            x = layer(x.repeat_interleave(stride, 2)[..., : mask.shape[2]] * mask, mask, voice)
        for block in self.blocks:
            x = block(x, mask, voice)
        return self.to_frames(x, mask).mT


class VoiceEncoder(nn.Module):
    """Encoder of a voice: frames of any length -> one vector, (B, R, n_mels) -> (B, size)."""

    def __init__(
        self,
        n_mels: Mels,
        size: Annotated[Count, "numbers in the vector of a voice"],
        width: Width = 64,
        blocks: Blocks = 1,
        kernel: Kernel = 5,
        pooling: Annotated[
            Literal["mean", "attention"], "how frames become one vector; attention: a mean with learned weights"
        ] = "mean",
    ):
        super().__init__()
        self.n_mels, self.size = n_mels, size
        self.first = ConvLayer(n_mels, width, kernel)
        self.blocks = nn.ModuleList(ConvBlock(width, kernel) for _ in range(blocks))
        self.attention = nn.Linear(width, 1) if pooling == "attention" else None
        self.to_voice = nn.Linear(width, size)

    def forward(self, frames: Tensor, length: Tensor) -> Tensor:
        """Return the vector of the voice in the first `length` (B,) frames."""
        mask = frame_mask(length, frames.shape[1])
        x = self.first(frames.mT * mask, mask)
        for block in self.blocks:
            x = block(x, mask)
        return self.to_voice(self._pool(x, mask))

    def _pool(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the mean of x (B, C, R) over its own frames, (B, C)."""
        if self.attention is None:
            return x.sum(2) / mask.sum(2)
        scores = self.attention(x.mT).float().mT.masked_fill(mask == 0, -torch.inf)  # (B, 1, R)
        return (x * functional.softmax(scores, 2)).sum(2)


class SpeakerTable(nn.Embedding):
    """Table with a learned vector for each speaker of the training data: (B,) -> (B, size)."""

    def __init__(
        self,
        n_speakers: Annotated[Count, "speakers of the training data"],
        size: Annotated[Count, "numbers in the vector of a voice"],
    ):
        super().__init__(n_speakers, size)
        self.size = size
