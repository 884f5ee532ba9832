"""Recordings -> frames end to end: in memory or, if they would be too large, memory-mapped from a cache on disk."""

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from ssl_cli.config.typecheck import fits
from ssl_cli.data.audio.alignments import phones_of_frames
from ssl_cli.data.audio.decode import hear
from ssl_cli.data.audio.features import MelSettings, log_mel_end_to_end
from ssl_cli.data.audio.recordings import Recordings
from ssl_cli.data.io.json_state import read_state
from ssl_cli.errors import InputError
from ssl_cli.files import unfinished_folder

MAX_MEMORY_BYTES = 1 << 29  # of frames: 4 to 6 hours
VERSION = 1  # of what frames are made of; a new one invalidates the cache
BATCH_FILES, BATCH_BYTES = 128, 1 << 25  # decoded together, at most
FILES_A_TASK = 16  # of a thread
THREADS = min(8, os.cpu_count() or 1)
FRAMES, METADATA, PHONES = "frames", "about.json", "phones"
Rejected = list[tuple[str, str]]
METADATA_TYPES = {
    "kept": list[int], "length": list[int], "phones": list[str], "rejected": list[list[str]],
    "misaligned": list[list[str]], "digest": str,
}  # fmt: skip


@dataclass
class Frames:
    """Frames (F, M) float32 of the recordings `kept` (N,), with the `length` (N,) of each.

    `phone` (F,) int16 indexes `phones`, -1 where unknown. `rejected` recordings and `misaligned` ones, whose
    alignment can't be read, come with reasons. `digest` is the SHA-256 of samples, phones and settings: frames
    themselves differ by a rounding from machine to machine.
    """

    frames: np.ndarray
    phone: np.ndarray
    kept: list[int]
    length: list[int]
    phones: list[str]
    rejected: Rejected
    misaligned: Rejected
    digest: str


def load_frames(recordings: Recordings, settings: MelSettings, loudness: bool, trim: bool, cache: Path) -> Frames:
    """Return the frames of all recordings, in order. Raises InputError if a cache is needed and can't be written."""
    folder = cache / _folder_name(recordings, settings, loudness, trim)
    try:
        if not folder.is_dir():
            writer = _Writer(settings, loudness, trim)
            batches = compute_frames(recordings, settings, loudness, trim, writer)
            for frames, phone in batches:
                writer.add(frames, phone)
                if writer.n_bytes > MAX_MEMORY_BYTES:
                    break
            else:
                return writer.in_memory()
            _write_folder(writer, batches, folder)
        return _map_folder(folder, settings.n_mels)
    except OSError as error:
        raise InputError(
            f"The frames of {recordings.place} can't be stored in {cache}: {error.strerror or error}. "
            "Set data.cache=PATH to use another folder."
        ) from error


class _Writer:
    """Collects frames and what is known of them."""

    def __init__(self, settings: MelSettings, loudness: bool, trim: bool):
        self.n_mels, self.n_bytes = settings.n_mels, 0
        self.frames: list[np.ndarray] = []
        self.phone: list[np.ndarray] = []
        self.kept: list[int] = []
        self.length: list[int] = []
        self.phones: dict[str, int] = {"": -1}
        self.rejected: Rejected = []
        self.misaligned: Rejected = []
        self.digest = hashlib.sha256(json.dumps([asdict(settings), loudness, trim]).encode())

    def add(self, frames: np.ndarray, phone: np.ndarray) -> None:
        self.n_bytes += frames.nbytes
        self.frames.append(frames)
        self.phone.append(phone)

    def metadata(self) -> dict[str, object]:
        return {
            "kept": self.kept, "length": self.length, "phones": list(self.phones)[1:], "rejected": self.rejected,
            "misaligned": self.misaligned, "digest": self.digest.hexdigest(),
        }  # fmt: skip

    def in_memory(self) -> Frames:
        frames = np.concatenate([np.empty((0, self.n_mels), np.float32), *self.frames])
        return Frames(frames, np.concatenate([np.empty(0, np.int16), *self.phone]), **self.metadata())  # type: ignore


def compute_frames(
    recordings: Recordings, settings: MelSettings, loudness: bool, trim: bool, writer: _Writer
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the frames of recordings in batches, end to end, and the phone of each; `writer` notes what they are."""

    def load(k: int) -> tuple[np.ndarray, float, bytes] | str:
        try:
            samples, rate_hz = recordings.load(k)
            wave, skipped_s = hear(samples, rate_hz, settings.sample_rate_hz, loudness, trim)
            return wave, skipped_s, hashlib.sha256(np.ascontiguousarray(samples).data).digest()
        except InputError as error:
            return str(error)

    threads = ThreadPoolExecutor(THREADS)
    try:
        for batch in _batches(recordings.sizes):
            heard = []
            # Several a task: handing over a short file takes as long as reading it.
            tasks = [batch[at : at + FILES_A_TASK] for at in range(0, len(batch), FILES_A_TASK)]
            loaded = chain.from_iterable(threads.map(lambda task: [load(k) for k in task], tasks))
            for k, found in zip(batch, loaded, strict=True):
                if isinstance(found, str):
                    writer.rejected.append((recordings.names[k], found))
                else:
                    heard.append((k, *found))
            if heard:
                frames, length = log_mel_end_to_end([wave for _, wave, _, _ in heard], settings)
                phones = [
                    _phones(recordings, k, int(n), settings, skipped_s, writer)
                    for (k, _, skipped_s, _), n in zip(heard, length, strict=True)
                ]
                for phone, (*_, digest) in zip(phones, heard, strict=True):
                    writer.digest.update(digest + phone.tobytes())
                writer.kept += [k for k, *_ in heard]
                writer.length += length.tolist()
                yield frames, np.concatenate(phones)
    finally:
        threads.shutdown(cancel_futures=True)


def _batches(sizes: list[int]) -> Iterator[list[int]]:
    """Yield the numbers of recordings in batches of at most BATCH_FILES and BATCH_BYTES, of one at least."""
    batch: list[int] = []
    n_bytes = 0
    for k, size in enumerate(sizes):
        if batch and (len(batch) == BATCH_FILES or n_bytes + size > BATCH_BYTES):
            yield batch
            batch, n_bytes = [], 0
        batch.append(k)
        n_bytes += size
    if batch:
        yield batch


def _phones(
    recordings: Recordings, k: int, n_frames: int, settings: MelSettings, skipped_s: float, writer: _Writer
) -> np.ndarray:
    """Return the phone of each frame of a recording, (T,) int16."""
    try:
        segments = recordings.align(k)
    except InputError as error:
        writer.misaligned.append((recordings.names[k], str(error).rstrip(".")))
        segments = None
    if segments is None:
        return np.full(n_frames, -1, np.int16)
    names = phones_of_frames(segments, n_frames, settings.frames_per_s, skipped_s)
    known = writer.phones
    return np.array([known.setdefault(name, len(known) - 1) for name in names], np.int16)


def _folder_name(recordings: Recordings, settings: MelSettings, loudness: bool, trim: bool) -> str:
    """Return a hash that changes with the files, their sizes and times, and with how frames are computed."""
    key = [VERSION, asdict(settings), loudness, trim, recordings.place, recordings.names, recordings.versions]
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]


def _write_folder(writer: _Writer, rest: Iterator[tuple[np.ndarray, np.ndarray]], folder: Path) -> None:
    """Write the frames so far and the rest into a folder under another name, and rename it when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(folder.parent) as parent:
        partial = parent / folder.name  # with the usual permissions: those of an unfinished folder are for its owner
        partial.mkdir()
        with (partial / FRAMES).open("wb") as frames_file, (partial / PHONES).open("wb") as phones_file:
            while True:
                for frames, phone in zip(writer.frames, writer.phone, strict=True):
                    frames_file.write(frames.data)
                    phones_file.write(phone.data)
                writer.frames, writer.phone = [], []
                if (batch := next(rest, None)) is None:
                    break
                writer.add(*batch)
            for file in (frames_file, phones_file):
                file.flush()
                os.fsync(file.fileno())
        (partial / METADATA).write_text(json.dumps(writer.metadata()), encoding="utf-8")
        try:
            partial.replace(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, and wrote the same
                raise


def _map_folder(folder: Path, n_mels: int) -> Frames:
    metadata = read_state(folder / METADATA)
    is_valid = set(metadata) == set(METADATA_TYPES) and all(
        fits(metadata[name], annotation) for name, annotation in METADATA_TYPES.items()
    )
    n_frames = sum(metadata["length"]) if is_valid else 0
    sizes = {FRAMES: n_frames * n_mels * 4, PHONES: n_frames * 2}
    if not n_frames or any((folder / name).stat().st_size != size for name, size in sizes.items()):
        raise InputError(f"{folder} is damaged: remove it, and it will be built again.")
    for name in ("rejected", "misaligned"):
        metadata[name] = [(file, reason) for file, reason in metadata[name]]
    frames = np.memmap(folder / FRAMES, np.float32, "c", shape=(n_frames, n_mels))
    return Frames(frames, np.fromfile(folder / PHONES, np.int16), **metadata)
