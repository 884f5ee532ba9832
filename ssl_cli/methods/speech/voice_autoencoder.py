"""Voice autoencoder: take apart what is said and who says it, by instance normalisation."""

from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from ssl_cli.config.types import NonNegative, Positive
from ssl_cli.errors import InputError
from ssl_cli.methods.speech.speech_autoencoder import Batch, FrameLoss, SpeechAutoencoder, Window, frame_error
from ssl_cli.models.conv1d import FrameDecoder, FrameEncoder, VoiceEncoder


class VoiceAutoencoder(SpeechAutoencoder):
    """AdaIN-VC (Chou et al., arXiv 1904.05742): error of the rebuilt frames, plus a KL term of the code (eq. 3 to 5).

    Instance normalisation in the content encoder removes what does not change over an utterance: the voice. The decoder
    gets the voice back from a second encoder, by adaptive instance normalisation. That encoder hears *another*
    utterance of the same speaker: if it heard the same one (the published recipe), the word of a short recording
    would pass through it. With `warp`, the content encoder hears the frames of a speaker whose vocal tract
    is shorter or longer (FreeVC's augmentation, arXiv 2210.15418, sec. 2.3); the target stays as it is.
    """

    reads: ClassVar[tuple[str, ...]] = ("frames", "length", "reference", "reference_length")
    hears_reference: ClassVar[bool] = True
    reference_s: ClassVar[float] = 10.0

    def __init__(
        self,
        encoder: FrameEncoder,
        decoder: FrameDecoder,
        voices: VoiceEncoder,
        window: Window = 64,
        loss: FrameLoss = "absolute",
        speaker_hears: Annotated[
            Literal["other", "same"], "utterance from which the voice is taken in training: another one, or the same"
        ] = "other",
        warp: Annotated[
            list[Positive] | None, "smallest and largest factor that stretches the frequencies of the input; null: none"
        ] = None,
        kl: Annotated[NonNegative, "weight of the KL term of the code, whose noise has variance 1; 0: no noise"] = 0.0,
    ):
        super().__init__(encoder, decoder, voices, window, loss)
        if warp is not None and (len(warp) != 2 or warp[0] > warp[1]):
            raise InputError(f"model.warp must be two factors, the smaller first, such as [0.85, 1.18], not {warp}.")
        self.speaker_hears, self.warp, self.kl = speaker_hears, warp, kl

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss, and its parts: `error` and `kl`."""
        frames, length = batch["frames"], batch["length"]
        if self.speaker_hears == "same":
            batch = batch | {"reference": frames, "reference_length": length}
        code = self.encoder(self._warped(frames), length)
        noisy = code + torch.randn_like(code) if self.training and self.kl else code
        rebuilt = self.decode(noisy, batch, frames.shape[1])
        error = frame_error(rebuilt, batch, self.loss)
        if not self.kl:
            return {"loss": error}
        n_steps = (length.float() / self.stride).ceil().sum()
        kl = 0.5 * code.float().square().sum() / (n_steps * code.shape[2])
        return {"loss": error + self.kl * kl, "error": error, "kl": kl}

    def speaker_code(self, batch: Batch) -> Tensor:
        """Return the vector of the voice in `reference`, (B, size)."""
        return self.voices(batch["reference"], batch["reference_length"])

    def collapse_advice(self, sign: str, enough: int) -> str:
        """Return what to try against a sign of collapse, see `AdvisesOnCollapse`."""
        if sign != "ignored_voice":
            return ""
        return "more steps (trainer.max_steps), or a narrower code (model.encoder.latent)"

    def _warped(self, frames: Tensor) -> Tensor:
        """Return frames whose frequencies are stretched by a random factor a row, in training."""
        if self.warp is None or not self.training:
            return frames
        low, high = self.warp
        return warp_frequencies(frames, torch.empty(len(frames), device=frames.device).uniform_(low, high))


def warp_frequencies(frames: Tensor, factor: Tensor) -> Tensor:
    """Return frames (B, T, M) whose band m is what was at m / factor (B,), between bands by linear interpolation."""
    n_bands = frames.shape[2]
    place = (torch.arange(n_bands, device=frames.device) / factor[:, None]).clamp(max=n_bands - 1)  # (B, M)
    below = place.floor().long().clamp(max=max(0, n_bands - 2))
    share = (place - below)[:, None]  # (B, 1, M)
    index = below[:, None].expand_as(frames)
    upper = (index + 1).clamp(max=n_bands - 1)
    return frames.gather(2, index) * (1 - share) + frames.gather(2, upper) * share
