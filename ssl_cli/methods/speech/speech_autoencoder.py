"""Speech autoencoder: rebuild log-mel frames from a code, in the voice of a speaker.

Shapes: B utterances, T frames (the longest), M mel bands, L = ceil(T / stride) steps of the code. A batch has `frames`
(B, T, M), 0 at the padding; `length` (B,), `speaker` (B,) and, for some methods, `reference` (B, R, M) with
`reference_length` (B,): another utterance of the speaker.
"""

from typing import Annotated, ClassVar, Literal

from torch import Tensor, nn

from ssl_cli.config.types import Count
from ssl_cli.errors import InputError
from ssl_cli.models.conv1d import FrameDecoder, FrameEncoder, SpeakerTable, VoiceEncoder, frame_mask

Batch = dict[str, Tensor]
Window = Annotated[Count, "frames of an utterance that a training batch has, from a random place"]
FrameLoss = Annotated[Literal["absolute", "squared"], "error of a number of a frame"]


class SpeechAutoencoder(nn.Module):
    """Error between frames and their reconstruction from a code, with a decoder that knows the speaker.

    Nothing keeps the voice out of the code. So it rebuilds speech, and does not convert voices.
    """

    reads: ClassVar[tuple[str, ...]] = ("frames", "length", "speaker")
    hears_reference: ClassVar[bool] = False  # a voice is a number of the table, not a recording
    reference_s: ClassVar[float] = 0.0

    def __init__(
        self,
        encoder: FrameEncoder,
        decoder: FrameDecoder,
        voices: SpeakerTable | VoiceEncoder,
        window: Window = 64,
        loss: FrameLoss = "absolute",
    ):
        super().__init__()
        self.encoder, self.decoder, self.voices = encoder, decoder, voices
        self.window, self.loss, self.stride = window, loss, encoder.stride
        for name, has, expected in (
            ("latent", decoder.latent, encoder.latent),
            ("voice", decoder.voice, voices.size),
            ("strides", decoder.strides, encoder.strides),
        ):
            if has != expected:
                raise InputError(f"model.decoder.{name} must be {expected}, as the model's other parts, not {has}.")

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss."""
        rebuilt = self.reconstruct_frames(batch)
        return {"loss": frame_error(rebuilt, batch, self.loss)}

    def content(self, batch: Batch) -> Tensor:
        """Return the code of what is said, (B, L, latent)."""
        return self.encoder(batch["frames"], batch["length"])

    def speaker_code(self, batch: Batch) -> Tensor:
        """Return the vector of each row's speaker, (B, size). Raises InputError for a speaker not in the table."""
        assert isinstance(self.voices, SpeakerTable)
        speaker = batch["speaker"]
        if not self.training and bool(((speaker < 0) | (speaker >= self.voices.num_embeddings)).any()):
            raise InputError("This model knows only the speakers of its training data: name one of them.")
        return self.voices(speaker)

    def decode(self, code: Tensor, batch: Batch, n_frames: int) -> Tensor:
        """Return `n_frames` frames (B, T, M) of a code (B, L, latent), in the voice of the batch's speaker."""
        return self.decoder(code, self.speaker_code(batch), batch["length"], n_frames)

    def reconstruct_frames(self, batch: Batch) -> Tensor:
        """Return the frames (B, T, M) rebuilt from their code."""
        return self.decode(self.content(batch), batch, batch["frames"].shape[1])

    def convert(self, batch: Batch) -> Tensor:
        """Return what `frames` say in the voice of the batch's speaker, (B, T, M)."""
        return self.reconstruct_frames(batch)


def frame_error(rebuilt: Tensor, batch: Batch, loss: str) -> Tensor:
    """Return the mean error of the numbers of all frames within their row's length."""
    error = rebuilt.float() - batch["frames"]  # (B, T, M)
    error = error.abs() if loss == "absolute" else error.square()
    mask = frame_mask(batch["length"], error.shape[1]).mT  # (B, T, 1)
    return (error * mask).sum() / (mask.sum() * error.shape[2])
