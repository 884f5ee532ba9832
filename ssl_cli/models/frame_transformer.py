"""Transformer over frames of speech: utterances of any length, padded to the longest of a batch."""

from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from ssl_cli.config.types import Count, Range
from ssl_cli.models.blocks import block_shape
from ssl_cli.models.encoder import (
    ActivationOption,
    AttentionDropout,
    Dropout,
    Encoder,
    Feedforward,
    Heads,
    Layers,
    Norm,
    NormEps,
    PositionsOption,
    SizeOption,
    layers_and_width,
)

MARGIN_DIVISOR = 4  # a quarter of the context is read on each side of a piece of a long utterance


class FrameTransformer(Encoder):
    """Transformer from frames (B, T, M) to a vector per frame: an encoder or, if `causal`, a decoder.

    A frame sees only frames of its own utterance, those before `length`. An utterance longer than the context is read
    in overlapping pieces, each with a margin on both sides. Raises InputError if the sizes do not fit.
    """

    normalization: ClassVar[str] = "speaker"  # of the data, as in pretraining
    looks_at_neighbours: ClassVar[bool] = False  # the frames beside a frame are almost equal to it
    project: nn.Linear

    def __init__(
        self,
        n_mels: Annotated[int, Range(1, 4096), "numbers in a frame"],
        context: Annotated[int, Range(8, 131_072), "frames it reads at once"],
        size: SizeOption = None,
        layers: Layers = None,
        width: Annotated[Count | None, "numbers in a frame's vector; null: those of the size"] = None,
        heads: Heads = None,
        feedforward: Feedforward = None,
        positions: PositionsOption = "rotary",
        norm: Norm = "pre",
        causal: Annotated[bool, "true: a frame does not see those after it"] = False,
        activation: ActivationOption = "gelu",
        dropout: Dropout = 0.0,
        attention_dropout: AttentionDropout = 0.0,
        norm_eps: NormEps = 1e-5,
    ):
        layers, width = layers_and_width(size, layers, width)
        rest: dict[str, Any] = {"norm": norm, "norm_eps": norm_eps, "activation": activation}
        rest |= {"dropout": dropout, "attention_dropout": attention_dropout}
        shape = block_shape(width, heads, feedforward, positions, **rest)
        super().__init__({"project": nn.Linear(n_mels, width)}, context, layers, positions, causal, shape)
        self.n_mels = n_mels
        self.mask_vector = nn.Parameter(torch.zeros(width))  # in place of a masked frame's vector

    @property
    def options(self) -> dict[str, Any]:
        """Constructor arguments of a network of the same shape."""
        return {"n_mels": self.n_mels, **self.shape_options}

    def forward(self, frames: Tensor, length: Tensor, masked: Tensor | None = None) -> Tensor:
        """Return the hidden states (B, T, C) of frames (B, T, M), 0 after `length` (B,).

        `masked` (B, T) bool are frames that it does not see.
        """
        return self.hidden_layers(frames, length, masked)[-1]

    def hidden_layers(self, frames: Tensor, length: Tensor, masked: Tensor | None = None) -> list[Tensor]:
        """Return the vectors (B, T, C) of the frames before the first block and after each, 0 after `length` (B,).

        The last are those after the last norm.
        """
        is_long = length > self.context
        if frames.shape[1] <= self.context or not is_long.any():
            layers = self._read(frames[:, : self.context], length, masked)
            return [nn.functional.pad(x, (0, 0, 0, frames.shape[1] - x.shape[1])) for x in layers]
        out = [frames.new_zeros(*frames.shape[:2], self.width) for _ in range(self.layers + 1)]
        for rows, read in ((~is_long, self._read), (is_long, self._read_in_pieces)):
            if rows.any():
                of_rows = read(frames[rows], length[rows], None if masked is None else masked[rows])
                for whole, x in zip(out, of_rows, strict=True):
                    whole[rows, : x.shape[1]] = x.to(whole.dtype)
        return out

    def _read(self, frames: Tensor, length: Tensor, masked: Tensor | None = None) -> list[Tensor]:
        """Return the vectors of each layer for frames that fit into the context; the others are cut off."""
        frames = frames[:, : self.context]
        n_frames = frames.shape[1]
        place, position = torch.arange(n_frames, device=frames.device), slice(0, n_frames)
        valid = place < length[:, None]  # (B, T)
        x = self.project(frames)
        if masked is not None:
            x = torch.where(masked[:, :n_frames, None], self.mask_vector.to(x.dtype), x)
        x = self.normalize_and_drop(self.add_positions(x, position))
        layers = [x]
        # No valid frame sees the padding of a causal network: it is later.
        visible = None if self.causal else valid[:, None, None, :]
        rotation, mask = self.rotation_and_mask(x, position, visible, self.causal)
        for block in self.blocks:
            x = block(x, mask, self.causal, rotation)
            layers.append(x)
        if self.last_norm is not None:
            layers[-1] = self.last_norm(x)
        return [layer * valid[..., None] for layer in layers]

    def _read_in_pieces(self, frames: Tensor, length: Tensor, masked: Tensor | None = None) -> list[Tensor]:
        """Return the vectors of each layer for frames longer than the context."""
        margin = self.context // MARGIN_DIVISOR
        step = self.context - 2 * margin
        pieces = []
        for start in range(0, frames.shape[1], step):
            first, stop = max(0, start - margin), start + step + margin
            # A row that has ended keeps one frame of padding: a softmax over nothing would be NaN.
            left = (length - first).clamp(min=1)
            layers = self._read(frames[:, first:stop], left, None if masked is None else masked[:, first:stop])
            pieces.append([x[:, start - first : start - first + step] for x in layers])
        valid = torch.arange(frames.shape[1], device=frames.device) < length[:, None]
        return [torch.cat(parts, dim=1) * valid[..., None] for parts in zip(*pieces, strict=True)]
