"""A finished run as a coder of images: images -> codes -> the same images that it reconstructs, byte by byte."""

import hashlib
import json
import zlib

import numpy as np
from omegaconf import OmegaConf

from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.commands.reconstruct.finished import ReconstructRun, in_batches
from ssl_cli.commands.reconstruct.sslz import TOTAL, frequencies
from ssl_cli.models.images import in_bytes

FINGERPRINT = 16  # bytes of it


class Coder:
    """What .sslz asks of a run: `counts` (L, K) of the training images' codes, place by place, and a `fingerprint`.

    Raises InputError where the run's model has no codes.
    """

    def __init__(self, run: ReconstructRun):
        run.need("decode_codes")
        self.run, self.name = run, f"model={run.config.choices.model} of {run.folder}"
        self.counts: np.ndarray = run.model.code_counts.numpy()  # (L, K)
        self.frequencies = frequencies(self.counts)

    @property
    def fingerprint(self) -> bytes:
        """Of what decides which codes an image has, and which image they become: the weights, and what they are for."""
        with (self.run.folder / WEIGHTS).open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        built = {"weights": weights, "model": OmegaConf.to_container(self.run.config.model)}
        return hashlib.sha256(json.dumps(built, sort_keys=True).encode()).digest()[:FINGERPRINT]

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """(N, L) int64 -> (N, C, H, W) uint8: of the codes of some images, what `reconstruct` gives of these images"""
        model = self.run.model
        return in_batches(lambda part: in_bytes(model.decode_codes(part)), codes).reshape(-1, *self.run.reader.shape)

    def bits(self, codes: np.ndarray) -> float:
        """What codes (N, L) cost by the frequencies, were there no rounding to whole bytes."""
        found = np.take_along_axis(self.frequencies, codes.T, axis=1)  # (L, N)
        return float(np.log2(TOTAL / found).sum())


def checksum(images: np.ndarray, before: int = 0) -> int:
    """The CRC-32 of images (N, C, H, W) uint8, after others of which it was `before`."""
    return zlib.crc32(images.tobytes(), before)


def entropy(codes: np.ndarray) -> float:
    """Bits of codes (N, L) by the frequencies of these very images, without what telling those would cost."""
    parts = (np.unique(place, return_counts=True)[1] for place in codes.T)
    return float(sum((counts * np.log2(len(codes) / counts)).sum() for counts in parts))
