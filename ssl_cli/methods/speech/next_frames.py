"""GPT over frames of speech: predict the frame a few steps on."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count
from ssl_cli.errors import InputError
from ssl_cli.methods.speech.frame_protocols import FramePredictions
from ssl_cli.models.frame_transformer import FrameTransformer

Batch = Mapping[str, Tensor]


class NextFrames(nn.Module):
    """Autoregressive predictive coding: predict the frame `frames_ahead` on from all so far (APC: arXiv 1904.03240).

    The loss (eq. 1) is the mean absolute difference over all numbers that are predicted. Raises InputError if the
    network is not causal.
    """

    reads: ClassVar[tuple[str, ...]] = ("frames", "length")
    is_matmul_bound: ClassVar[bool] = True
    no_decay_on_vectors: ClassVar[bool] = True
    normalization: ClassVar[str] = "speaker"  # of the data: with global, vectors hold voices more than words

    def __init__(
        self,
        network: Annotated[FrameTransformer, "a causal transformer"],
        frames_ahead: Annotated[Count, "how many frames on is the one that is predicted"] = 3,
    ):
        super().__init__()
        for fault in self.option_faults({"network": network.options}):
            raise InputError(f"model.{fault}")
        self.network, self.frames_ahead, self.window = network, frames_ahead, network.context
        self.head = nn.Linear(network.width, network.n_mels)

    @staticmethod
    def option_faults(options: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is wrong with options together; `check` calls it before any data is read."""
        if (options.get("network") or {}).get("causal") is False:
            yield "network.causal must be true for this model: it predicts later frames."

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean absolute difference; 0 if no utterance of the batch is long enough to predict a frame."""
        targets = batch["frames"][:, self.frames_ahead :]  # (B, T - n, M)
        difference = (self.predict(batch)[:, : targets.shape[1]] - targets).abs().mean(2)
        place = torch.arange(targets.shape[1], device=targets.device)
        valid = place < batch["length"][:, None] - self.frames_ahead
        return {"loss": (difference * valid).sum() / valid.sum().clamp(min=1)}

    def predict(self, batch: Batch) -> Tensor:
        """Return for each frame the prediction (B, T, M) of the one `frames_ahead` on."""
        return self.head(self.network(batch["frames"], batch["length"])).float()

    def predict_frames(self, batch: Batch) -> FramePredictions:
        """Return the prediction of each frame from those `frames_ahead` before it; none of the first frames."""
        frames = functional.pad(self.predict(batch), (0, 0, self.frames_ahead, 0))[:, : batch["frames"].shape[1]]
        place = torch.arange(frames.shape[1], device=frames.device)
        return FramePredictions((place >= self.frames_ahead) & (place < batch["length"][:, None]), frames)

    def hidden_layers(self, batch: Batch) -> list[Tensor]:
        """Return the vectors (B, T, C) of the frames before the first block and after each."""
        return self.network.hidden_layers(batch["frames"], batch["length"])
