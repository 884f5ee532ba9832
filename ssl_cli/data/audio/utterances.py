"""Utterances as frames end to end: a split of a data set, or the voices that a run keeps."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np


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
