"""Image codec: images -> discrete codes -> the images that a finished run reconstructs, bit by bit."""

import hashlib
import json
import zlib

import numpy as np
from omegaconf import OmegaConf

from ssl_cli.commands.finished import WEIGHTS, Finished
from ssl_cli.commands.reconstruct.finished import ImageRun, map_full_batches
from ssl_cli.commands.reconstruct.sslz import FREQUENCY_TOTAL, frequencies
from ssl_cli.files import sha256_of
from ssl_cli.methods.protocols import DecodesCodes
from ssl_cli.models.images import to_uint8

FINGERPRINT_BYTES = 16


class ImageCodec:
    """What a .sslz file needs of a run: the `counts` (L, K) of codes in training, and a `fingerprint` of the model.

    Raises InputError if the run's model has no codes.
    """

    def __init__(self, run: ImageRun):
        run.require(DecodesCodes, "decode discrete codes")
        self.run, self.name = run, f"model={run.config.choices.model} of {run.folder}"
        self.counts: np.ndarray = run.model.code_counts.numpy()  # (L, K)
        self.frequencies = frequencies(self.counts)

    @property
    def fingerprint(self) -> bytes:
        """Return the model's fingerprint."""
        return model_fingerprint(self.run)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the images (N, C, H, W) uint8 of codes (N, L) int64: the same that `reconstruct` returns."""
        model = self.run.model
        images = map_full_batches(lambda batch: to_uint8(model.decode_codes(batch)), codes)
        return images.reshape(-1, *self.run.reader.shape)

    def ideal_bits(self, codes: np.ndarray) -> float:
        """Return the cost of codes (N, L) by the training frequencies, without rounding to whole bytes."""
        code_frequencies = np.take_along_axis(self.frequencies, codes.T, axis=1)  # (L, N)
        return float(np.log2(FREQUENCY_TOTAL / code_frequencies).sum())


def model_fingerprint(run: Finished) -> bytes:
    """Return a hash of a run's weights and its model's config, which determine codes and what they decode to."""
    weights = sha256_of(run.folder / WEIGHTS).hex()
    model = {"weights": weights, "model": OmegaConf.to_container(run.config.model)}
    return hashlib.sha256(json.dumps(model, sort_keys=True).encode()).digest()[:FINGERPRINT_BYTES]


def checksum(images: np.ndarray, previous: int = 0) -> int:
    """Return the CRC-32 of images (N, C, H, W) uint8; `previous` is that of the images before them."""
    return zlib.crc32(images.tobytes(), previous)


def entropy_bits(codes: np.ndarray) -> float:
    """Return the cost of codes (N, L) in bits by their own frequencies, not counting those frequencies."""
    counts_by_place = (np.unique(place, return_counts=True)[1] for place in codes.T)
    return float(sum((counts * np.log2(len(codes) / counts)).sum() for counts in counts_by_place))
