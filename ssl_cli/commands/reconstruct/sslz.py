"""The file .sslz: images as codes, entropy-coded. docs/compress.md has its layout, byte by byte.

A file may be a stranger's. Reading it runs no code, names no place outside a folder, and takes memory in proportion to
the file's own size: every size in it is held against that before anything is allocated.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from constriction import stream

from ssl_cli.commands.reconstruct.sslz_names import pack_names, read_names
from ssl_cli.errors import InputError

MAGIC, VERSION = b"SSLZ", 1
# magic, version, fingerprint of the model, images, checksum of the decoded pixels, bytes of the names, how they lie
HEADER = struct.Struct("<4sB16sIIIB")
SEAL = 8  # bytes, at the end: the start of the SHA-256 of all before
TOTAL = 1 << 24  # the frequencies of a place's codes add up to it: the precision of the range coder
BLOCK = 1024  # images whose codes lie together, place by place
MOST_SEEN = 1 << 38  # training images: beyond, the frequencies would overflow 64 bits
MOST_CODES = 1 << 20  # kinds, so that the rarest still has its share of TOTAL


# --- codes --------------------------------------------------------------------------------------------------


def frequencies(counts: np.ndarray) -> np.ndarray:
    """How often each place had each code in training, (L, K) -> whole numbers of at least 1, (L, K), TOTAL a place.

    Each count and one (Laplace), scaled down; what rounding leaves over goes to the commonest code. Whole numbers
    throughout: no rounding of a float has a say in what a file means. A sole kind of code gets a second beside it,
    since the coder wants two. Raises InputError for counts that nobody has counted.
    """
    if counts.min() < 0 or counts.max() > MOST_SEEN or counts.astype(float).sum(1).max() > MOST_SEEN:
        raise InputError("The model's code_counts are damaged: so many images nobody has seen.")
    if counts.shape[1] > MOST_CODES:
        raise InputError(f"The model has {counts.shape[1]:,} kinds of codes: .sslz takes {MOST_CODES:,} at most.")
    counts = np.pad(counts, ((0, 0), (0, max(0, 2 - counts.shape[1]))))
    n_places, n_codes = counts.shape
    share = (counts + 1) * (TOTAL - n_codes) // (counts + 1).sum(1, keepdims=True)
    share[np.arange(n_places), counts.argmax(1)] += TOTAL - n_codes - share.sum(1)
    return share + 1


def as_models(counts: np.ndarray) -> list[Any]:
    """The frequencies of each place as constriction's model, exactly.

    With perfect=False it scales the weights it is given to TOTAL - K, which is their sum already, and adds 1 to each.
    """
    return [stream.model.Categorical((row - 1).astype(np.float64), perfect=False) for row in frequencies(counts)]


def coded(codes: np.ndarray, counts: np.ndarray) -> bytes:
    """Codes (N, L) through the range coder: a block of images at a time, in it place by place."""
    encoder, models = stream.queue.RangeEncoder(), as_models(counts)
    for start in range(0, len(codes), BLOCK):
        for place, model in enumerate(models):
            encoder.encode(np.ascontiguousarray(codes[start : start + BLOCK, place], np.int32), model)
    return encoder.get_compressed().astype("<u4").tobytes()


# --- writing ------------------------------------------------------------------------------------------------


def pack(names: list[str], codes: np.ndarray, pixels: int, counts: np.ndarray, fingerprint: bytes) -> bytes:
    """The file's content: the images' `names`, their `codes` (N, L) under a model's `counts` (L, K), the CRC-32 of
    their decoded `pixels`, and the model's `fingerprint`, 16 bytes. Raises InputError for a name that can't be kept."""
    way, kept = pack_names(names)
    header = HEADER.pack(MAGIC, VERSION, fingerprint, len(names), pixels, len(kept), way)
    body = header + kept + coded(codes, counts)
    return body + seal(body)


def seal(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:SEAL]


def parts(content: bytes) -> dict[str, int]:
    """Bytes of each part of what `pack` has made."""
    fixed, names = HEADER.size + SEAL, HEADER.unpack_from(content)[5]
    return {"header and checksum": fixed, "names": names, "codes": len(content) - fixed - names}


# --- reading ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compressed:
    """A file that has been read: its images' names, the CRC-32 of their decoded pixels, and their codes, in `words`."""

    path: Path
    names: list[str]
    pixels: int
    words: np.ndarray  # (W,) uint32
    size: int  # bytes of the whole file

    def codes(self, counts: np.ndarray) -> Iterator[np.ndarray]:
        """(n, L) int64 of BLOCK images at a time, of the model with these `counts` (L, K)."""
        decoder, models = stream.queue.RangeDecoder(self.words), as_models(counts)
        for start in range(0, len(self.names), BLOCK):
            n = min(BLOCK, len(self.names) - start)
            try:
                block = np.stack([decoder.decode(model, n) for model in models], axis=1).astype(np.int64)
            except AssertionError as error:  # so constriction says that no codes are encoded so
                raise damaged(self.path, "its codes are none of this model's") from error
            if block.max() >= counts.shape[1]:
                raise damaged(self.path, "its codes are none of this model's")
            yield block
        if not decoder.maybe_exhausted():
            raise damaged(self.path, "it has more codes than images")


def unpack(path: Path, fingerprint: bytes, model: str) -> Compressed:
    """Read a file that the model with this `fingerprint` has written; `model` names it to people.

    Raises InputError where it is none of ours, of a newer version, damaged, or another model's.
    """
    content = read(path)
    body = content[:-SEAL]
    _, _, owner, n_images, pixels, n_bytes, way = HEADER.unpack_from(body)
    if owner != fingerprint:
        raise InputError(
            f"{path} was written by another model: its fingerprint is {owner.hex()}, that of {model} is "
            f"{fingerprint.hex()}. Name the run that wrote it."
        )
    kept, codes = body[HEADER.size : HEADER.size + n_bytes], body[HEADER.size + n_bytes :]
    if len(kept) < n_bytes or len(codes) % 4:
        raise damaged(path, "its parts don't add up to its length")
    try:
        names = read_names(kept, n_images, way)
    except ValueError as error:
        raise damaged(path, str(error)) from error
    return Compressed(path, names, pixels, np.frombuffer(codes, "<u4").astype(np.uint32), len(content))


def read(path: Path) -> bytes:
    """The content of a file of this version, whole. Raises InputError where it is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from error
    if content[:4] != MAGIC:
        raise InputError(f"{path} is no file of `ssl compress`: it begins otherwise.")
    if content[4:5] > bytes([VERSION]):
        raise InputError(f"{path} has version {content[4]} of the format, and this ssl reads {VERSION}: update ssl.")
    if len(content) < HEADER.size + SEAL or content[4] != VERSION or content[-SEAL:] != seal(content[:-SEAL]):
        raise damaged(path, "its checksum doesn't fit")
    return content


def damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is damaged: {reason}.")
