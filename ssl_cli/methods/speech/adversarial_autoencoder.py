"""Adversarial voice conversion: a judge tries to hear the speaker in the code, and the encoder to prevent it."""

from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Natural, NonNegative
from ssl_cli.errors import InputError
from ssl_cli.methods.speech.speech_autoencoder import Batch, FrameLoss, SpeechAutoencoder, Window, frame_error
from ssl_cli.models.conv1d import FrameDecoder, FrameEncoder, SpeakerTable, StepClassifier, frame_mask


class AdversarialSpeechAutoencoder(SpeechAutoencoder):
    """Error of the rebuilt frames, minus that of a judge of speakers (Chou et al., arXiv 1804.02812, stage 1, eq. 1-3).

    In turn, the judge learns to name the speaker from each step of the code, and the encoder to leave it at a loss. Of
    the paper's two stages it has the first: no second decoder sharpens the frames as the generator of a GAN.
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        decoder: FrameDecoder,
        voices: SpeakerTable,
        judge: StepClassifier,
        window: Window = 64,
        loss: FrameLoss = "absolute",
        adversary: Annotated[NonNegative, "weight of the judge's cross entropy, which the encoder makes large"] = 0.1,
        warmup_batches: Annotated[Natural, "batches over which that weight rises from 0"] = 0,
    ):
        super().__init__(encoder, decoder, voices, window, loss)
        sizes = ("inputs", judge.inputs, encoder.latent), ("classes", judge.classes, voices.num_embeddings)
        for name, has, expected in sizes:
            if has != expected:
                raise InputError(f"model.judge.{name} must be {expected}, as the model's other parts, not {has}.")
        self.judge, self.adversary, self.warmup_batches = judge, adversary, warmup_batches

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the weights of the two turns, see `Alternates`."""
        judge = list(self.judge.parameters())
        own = {id(weight) for weight in judge}
        return {"judge": judge, "autoencoder": [weight for weight in self.parameters() if id(weight) not in own]}

    def losses(self, batch: Mapping[str, Tensor], turn: str) -> dict[str, Tensor]:
        """Return the judge's cross entropy (nats a step), or the loss of the autoencoder and its parts."""
        batch = dict(batch)
        if turn == "judge":
            with torch.no_grad():
                code = self.content(batch)
            return {"loss": self._cross_entropy(code, batch)}
        code = self.content(batch)
        error = frame_error(self.decode(code, batch, batch["frames"].shape[1]), batch, self.loss)
        heard = self._cross_entropy(code, batch)
        return {"loss": error - self._weight(batch) * heard, "error": error, "speaker_cross_entropy": heard}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the autoencoder."""
        return self.losses(batch, "autoencoder")

    def _cross_entropy(self, code: Tensor, batch: Batch) -> Tensor:
        n_steps = -(-batch["length"] // self.stride)
        is_own = frame_mask(n_steps, code.shape[1])[:, 0] > 0  # (B, L)
        logits = self.judge(code, n_steps)[is_own].float()  # (N, speakers)
        return functional.cross_entropy(logits, batch["speaker"][:, None].expand_as(is_own)[is_own])

    def _weight(self, batch: Batch) -> float:
        """Return the adversary's weight; `k` is the number of a training batch."""
        if not (self.training and self.warmup_batches):
            return self.adversary
        return self.adversary * min(1.0, int(batch["k"]) / self.warmup_batches)
