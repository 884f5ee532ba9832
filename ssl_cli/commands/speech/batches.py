"""Batches of utterances for a finished model: padded, applied, and cut to their lengths again."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_cli.methods.scoring import device_of

MAX_BATCH_FRAMES = 16_384  # frames of a batch, padding included: an hour is not decoded at once
MAX_BATCH_UTTERANCES = 64
MAX_REFERENCE_FRAMES = 60_000  # frames of the references of a batch, padding included
Batch = dict[str, Tensor]


def padded(utterances: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Return utterances, each (T, M), as frames (B, T, M) with zeros after each, and their lengths (B,)."""
    length = torch.tensor([len(frames) for frames in utterances])
    frames = torch.zeros(len(utterances), int(length.max()), utterances[0].shape[1])
    for row, utterance in zip(frames, utterances, strict=True):
        row[: len(utterance)] = torch.from_numpy(np.ascontiguousarray(utterance))
    return frames, length


def make_batch(
    utterances: Sequence[np.ndarray], speaker: Sequence[int] | np.ndarray, references: Sequence[np.ndarray]
) -> Batch:
    """Return the batch of normalised utterances, with the speaker and the reference of the voice of each."""
    frames, length = padded(utterances)
    reference, reference_length = padded(references)
    return {
        "frames": frames,
        "length": length,
        "speaker": torch.as_tensor(np.asarray(speaker), dtype=torch.int64),
        "reference": reference,
        "reference_length": reference_length,
    }


def map_utterances(
    model: Any,
    function: Callable[[Batch], Tensor],
    utterances: Sequence[np.ndarray],
    speaker: Sequence[int] | np.ndarray,
    references: Sequence[np.ndarray],
    stride: int | None = 1,
) -> list[np.ndarray]:
    """Apply `function` to batches of utterances, each (T, M), and return its output for each of them, in order.

    The output has a row for every `stride` frames, and is cut to those of the utterance; with stride=None it is one
    vector. Utterances of similar length share a batch.
    """
    device, outputs = device_of(model), [np.empty(0)] * len(utterances)
    with torch.inference_mode():
        longest = max((len(reference) for reference in references), default=1)
        for rows in _batches([len(frames) for frames in utterances], max(1, MAX_REFERENCE_FRAMES // longest)):
            batch = make_batch(
                [utterances[k] for k in rows], [speaker[k] for k in rows], [references[k] for k in rows]
            )
            out = function({name: array.to(device) for name, array in batch.items()}).cpu().numpy()
            for k, row in zip(rows, out, strict=True):
                outputs[k] = row if stride is None else row[: -(-len(utterances[k]) // stride)]
    return outputs


def _batches(lengths: Sequence[int], max_rows: int) -> Iterator[list[int]]:
    """Yield the positions of the utterances of each batch, the longest first."""
    max_rows = min(max_rows, MAX_BATCH_UTTERANCES)
    rows: list[int] = []
    for k in sorted(range(len(lengths)), key=lambda k: -lengths[k]):
        if rows and (len(rows) == max_rows or (len(rows) + 1) * lengths[rows[0]] > MAX_BATCH_FRAMES):
            yield rows
            rows = []
        rows.append(k)
    if rows:
        yield rows
