"""Utterances as frames end to end: a split of a data set, or the voices that a run keeps."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MIN_STD = 0.05  # of a mel band in natural logs: a band that never changes is not blown up
UTTERANCES_AT_ONCE = 512


@dataclass
class SpeechSplit:
    """Utterances of one split: utterance u is `frames[begin[u]:begin[u + 1]]`.

    `frames` (F, M) float32 are log-mels, not normalised; memory-mapped if they are large. `begin` (N + 1,);
    `speaker` (N,) indexes the speakers of the data; `word` (N,) its words, -1 if unknown: the one word of a short
    clip. `phone` (F,) indexes its phones, -1 if unknown; None if no utterance has an alignment. `names` (N,) are
    file names, `row` (N,) positions in the whole data set.
    """

    frames: np.ndarray
    begin: np.ndarray
    speaker: np.ndarray
    word: np.ndarray
    phone: np.ndarray | None
    names: list[str]
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.speaker)

    @property
    def lengths(self) -> np.ndarray:
        """Return the number of frames of each utterance, (N,)."""
        return np.diff(self.begin)

    def utterance(self, u: int) -> np.ndarray:
        """Return the frames of an utterance, (T, M)."""
        return self.frames[self.begin[u] : self.begin[u + 1]]

    def take(self, rows: np.ndarray) -> "SpeechSplit":
        """Return the utterances at some positions (or where a mask is true), in that order."""
        rows = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows, np.int64)
        begin = np.concatenate([[0], np.cumsum(self.lengths[rows])])
        return SpeechSplit(
            _gather(self.frames, self.begin, rows),
            begin,
            self.speaker[rows],
            self.word[rows],
            None if self.phone is None else self.phone[ranges(self.begin[rows], self.lengths[rows])],
            [self.names[u] for u in rows],
            self.row[rows],
        )


def spread_order(n: int) -> np.ndarray:
    """Return the numbers below n in an order of which every beginning is spread evenly over all of them."""
    golden = (np.sqrt(5) - 1) / 2
    return np.argsort(np.argsort(np.arange(n) * golden % 1, kind="stable"), kind="stable")


def moments(frames: np.ndarray, begin: np.ndarray, group: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (n, M) of the frames of each group of utterances; `group` (N,).

    The sums are in float64, over some utterances at a time: frames may be mapped from a file.
    """
    total, square = np.zeros((2, n, frames.shape[1]))
    for start in range(0, len(group), UTTERANCES_AT_ONCE):
        some = group[start : start + UTTERANCES_AT_ONCE]
        edges = begin[start : start + len(some) + 1]
        part = frames[edges[0] : edges[-1]].astype(np.float64)
        np.add.at(total, some, np.add.reduceat(part, edges[:-1] - edges[0]))
        np.add.at(square, some, np.add.reduceat(part**2, edges[:-1] - edges[0]))
    count = np.bincount(group, np.diff(begin), n).clip(min=1)[:, None]
    mean = total / count
    std = np.sqrt(np.maximum(square / count - mean**2, MIN_STD**2))
    return mean.astype(np.float32), std.astype(np.float32)


def spread_frames(split: SpeechSplit, n_frames: int) -> SpeechSplit:
    """Return utterances of each speaker, up to a number of frames, and of a longer one its beginning.

    They are spread over all of the speaker's, in an order whose beginning is, too: files are often sorted by word.
    Frames have the precision of float16, in which they are saved.
    """
    rows: list[int] = []
    for s in np.unique(split.speaker):
        own = np.flatnonzero(split.speaker == s)
        own = own[spread_order(len(own))]
        rows += own[: max(1, int((np.cumsum(split.lengths[own]) <= n_frames).sum()))].tolist()
    length = split.lengths[rows].clip(max=n_frames)
    kept = [split.utterance(u)[:n] for u, n in zip(rows, length, strict=True)]
    return SpeechSplit(
        frames=np.concatenate(kept).astype(np.float16).astype(np.float32),
        begin=np.concatenate([[0], np.cumsum(length)]),
        speaker=split.speaker[rows],
        word=split.word[rows],
        phone=None,
        names=[split.names[u] for u in rows],
        row=split.row[rows],
    )


def ranges(begin: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return the numbers `begin[k]` to before `begin[k] + length[k]` of all k, end to end."""
    ends = np.cumsum(length)
    return np.arange(int(length.sum())) + np.repeat(begin - ends + length, length)


def _gather(frames: np.ndarray, begin: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the frames of utterances, in memory if all are; otherwise mapped from an unnamed file."""
    pieces = (frames[begin[u] : begin[u + 1]] for u in rows)
    if not isinstance(frames, np.memmap):
        return np.concatenate([np.empty((0, frames.shape[1]), np.float32), *pieces])
    with tempfile.TemporaryFile(dir=Path(str(frames.filename)).parent) as file:
        for piece in pieces:
            file.write(np.ascontiguousarray(piece).tobytes())
        file.flush()
        n_frames = int(np.diff(begin)[rows].sum())
        return np.memmap(file, np.float32, "r+", shape=(n_frames, frames.shape[1]))
