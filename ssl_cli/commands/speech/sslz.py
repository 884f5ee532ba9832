"""The file format of compressed speech, .sslz: units of recordings, entropy-coded, with their names and voices.

    header      magic "SSLS", version, fingerprint of the model, recordings, units, bytes of the names, their encoding
    names       as in a .sslz of images
    recordings  frames (uint32) and speaker (uint16) of each
    units       of all recordings end to end, range-coded by how often training speech had each
    digest      the start of the SHA-256 of all bytes before
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from constriction import stream

from ssl_cli.commands.reconstruct.sslz import DIGEST_BYTES, damaged_file, digest, encode_codes, entropy_models
from ssl_cli.commands.reconstruct.sslz_names import pack_names, unpack_names
from ssl_cli.commands.speech.wav_files import SUFFIX
from ssl_cli.errors import InputError

MAGIC, VERSION = b"SSLS", 1
HEADER = struct.Struct("<4sB16sIIIB")
FRAMES, SPEAKER = np.dtype("<u4"), np.dtype("<u2")
RECORDING_BYTES = FRAMES.itemsize + SPEAKER.itemsize
MAX_RATIO = 4096  # units, and frames, for each byte of a file: a forged header can't ask for all memory


@dataclass(frozen=True)
class CompressedSpeech:
    """Recordings in a file: `names`, `frames` (N,) of each, `speaker` (N,) whose voice it has, `units` of all (U,)."""

    names: list[str]
    frames: np.ndarray
    speaker: np.ndarray
    units: np.ndarray


def pack(speech: CompressedSpeech, counts: np.ndarray, fingerprint: bytes) -> bytes:
    """Return the content of a file; `counts` (K,) is how often training speech had each unit.

    Raises InputError for a name that can't be stored.
    """
    encoding, packed = pack_names(speech.names, SUFFIX)
    sizes = len(speech.names), len(speech.units), len(packed), encoding
    body = HEADER.pack(MAGIC, VERSION, fingerprint, *sizes) + packed
    body += speech.frames.astype(FRAMES).tobytes() + speech.speaker.astype(SPEAKER).tobytes()
    body += encode_codes(speech.units[:, None], counts[None])
    return body + digest(body)


def part_sizes(content: bytes) -> dict[str, int]:
    """Return the bytes of each part of a file's content."""
    _, _, _, n, _, names, _ = HEADER.unpack_from(content)
    fixed, recordings = HEADER.size + DIGEST_BYTES, n * RECORDING_BYTES
    units = len(content) - fixed - names - recordings
    return {"header and checksum": fixed, "names": names, "lengths and voices": recordings, "units": units}


def unpack(path: Path, counts: np.ndarray, fingerprint: bytes, model: str) -> CompressedSpeech:
    """Read a file that the model with this `fingerprint` has written; `model` is its name for messages.

    Raises InputError if it is another kind of file, of a newer version, damaged, or of another model.
    """
    content = read(path)
    body = content[:-DIGEST_BYTES]
    _, _, of, n, n_units, n_bytes, encoding = HEADER.unpack_from(body)
    if of != fingerprint:
        raise InputError(
            f"{path} was written by another model: its fingerprint is {of.hex()}, that of {model} is "
            f"{fingerprint.hex()}. Set run= to the run that wrote it."
        )
    packed, rest = body[HEADER.size : HEADER.size + n_bytes], body[HEADER.size + n_bytes :]
    table, words = rest[: n * RECORDING_BYTES], rest[n * RECORDING_BYTES :]
    if len(packed) < n_bytes or len(table) < n * RECORDING_BYTES or len(words) % 4:
        raise damaged_file(path, "the sizes of its parts don't match its length")
    frames = np.frombuffer(table[: n * FRAMES.itemsize], FRAMES).astype(np.int64)
    speaker = np.frombuffer(table[n * FRAMES.itemsize :], SPEAKER).astype(np.int64)
    if max(n_units, int(frames.sum())) > MAX_RATIO * len(content):
        raise damaged_file(path, "it is too small for what its header promises")
    try:
        names = unpack_names(packed, n, encoding, SUFFIX)
    except ValueError as error:
        raise damaged_file(path, str(error)) from error
    return CompressedSpeech(names, frames, speaker, decode_units(path, words, n_units, counts))


def decode_units(path: Path, words: bytes, n: int, counts: np.ndarray) -> np.ndarray:
    """Return the n units (U,) in range-coded `words`. Raises InputError if they encode others, or more."""
    decoder, (model,) = stream.queue.RangeDecoder(np.frombuffer(words, "<u4").astype(np.uint32)), entropy_models(
        counts[None]
    )
    try:
        units = decoder.decode(model, n).astype(np.int64)
    except AssertionError as error:  # constriction's error for words that encode no codes
        raise damaged_file(path, "its units are not this model's") from error
    if (n and units.max() >= len(counts)) or not decoder.maybe_exhausted():
        raise damaged_file(path, "its units are not this model's")
    return units


def read(path: Path) -> bytes:
    """Return the content of a file of this version. Raises InputError if it is anything else, or damaged."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from error
    if content[:4] != MAGIC:
        raise InputError(f"{path} is no compressed speech: it does not begin with {MAGIC.decode()}.")
    if content[4:5] > bytes([VERSION]):
        raise InputError(f"{path} has version {content[4]} of the format, but this ssl reads {VERSION}: update ssl.")
    is_short = len(content) < HEADER.size + DIGEST_BYTES
    if is_short or content[4] != VERSION or content[-DIGEST_BYTES:] != digest(content[:-DIGEST_BYTES]):
        raise damaged_file(path, "its checksum does not match")
    return content
