"""Voice conversion by nearest neighbours: each frame becomes the mean of the most similar frames of another voice."""

from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, Natural
from ssl_cli.methods.speech.speech_autoencoder import Batch, FrameLoss, Window, frame_error
from ssl_cli.models.conv1d import frame_mask, instance_norm


class NearestFrames(nn.Module):
    """kNN-VC (arXiv 2305.18975) on log-mels: nothing is trained, so it reaches any voice of which there are recordings.

    A frame's content is a window of frames around it, normalised over its utterance, which removes most of the voice.
    It becomes the mean of those `neighbours` frames of `reference` whose content has the smallest cosine distance.
    """

    reads: ClassVar[tuple[str, ...]] = ("frames", "length", "reference", "reference_length")
    hears_reference: ClassVar[bool] = True
    reference_s: ClassVar[float] = 180.0
    stride: ClassVar[int] = 1

    def __init__(
        self,
        neighbours: Annotated[Count, "frames of the other voice that make a frame"] = 4,
        context: Annotated[Natural, "frames on either side that are compared with a frame"] = 3,
        window: Window = 64,
        loss: FrameLoss = "absolute",
    ):
        super().__init__()
        self.neighbours, self.context, self.window, self.loss = neighbours, context, window, loss

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of frames that are made of those of `reference`."""
        return {"loss": frame_error(self.convert(batch), batch, self.loss)}

    def content(self, batch: Batch) -> Tensor:
        """Return the normalised frames around each frame, (B, T, (2 * context + 1) * M); 0 at the padding."""
        return self._windows(batch["frames"], batch["length"])

    def speaker_code(self, batch: Batch) -> Tensor:
        """Return the mean and the standard deviation of the frames in `reference`, (B, 2 * M)."""
        mask = frame_mask(batch["reference_length"], batch["reference"].shape[1]).mT  # (B, R, 1)
        mean = (batch["reference"] * mask).sum(1) / mask.sum(1)  # (B, M)
        squared = ((batch["reference"] - mean[:, None]) * mask).square().sum(1) / mask.sum(1)
        return torch.cat([mean, squared.sqrt()], 1)

    def reconstruct_frames(self, batch: Batch) -> Tensor:
        """Return the frames (B, T, M) made of those of `reference`, another utterance of the speaker."""
        return self.convert(batch)

    def convert(self, batch: Batch) -> Tensor:
        """Return what `frames` say, made of the frames of `reference`, (B, T, M)."""
        content = functional.normalize(self.content(batch), dim=2)
        reference = functional.normalize(self._windows(batch["reference"], batch["reference_length"]), dim=2)
        converted = torch.zeros_like(batch["frames"])
        lengths = zip(batch["length"].tolist(), batch["reference_length"].tolist(), strict=True)
        for row, (length, n_reference) in enumerate(lengths):  # one by one: similarities take T x R numbers
            similarity = content[row, :length] @ reference[row, :n_reference].T  # (T, R)
            nearest = similarity.topk(min(self.neighbours, n_reference), dim=1).indices  # (T, K)
            converted[row, :length] = batch["reference"][row, nearest].mean(1)
        return converted

    def _windows(self, frames: Tensor, length: Tensor) -> Tensor:
        """Return each frame with `context` normalised frames on either side, (B, T, (2 * context + 1) * M)."""
        mask = frame_mask(length, frames.shape[1])
        x = functional.pad(instance_norm(frames.mT * mask, mask).mT, (0, 0, self.context, self.context))
        windows = x.unfold(1, 2 * self.context + 1, 1)  # (B, T, M, 2 * context + 1)
        return windows.flatten(2) * mask.mT
