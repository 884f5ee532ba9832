"""Batches of speech: crops of utterances, each with another utterance of its speaker."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_cli.data.audio.reader import SpeechReader
from ssl_cli.data.audio.utterances import SpeechSplit
from ssl_cli.data.batches import MAX_BYTES_ON_DEVICE, ArrayDataset

EVAL_BATCH_UTTERANCES = 64


class SpeechWindows(ArrayDataset):
    """Utterances as rows. A batch has `frames` (B, T, M), `length` and `speaker` (B,), and a `reference` of each row.

    Numbers are normalised by the reader; padding is 0 and comes after `length`. An utterance longer than `window`
    frames is cropped (None: never). The reference (B, R, M), `reference_length` (B,), is another utterance of the same
    speaker, the same one only if the speaker has no other. In training crops and references are random, a function of
    (seed, k) and the row; otherwise the crop is the middle, and the reference the speaker's next utterance.
    """

    throughput_unit = "frames"
    row_name = "utterances"

    def __init__(self, split: SpeechSplit, reader: SpeechReader, window: int | None, seed: int, training: bool):
        self.utterances, self.reader = split, reader
        self.window, self.seed, self.training = window, seed, training
        length = split.lengths
        speaker = np.where(split.speaker < len(reader.speakers), split.speaker, -1)
        mean, std, group = reader.statistics(split.frames, split.begin, split.speaker)
        # Of each speaker the utterances in a row: u is by_speaker[place[u]], one of `count[u]` from `first[u]` on.
        by_speaker = np.argsort(split.speaker, kind="stable")
        place = np.empty_like(by_speaker)
        place[by_speaker] = np.arange(len(by_speaker))
        ids, first, count = np.unique(split.speaker[by_speaker], return_index=True, return_counts=True)
        which = np.searchsorted(ids, split.speaker)
        rows = {
            "begin": split.begin[:-1], "length": length, "speaker": speaker, "group": group,
            "by_speaker": by_speaker, "place": place, "first": first[which], "count": count[which],
        }  # fmt: skip
        super().__init__(rows, split.row)  # (N,) each
        self.units_per_row = float(np.minimum(length, window or length.max()).mean())
        self.frames = torch.from_numpy(split.frames)  # (F, M), possibly mapped from a file
        self.mean, self.std = torch.from_numpy(mean), torch.from_numpy(std)  # (G, M)

    def __len__(self) -> int:
        return len(self.arrays["begin"])

    @property
    def eval_batch_size(self) -> int:
        """Return the number of utterances of a validation batch."""
        return EVAL_BATCH_UTTERANCES

    def on(self, device: torch.device) -> "SpeechWindows":
        """Return the same utterances on a device; unchanged if they are too large."""
        if self.frames.nbytes > MAX_BYTES_ON_DEVICE:
            return self
        there = copy.copy(self)
        there.arrays = {name: array.to(device) for name, array in self.arrays.items()}
        there.frames, there.mean, there.std = (array.to(device) for array in (self.frames, self.mean, self.std))
        return there

    def take(self, selection: np.ndarray) -> "SpeechWindows":
        """Return a subset of the utterances; their references are among them too."""
        return SpeechWindows(self.utterances.take(selection), self.reader, self.window, self.seed, self.training)

    def whole(self) -> "SpeechWindows":
        """Return the same utterances uncropped, in order and with references that are not drawn at random."""
        return SpeechWindows(self.utterances, self.reader, None, self.seed, training=False)

    def __getitem__(self, item: tuple[int, Tensor | slice, float]) -> dict[str, Any]:
        k, index, weight = item
        rows = torch.arange(len(self), device=self.device)[index]
        start, other, other_start = self._draws(k, rows) if self.training else (None, None, None)  # (B,) each
        frames, length = self._crops(rows, start)
        reference, reference_length = self._crops(self._other(rows, other), other_start)
        return {
            "frames": frames, "length": length, "speaker": self.arrays["speaker"][rows],
            "reference": reference, "reference_length": reference_length, "k": k, "weight": weight,
        }  # fmt: skip

    def _draws(self, k: int, rows: Tensor) -> list[Tensor]:
        """Return three random numbers in [0, 1) for each row (B,): of step k and the row, whatever the others are.

        Rows are hashed where they are, so that nothing is copied between devices.
        """
        keys = np.random.SeedSequence([self.seed, 5, k]).generate_state(3).tolist()
        return [(_hash32(_hash32(rows + key) ^ key) >> 8).float() / 2**24 for key in keys]

    def _other(self, rows: Tensor, draw: Tensor | None) -> Tensor:
        """Return another utterance of each row's speaker: the next one, or one at random."""
        first, count, place = (self.arrays[name][rows] for name in ("first", "count", "place"))
        others = (count - 1).clamp(min=1)
        ahead = 1 if draw is None else 1 + (draw * others).long().clamp(max=others - 1)
        return self.arrays["by_speaker"][first + (place - first + ahead) % count]

    def _crops(self, rows: Tensor, draw: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return frames of utterances (B, T, M), each cropped to the window, and their lengths (B,)."""
        whole = self.arrays["length"][rows]
        length = whole if self.window is None else whole.clamp(max=self.window)
        room = whole - length
        start = room // 2 if draw is None else (draw * (room + 1)).long().clamp(max=room)
        steps = torch.arange(int(length.max()), device=rows.device)  # (T,)
        index = (self.arrays["begin"][rows] + start)[:, None] + steps.minimum(length[:, None] - 1)  # (B, T)
        group = self.arrays["group"][rows]
        normal = (self.frames[index] - self.mean[group][:, None]) / self.std[group][:, None]  # (B, T, M)
        return normal * (steps < length[:, None])[..., None], length


def _hash32(x: Tensor) -> Tensor:
    """Return a hash of whole numbers, from 0 to 2^32 - 1: the finalizer of MurmurHash3."""
    low = 0xFFFFFFFF
    x = x & low
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) & low
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) & low
    return x ^ (x >> 16)
