"""Figures of speech models: what is predicted of frames that they do not see, and which unit each frame is."""

from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np

from ssl_cli.evaluation.plots.curves import ANOMALOUS, STYLE, save

SHADE = 0.35  # of masked frames


class PredictedUtterance(NamedTuple):
    """Frames (T, M) of an utterance, which of them were predicted (T,) bool, and the predictions (T, M).

    `units` and `predicted_units` (T,) are the unit of each frame and the predicted one, if there are units.
    """

    name: str
    frames: np.ndarray
    predicted: np.ndarray
    predictions: np.ndarray
    units: np.ndarray | None = None
    predicted_units: np.ndarray | None = None


def predictions(path: Path, utterances: list[PredictedUtterance], seconds_per_frame: float, is_masked: bool) -> None:
    """Draw each utterance in a column: its frames, the predictions, and the unit of each frame and the predicted one.

    With `is_masked` the frames that the model did not see are shaded, and the predictions stand among the others.
    """
    has_units = utterances[0].units is not None
    n_rows, n_columns = 3 if has_units else 2, len(utterances)
    with plt.rc_context(STYLE | {"axes.grid": False}):
        figure, axes = plt.subplots(
            n_rows, n_columns, figsize=(3.4 * n_columns, 2.1 * n_rows), squeeze=False, sharex="col"
        )
        for column, utterance in zip(axes.T, utterances, strict=True):
            _draw_utterance(column, utterance, seconds_per_frame, is_masked)
        for row, label in zip(axes[:, 0], ("mel channel", "predicted", "unit"), strict=False):
            row.set_ylabel(label)
        for last in axes[-1]:
            last.set_xlabel("seconds")
        save(figure, path)


def _draw_utterance(column: np.ndarray, utterance: PredictedUtterance, seconds_per_frame: float, masked: bool) -> None:
    end_s = len(utterance.frames) * seconds_per_frame
    low, high = np.percentile(utterance.frames, [2, 98])
    among = np.where(utterance.predicted[:, None], utterance.predictions, utterance.frames if masked else np.nan)
    for axes, frames in zip(column, (utterance.frames, among), strict=False):
        extent = (0, end_s, 0, frames.shape[1])
        axes.imshow(frames.T, origin="lower", aspect="auto", extent=extent, vmin=low, vmax=high, cmap="magma")
    column[0].set_title(utterance.name, fontsize=9)
    if masked:
        for run in _runs(utterance.predicted):
            start_s, stop_s = (at * seconds_per_frame for at in run)
            for axes in column:
                axes.axvspan(start_s, stop_s, color="white", alpha=SHADE, linewidth=0)
    if utterance.units is None or utterance.predicted_units is None:
        return
    time_s = (np.arange(len(utterance.units)) + 0.5) * seconds_per_frame
    is_right = utterance.units == utterance.predicted_units
    right, wrong = utterance.predicted & is_right, utterance.predicted & ~is_right
    column[2].plot(time_s, utterance.units, ".", color="#222222", markersize=4)
    column[2].plot(time_s[wrong], utterance.predicted_units[wrong], "x", color=ANOMALOUS, markersize=4)
    column[2].plot(time_s[right], utterance.units[right], "o", mfc="none", color="#2a9d4a", markersize=6)


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Return the first and the past-the-last index of each run of true values of a mask (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def unit_use(path: Path, counts: np.ndarray, centers: np.ndarray) -> None:
    """Draw what each unit sounds like, its middle frame (K, M), beside how often it occurs, counts (K,)."""
    order = np.argsort(-counts, kind="stable")
    with plt.rc_context(STYLE | {"axes.grid": False}):
        figure, (top, below) = plt.subplots(2, 1, figsize=(6.8, 4.2), sharex=True)
        top.bar(np.arange(len(counts)), counts[order] / max(1, counts.sum()), width=1.0, color="#3b7dd8")
        top.set_ylabel("share of frames")
        below.imshow(centers[order].T, origin="lower", aspect="auto", cmap="magma")
        below.set(xlabel="units, the most frequent first", ylabel="mel channel")
        save(figure, path)
