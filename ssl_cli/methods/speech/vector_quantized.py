"""Speech VQ-VAE: discrete units of speech, and a decoder that speaks them in the voice of a speaker."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ssl_cli.config.types import Count, Natural, Share
from ssl_cli.errors import InputError
from ssl_cli.methods.speech.speech_autoencoder import Batch, FrameLoss, SpeechAutoencoder, Window, frame_error
from ssl_cli.models.conv1d import FrameDecoder, FrameEncoder, SpeakerTable, frame_mask
from ssl_cli.models.quantizer import Quantizer, perplexity

UNQUANTIZED_SHARE = 1 / 3  # of the batches, by default
MAX_KMEANS_BATCHES = 50


class SpeechVQVAE(SpeechAutoencoder):
    """Error of frames rebuilt from quantized codes, plus the quantizer's loss (arXiv 1711.00937, eq. 3; 1901.08810).

    For the first `quantize_after` batches the code is not quantized. Then the codebook starts from k-means over the
    codes of a batch: a codebook over the codes of an untrained encoder would be learned twice. Time jitter (1901.08810,
    sec. III-C) replaces a code by one of its neighbours, so that a unit lasts longer than a step. There is no
    instance normalisation, which erases phones with the voice: `normalization` says what the input should be instead.
    """

    normalization: ClassVar[str] = "speaker"  # of the data, for which it is made
    code_counts: Tensor
    is_quantized: Tensor

    def __init__(
        self,
        encoder: FrameEncoder,
        decoder: FrameDecoder,
        voices: SpeakerTable,
        quantizer: Quantizer,
        steps: Annotated[Count, "training batches of the run"],
        window: Window = 64,
        loss: FrameLoss = "absolute",
        jitter: Annotated[Share, "probability that a code is replaced by a neighbour, in training"] = 0.12,
        quantize_after: Annotated[
            Natural | None, "batches before codes are quantized; null: a third of the run's"
        ] = None,
    ):
        super().__init__(encoder, decoder, voices, window, loss)
        if (width := quantizer.vectors.shape[1]) != encoder.latent:
            raise InputError(f"model.quantizer.width={width} must be model.encoder.latent, {encoder.latent}.")
        self.quantizer, self.jitter, self.alphabet = quantizer, jitter, len(quantizer.vectors)
        self.quantize_after = int(steps * UNQUANTIZED_SHARE) if quantize_after is None else quantize_after
        self.register_buffer("is_quantized", torch.tensor(False))
        # How often each unit follows each other one; the last row: how often it is the first of an utterance.
        self.register_buffer("code_counts", torch.zeros(self.alphabet + 1, self.alphabet, dtype=torch.int64))
        self._eval_counts = torch.zeros(self.alphabet, dtype=torch.int64)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss, and its parts: `error` of the frames, and `quantization`."""
        code = self.encoder(batch["frames"], batch["length"])  # (B, L, D)
        n_steps = self.n_steps(batch["length"])  # (B,)
        quantization = code.new_zeros((), dtype=torch.float32)
        if self._quantizes(batch, code, n_steps):
            is_own = frame_mask(n_steps, code.shape[1])[:, 0] > 0  # (B, L)
            chosen, index, quantization = self.quantizer(code[is_own])
            code = torch.zeros_like(code, dtype=chosen.dtype).masked_scatter(is_own[..., None], chosen)
            if not self.training:
                self._eval_counts = self._eval_counts + torch.bincount(index, minlength=self.alphabet).cpu()
        if self.training and self.jitter:
            code = jittered(code, n_steps, self.jitter)
        error = frame_error(self.decode(code, batch, batch["frames"].shape[1]), batch, self.loss)
        return {"loss": error + quantization, "error": error, "quantization": quantization}

    def _quantizes(self, batch: Batch, code: Tensor, n_steps: Tensor) -> bool:
        """Return whether the codes of a batch are quantized; start the codebook if its time has come."""
        if not self.training or batch["k"] != self.quantize_after:
            return bool(self.is_quantized)
        is_own = frame_mask(n_steps, code.shape[1])[:, 0] > 0
        self.quantizer.init_from_kmeans(code[is_own].detach(), seed=int(torch.randint(2**31, ())))
        self.is_quantized.fill_(True)
        return True

    def n_steps(self, length: Tensor) -> Tensor:
        """Return the steps of the code of `length` frames, (B,)."""
        return -(-length // self.stride)

    def epoch_metrics(self) -> dict[str, float]:
        """Return the perplexity and the share of units in use since the last call; 0 before they are quantized."""
        counts, self._eval_counts = self._eval_counts, torch.zeros_like(self._eval_counts)
        in_use = bool(counts.any())
        return {
            "perplexity": perplexity(counts) if in_use else 0.0,
            "codes_used": float((counts > 0).double().mean()),
        }

    def fit_batches(self, batches: Iterable[Mapping[str, Tensor]], seed: int) -> None:
        """Count which unit follows which over all training rows; see `FitsBatches`.

        A run that ended before its codes were quantized gets a codebook now.
        """
        if not self.is_quantized:
            first = itertools.islice(batches, MAX_KMEANS_BATCHES)
            parts = [self._own_codes(self._on_device(batch)) for batch in first]
            self.quantizer.init_from_kmeans(torch.cat(parts), seed)
            self.is_quantized.fill_(True)
        self.code_counts.zero_()
        for batch in batches:
            of = self._on_device(batch)
            units, n_steps = self.units(of), self.n_steps(of["length"])
            for row, n in zip(units, n_steps.tolist(), strict=True):
                before = torch.cat([row.new_tensor([self.alphabet]), row[: n - 1]])
                self.code_counts.index_put_((before, row[:n]), torch.ones_like(before), accumulate=True)

    def _own_codes(self, batch: Batch) -> Tensor:
        """Return the codes of a batch without those of the padding, (N, D)."""
        code = self.encoder(batch["frames"], batch["length"])
        return code[frame_mask(self.n_steps(batch["length"]), code.shape[1])[:, 0] > 0]

    def _on_device(self, batch: Mapping[str, Tensor]) -> Batch:
        return {name: batch[name].to(self.is_quantized.device) for name in ("frames", "length")}

    # --- units ---

    def units(self, batch: Batch) -> Tensor:
        """Return the units of each row, (B, L) int64; 0 at the padding."""
        code = self.encoder(batch["frames"], batch["length"])
        unit = self.quantizer.nearest(code.flatten(0, 1)).view(code.shape[:2])
        return unit * frame_mask(self.n_steps(batch["length"]), code.shape[1])[:, 0].long()

    def unit_vectors(self) -> Tensor:
        """Return the vectors of the units, (alphabet, latent)."""
        return self.quantizer.look_up(torch.arange(self.alphabet, device=self.code_counts.device))

    def decode_units(self, units: Tensor, batch: Batch) -> Tensor:
        """Return the frames (B, T, M) of units (B, L), in the voice of the batch's speaker; T is the largest length."""
        n_frames = int(batch["length"].max())
        code = self.quantizer.look_up(units[:, : -(-n_frames // self.stride)])
        return self.decode(code, batch, n_frames)

    def content(self, batch: Batch) -> Tensor:
        """Return the vectors of the units, (B, L, latent); 0 at the padding."""
        mask = frame_mask(self.n_steps(batch["length"]), -(-batch["frames"].shape[1] // self.stride))
        return self.quantizer.look_up(self.units(batch)) * mask.mT

    def collapse_advice(self, sign: str, enough: int) -> str:
        """Return what to try against a sign of collapse, see `AdvisesOnCollapse`."""
        if sign == "constant_output":
            return "a smaller optim.lr, more steps (trainer.max_steps), or a wider network"
        if sign != "unused_codes":
            return ""
        reset = "" if self.quantizer.dead_code_threshold else "model.quantizer.dead_code_threshold=0.05, "
        return f"{reset}model.quantizer.num_codes={enough}, or a later model.quantize_after"


def jittered(code: Tensor, n_steps: Tensor, probability: float) -> Tensor:
    """Return codes (B, L, D) of which some are replaced by the one before or after them, within a row's `n_steps`.

    The first and the last step have one neighbour: half of their draws change nothing.
    """
    n_rows, n_codes, _ = code.shape
    draws = torch.rand(n_rows, n_codes, device=code.device)
    offset = (draws < probability / 2).long() - (draws > 1 - probability / 2).long()  # -1, 0 or 1
    place = torch.arange(n_codes, device=code.device) + offset  # (B, L)
    place = place.clamp(min=0).minimum((n_steps[:, None] - 1).clamp(min=0))
    place = torch.where(torch.arange(n_codes, device=code.device) < n_steps[:, None], place, n_codes - 1)
    return code.gather(1, place[..., None].expand_as(code))
