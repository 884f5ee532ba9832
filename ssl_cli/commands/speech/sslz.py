"""The file format of compressed speech, .sslz: units of recordings, entropy-coded, with their names and voices.

    header      magic "SSLS", version, fingerprint of the model, recordings, units, bytes of the names, their encoding
    names       as in a .sslz of images
    recordings  frames (uint32) and speaker (uint16) of each
    units       of all recordings end to end, range-coded by how often training speech had each after the one before
    digest      the start of the SHA-256 of all bytes before
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from constriction import stream

from ssl_cli.commands.reconstruct.sslz import (
    DIGEST_BYTES,
    SPEECH_MAGIC,
    checked,
    damaged_file,
    digest,
    entropy_models,
    read_bytes,
)
from ssl_cli.commands.reconstruct.sslz import MAGIC as IMAGE_MAGIC
from ssl_cli.commands.reconstruct.sslz_names import pack_names, unpack_names
from ssl_cli.commands.speech.wav_files import SUFFIX
from ssl_cli.errors import InputError

MAGIC, VERSION = SPEECH_MAGIC, 1
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

    def starts(self, stride: int) -> np.ndarray:
        """Return which units (U,) bool are the first of a recording, at `stride` frames a unit."""
        return starts_of(self.frames, stride)


def starts_of(frames: np.ndarray, stride: int) -> np.ndarray:
    """Return which units (U,) bool are the first of a recording: recording n has frames[n] frames."""
    n_units = -(-frames // stride)
    is_start = np.zeros(int(n_units.sum()), bool)
    is_start[np.cumsum(n_units)[:-1]] = True
    is_start[:1] = True
    return is_start


def pack(speech: CompressedSpeech, stride: int, counts: np.ndarray, fingerprint: bytes) -> bytes:
    """Return the content of a file.

    A unit has `stride` frames; `counts` (K + 1, K) is how often training speech had a unit after another; the last row
    is for the start of a recording.

    Raises InputError for a name that can't be stored.
    """
    encoding, packed = pack_names(speech.names, SUFFIX)
    sizes = len(speech.names), len(speech.units), len(packed), encoding
    body = HEADER.pack(MAGIC, VERSION, fingerprint, *sizes) + packed
    body += speech.frames.astype(FRAMES).tobytes() + speech.speaker.astype(SPEAKER).tobytes()
    body += encode_units(speech.units, speech.starts(stride), counts)
    return body + digest(body)


def part_sizes(content: bytes) -> dict[str, int]:
    """Return the bytes of each part of a file's content."""
    _, _, _, n, _, names, _ = HEADER.unpack_from(content)
    fixed, recordings = HEADER.size + DIGEST_BYTES, n * RECORDING_BYTES
    units = len(content) - fixed - names - recordings
    return {"header and checksum": fixed, "names": names, "lengths and voices": recordings, "units": units}


def unpack(path: Path, stride: int, counts: np.ndarray, fingerprint: bytes, model: str) -> CompressedSpeech:
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
    if not (frames > 0).all() or int((-(-frames // stride)).sum()) != n_units:
        raise damaged_file(path, "it has another number of units than its recordings are long")
    return CompressedSpeech(names, frames, speaker, decode_units(path, words, starts_of(frames, stride), counts))


def encode_units(units: np.ndarray, is_start: np.ndarray, counts: np.ndarray) -> bytes:
    """Encode units (U,) with the range coder, each by how often training speech had it after the one before."""
    encoder, models = stream.queue.RangeEncoder(), entropy_models(counts)
    before = np.where(is_start, counts.shape[1], np.roll(units, 1))
    for unit, k in zip(units.tolist(), before.tolist(), strict=True):
        encoder.encode(unit, models[k])
    return encoder.get_compressed().astype("<u4").tobytes()


def decode_units(path: Path, words: bytes, is_start: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the units (U,) in range-coded `words`. Raises InputError if they encode others, or more."""
    decoder = stream.queue.RangeDecoder(np.frombuffer(words, "<u4").astype(np.uint32))
    models, alphabet, units = entropy_models(counts), counts.shape[1], list[int]()
    try:
        for start in is_start.tolist():
            units.append(int(decoder.decode(models[alphabet if start else units[-1]])))
            if units[-1] >= alphabet:
                raise damaged_file(path, "its units are not this model's")
    except AssertionError as error:  # constriction's error for words that encode no codes
        raise damaged_file(path, "its units are not this model's") from error
    if not decoder.maybe_exhausted():
        raise damaged_file(path, "it has more units than its recordings are long")
    return np.array(units, np.int64)


def read(path: Path) -> bytes:
    """Return the content of a file of speech. Raises InputError if it is anything else, or damaged."""
    content = read_bytes(path)
    if content[:4] == IMAGE_MAGIC:
        raise InputError(f"{path} holds compressed images, not speech: set run= to the run on images that wrote it.")
    if content[:4] != MAGIC:
        raise InputError(f"{path} is no compressed speech: it does not begin with {MAGIC.decode()}.")
    return checked(path, content, VERSION, HEADER.size)
