"""File format .sslz: images as entropy-coded codes. docs/compress.md describes its layout byte by byte.

A file may be untrusted. Reading it runs no code, names no place outside a folder, and takes memory in proportion to
the file's own size: every size in the file is checked against that before memory is allocated.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from constriction import stream

from ssl_cli.commands.reconstruct.sslz_names import pack_names, unpack_names
from ssl_cli.errors import InputError

MAGIC, VERSION = b"SSLZ", 1
SPEECH_MAGIC = b"SSLS"  # of commands/speech/sslz.py
# magic, version, fingerprint of the model, images, checksum of the decoded pixels, bytes of the names, their encoding
HEADER = struct.Struct("<4sB16sIIIB")
DIGEST_BYTES = 8  # at the end of the file: the start of the SHA-256 of all bytes before
FREQUENCY_TOTAL = 1 << 24  # sum of a place's frequencies: the precision of the range coder
BLOCK_IMAGES = 1024  # images whose codes are stored together, place by place
MAX_TRAINING_IMAGES = 1 << 38  # with more, the frequencies would overflow 64 bits
MAX_ALPHABET = 1 << 20  # with more, the rarest code would get no share of FREQUENCY_TOTAL


# --- codes --------------------------------------------------------------------------------------------------


def frequencies(counts: np.ndarray) -> np.ndarray:
    """Scale the counts of codes in training, (L, K), to integer frequencies of at least 1 with sum FREQUENCY_TOTAL.

    Counts are smoothed by adding one (Laplace) and scaled down; the rest from rounding goes to the most frequent code.
    All numbers are integers, so the meaning of a file does not depend on how a machine rounds. An alphabet of one code
    gets a second code, since the range coder needs two. Raises InputError for impossible counts.
    """
    largest_sum = counts.astype(float).sum(1).max()
    if counts.min() < 0 or counts.max() > MAX_TRAINING_IMAGES or largest_sum > MAX_TRAINING_IMAGES:
        raise InputError("The model's code_counts are damaged: they are impossible as counts of training images.")
    if counts.shape[1] > MAX_ALPHABET:
        raise InputError(f"The model has {counts.shape[1]:,} different codes: .sslz takes {MAX_ALPHABET:,} at most.")
    counts = np.pad(counts, ((0, 0), (0, max(0, 2 - counts.shape[1]))))
    n_places, n_codes = counts.shape
    share = (counts + 1) * (FREQUENCY_TOTAL - n_codes) // (counts + 1).sum(1, keepdims=True)
    share[np.arange(n_places), counts.argmax(1)] += FREQUENCY_TOTAL - n_codes - share.sum(1)
    return share + 1


def entropy_models(counts: np.ndarray) -> list[Any]:
    """Return constriction's model of each place, with exactly our frequencies.

    With perfect=False, constriction scales the weights to FREQUENCY_TOTAL - K, which is their sum already, and adds 1.
    """
    return [stream.model.Categorical((row - 1).astype(np.float64), perfect=False) for row in frequencies(counts)]


def encode_codes(codes: np.ndarray, counts: np.ndarray) -> bytes:
    """Encode codes (N, L) with the range coder, block by block, and within a block place by place."""
    encoder, models = stream.queue.RangeEncoder(), entropy_models(counts)
    for start in range(0, len(codes), BLOCK_IMAGES):
        for place, model in enumerate(models):
            encoder.encode(np.ascontiguousarray(codes[start : start + BLOCK_IMAGES, place], np.int32), model)
    return encoder.get_compressed().astype("<u4").tobytes()


# --- writing ------------------------------------------------------------------------------------------------


def pack(names: list[str], codes: np.ndarray, pixel_checksum: int, counts: np.ndarray, fingerprint: bytes) -> bytes:
    """Return the content of a file.

    It has the images' `names`, their `codes` (N, L) for a model with `counts` (L, K), the CRC-32 of their decoded
    pixels, and the model's `fingerprint`, 16 bytes. Raises InputError for a name that can't be stored.
    """
    encoding, packed = pack_names(names)
    header = HEADER.pack(MAGIC, VERSION, fingerprint, len(names), pixel_checksum, len(packed), encoding)
    body = header + packed + encode_codes(codes, counts)
    return body + digest(body)


def digest(body: bytes) -> bytes:
    """Return the checksum at the end of a file."""
    return hashlib.sha256(body).digest()[:DIGEST_BYTES]


def part_sizes(content: bytes) -> dict[str, int]:
    """Return the bytes of each part of a file's content."""
    fixed, names = HEADER.size + DIGEST_BYTES, HEADER.unpack_from(content)[5]
    return {"header and checksum": fixed, "names": names, "codes": len(content) - fixed - names}


# --- reading ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CompressedImages:
    """A file that has been read: names of the images, CRC-32 of their decoded pixels, and their codes as `words`."""

    path: Path
    names: list[str]
    pixel_checksum: int
    words: np.ndarray  # (W,) uint32, of the range coder
    size: int  # bytes of the whole file

    def codes(self, counts: np.ndarray) -> Iterator[np.ndarray]:
        """Yield codes (n, L) int64 in blocks, by the model's `counts` (L, K). Raises InputError for invalid codes."""
        decoder, models = stream.queue.RangeDecoder(self.words), entropy_models(counts)
        for start in range(0, len(self.names), BLOCK_IMAGES):
            n = min(BLOCK_IMAGES, len(self.names) - start)
            try:
                block = np.stack([decoder.decode(model, n) for model in models], axis=1).astype(np.int64)
            except AssertionError as error:  # constriction's error for words that encode no codes
                raise damaged_file(self.path, "its codes are not this model's") from error
            if block.max() >= counts.shape[1]:
                raise damaged_file(self.path, "its codes are not this model's")
            yield block
        if not decoder.maybe_exhausted():
            raise damaged_file(self.path, "it has more codes than images")


def unpack(path: Path, fingerprint: bytes, model: str) -> CompressedImages:
    """Read a file that the model with this `fingerprint` has written; `model` is its name for messages.

    Raises InputError if it is another kind of file, of a newer version, damaged, or of another model.
    """
    content = read(path)
    body = content[:-DIGEST_BYTES]
    _, _, file_fingerprint, n_images, pixel_checksum, n_bytes, encoding = HEADER.unpack_from(body)
    if file_fingerprint != fingerprint:
        raise InputError(
            f"{path} was written by another model: its fingerprint is {file_fingerprint.hex()}, that of {model} is "
            f"{fingerprint.hex()}. Set run= to the run that wrote it."
        )
    packed, codes = body[HEADER.size : HEADER.size + n_bytes], body[HEADER.size + n_bytes :]
    if len(packed) < n_bytes or len(codes) % 4:
        raise damaged_file(path, "the sizes of its parts don't match its length")
    try:
        names = unpack_names(packed, n_images, encoding)
    except ValueError as error:
        raise damaged_file(path, str(error)) from error
    words = np.frombuffer(codes, "<u4").astype(np.uint32)
    return CompressedImages(path, names, pixel_checksum, words, len(content))


def read(path: Path) -> bytes:
    """Return the content of a file of images. Raises InputError if it is anything else, or damaged."""
    content = read_bytes(path)
    if content[:4] == SPEECH_MAGIC:
        raise InputError(f"{path} holds compressed speech, not images: set run= to the run on speech that wrote it.")
    if content[:4] != MAGIC:
        raise InputError(f"{path} is no file of `ssl compress`: it does not begin with {MAGIC.decode()}.")
    return checked(path, content, VERSION, HEADER.size)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file. Raises InputError if it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from error


def checked(path: Path, content: bytes, version: int, header_bytes: int) -> bytes:
    """Return the content of a file of a version. Raises InputError if it is of another one, or damaged."""
    if content[4:5] > bytes([version]):
        raise InputError(f"{path} has version {content[4]} of the format, but this ssl reads {version}: update ssl.")
    is_short = len(content) < header_bytes + DIGEST_BYTES
    if is_short or content[4] != version or content[-DIGEST_BYTES:] != digest(content[:-DIGEST_BYTES]):
        raise damaged_file(path, "its checksum does not match")
    return content


def damaged_file(path: Path, reason: str) -> InputError:
    """Return the error for a damaged file."""
    return InputError(f"{path} is damaged: {reason}.")
