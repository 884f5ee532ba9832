"""AutoVC: an autoencoder whose code is too narrow for the voice."""

from typing import Annotated

from torch import Tensor

from ssl_cli.config.types import NonNegative
from ssl_cli.methods.speech.speech_autoencoder import Batch, FrameLoss, SpeechAutoencoder, Window, frame_error
from ssl_cli.models.conv1d import FrameDecoder, FrameEncoder, SpeakerTable, frame_mask


class AutoVC(SpeechAutoencoder):
    """Error of the rebuilt frames, plus that of the code of the rebuilt frames (Qian et al., arXiv 1905.05879, eq. 6).

    The decoder gets the voice from a table. So the code need not hold it, and a code that is narrow enough in time
    (`strides`) and width (`latent`) can't. Unlike in the paper, the content encoder does not get the voice as well:
    it works for speakers that the table does not have.
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        decoder: FrameDecoder,
        voices: SpeakerTable,
        window: Window = 64,
        loss: FrameLoss = "squared",
        content_weight: Annotated[NonNegative, "weight of the error of the code of the rebuilt frames"] = 1.0,
    ):
        super().__init__(encoder, decoder, voices, window, loss)
        self.content_weight = content_weight

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss, and its parts: `error` of the frames, and `content` error of their code."""
        code, length = self.content(batch), batch["length"]
        rebuilt = self.decode(code, batch, batch["frames"].shape[1])
        again = self.encoder(rebuilt, length)
        mask = frame_mask(-(-length // self.stride), code.shape[1]).mT  # (B, L, 1)
        content = ((again - code).float().abs() * mask).sum() / (mask.sum() * code.shape[2])
        error = frame_error(rebuilt, batch, self.loss)
        return {"loss": error + self.content_weight * content, "error": error, "content": content}
