"""Plots of log-mel spectrograms: beside each other, and with the units and phones of their frames below them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from ssl_cli.evaluation.plots.curves import STYLE, save, truncate

MAX_S = 8.0  # of a sound; what comes after is not drawn
RANGE_NEPER = 8.0  # of colours below the loudest value: 70 dB
TICKS_HZ = (100, 200, 500, 1000, 2000, 4000, 8000, 16000)
CELL_HEIGHT, INCHES_PER_S = 1.35, 2.6
MIN_WIDTH, MAX_WIDTH = 5.0, 13.0  # inches, of a figure
COLOURS, SILENT = plt.get_cmap("tab20"), "#eeeeee"


@dataclass(frozen=True)
class FrameScale:
    """What frames and bands are: frames per second, and the frequency of each band's middle in Hz, (M,)."""

    frames_per_s: float
    band_hz: np.ndarray


@dataclass(frozen=True)
class Sound:
    """A title and log-mels (T, M)."""

    title: str
    log_mel: np.ndarray


@dataclass(frozen=True)
class Span:
    """A stretch of time in seconds, and what it is called: a unit, a phone or a word."""

    begin_s: float
    end_s: float
    name: str


def spectrogram_columns(path: Path, title: str, columns: Sequence[Sequence[Sound]], scale: FrameScale) -> None:
    """Plot columns of spectrograms, such as an original above its reconstruction; all have the same colours.

    Columns have as many sounds each. Seconds have the same length everywhere.
    """
    shown = [[Sound(sound.title, _beginning(sound.log_mel, scale)) for sound in column] for column in columns]
    seconds = [max(len(sound.log_mel) for sound in column) / scale.frames_per_s for column in shown]
    loudest = max(float(sound.log_mel.max()) for column in shown for sound in column)
    down = len(shown[0])
    with plt.rc_context(STYLE):
        width = float(np.clip(INCHES_PER_S * sum(seconds) + 0.5 * len(shown) + 0.7, MIN_WIDTH, MAX_WIDTH))
        figure, grid = plt.subplots(
            down, len(shown), figsize=(width, CELL_HEIGHT * down + 0.9), width_ratios=seconds, squeeze=False
        )
        for column, (sounds, duration) in enumerate(zip(shown, seconds, strict=True)):
            for row, sound in enumerate(sounds):
                axes = grid[row, column]
                _draw(axes, sound.log_mel, scale, loudest, duration)
                axes.set_title(_fitting(sound.title, width * duration / sum(seconds)), fontsize=8.5)
                axes.tick_params(labelbottom=row == down - 1, labelleft=column == 0)
            grid[-1, column].set_xlabel("seconds", fontsize=8)
        _set_figure_title(figure, title)
        save(figure, path)


def units_over_spectrogram(
    path: Path, sound: Sound, units: Sequence[Span], labels: tuple[str, Sequence[Span]], scale: FrameScale
) -> None:
    """Plot a spectrogram, below it the units of its frames, and below those phones or words, if there are any.

    `labels` are what they are called ("phones"), and their spans. Equal units have equal colours; a stretch without a
    name is grey.
    """
    log_mel = _beginning(sound.log_mel, scale)
    duration = len(log_mel) / scale.frames_per_s
    strips = [("units", merge_spans(units)), *([labels] if labels[1] else [])]
    with plt.rc_context(STYLE):
        width = float(np.clip(2 * INCHES_PER_S * duration, 1.4 * MIN_WIDTH, MAX_WIDTH))
        figure, rows = plt.subplots(
            1 + len(strips), 1, figsize=(width, 2.6 + 0.45 * len(strips)), sharex=True,
            height_ratios=[6, *(1 for _ in strips)],
        )
        _draw(rows[0], log_mel, scale, float(log_mel.max()), duration)
        for edge in {span.begin_s for span in strips[-1][1]}:
            rows[0].axvline(edge, color="white", linewidth=0.5, alpha=0.6)
        for axes, (name, spans) in zip(rows[1:], strips, strict=True):
            _draw_strip(axes, name, [span for span in spans if span.begin_s < duration], duration, width)
        rows[-1].set_xlabel("seconds", fontsize=8)
        rows[0].set_title(_fitting(f"{sound.title}{_omitted(sound, scale)}", width), fontsize=9.5)
        save(figure, path)


def merge_spans(spans: Sequence[Span]) -> list[Span]:
    """Return spans in which neighbours of the same name are one."""
    groups = [list(group) for _, group in groupby(spans, key=lambda span: span.name)]
    return [Span(group[0].begin_s, group[-1].end_s, group[0].name) for group in groups]


def _draw(axes: plt.Axes, log_mel: np.ndarray, scale: FrameScale, loudest: float, duration: float) -> None:
    """Draw log-mels (T, M) from the left; the axis is `duration` seconds long."""
    frames, bands = log_mel.shape
    axes.imshow(
        log_mel.T, cmap="magma", origin="lower", aspect="auto", interpolation="nearest", vmin=loudest - RANGE_NEPER,
        vmax=loudest, extent=(0, frames / scale.frames_per_s, -0.5, bands - 0.5),
    )
    hz = [tick for tick in TICKS_HZ if scale.band_hz[0] <= tick <= scale.band_hz[-1]]
    places = np.interp(hz, scale.band_hz, np.arange(bands))
    far = [k for k in range(len(hz)) if all(abs(places[k] - places[j]) > bands / 8 for j in range(k + 1, len(hz)))]
    names = [f"{hz[k] / 1000:g} kHz" if hz[k] >= 1000 else f"{hz[k]} Hz" for k in far]
    axes.set_yticks([places[k] for k in far], names, fontsize=7)
    axes.set_xlim(0, duration)
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _draw_strip(axes: plt.Axes, label: str, spans: Sequence[Span], duration: float, width: float) -> None:
    """Draw spans as boxes with a colour for each name, which is written where there is room."""
    names = sorted({span.name for span in spans}, key=lambda name: (len(name), name))
    for span in spans:
        right = min(span.end_s, duration)
        colour = COLOURS(names.index(span.name) % 20) if span.name else SILENT
        axes.axvspan(span.begin_s, right, color=colour, linewidth=0)
        axes.axvline(span.begin_s, color="white", linewidth=0.6)
        if (right - span.begin_s) / duration * width > 0.075 * len(span.name) + 0.02:
            middle = (span.begin_s + right) / 2
            axes.text(middle, 0.5, span.name.replace("$", r"\$"), ha="center", va="center", fontsize=7)
    axes.set(ylim=(0, 1), xlim=(0, duration), yticks=[])
    axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _beginning(log_mel: np.ndarray, scale: FrameScale) -> np.ndarray:
    return log_mel[: max(1, round(MAX_S * scale.frames_per_s))]


def _omitted(sound: Sound, scale: FrameScale) -> str:
    """Return a remark on what is not drawn, "" if all is."""
    seconds = len(sound.log_mel) / scale.frames_per_s
    return f" (the first {MAX_S:g} of {seconds:.0f} s)" if seconds > MAX_S + 0.5 else ""


def _fitting(title: str, inches: float) -> str:
    return truncate(title, max(10, round(11 * inches)))


def _set_figure_title(figure: plt.Figure, title: str) -> None:
    figure.suptitle(_fitting(title, figure.get_figwidth()), fontsize=9.5)


def phone_unit_matrix(path: Path, title: str, table: np.ndarray, phones: Sequence[str]) -> None:
    """Plot P(phone | unit) from the frames of each phone and unit, (P, K).

    Phones are from the most frequent one down, units in the order of their most probable phone. Those that do not
    occur are left out.
    """
    occurring = np.flatnonzero(table.sum(1) > 0)
    rows = occurring[np.argsort(-table.sum(1)[occurring], kind="stable")]
    shares = table[rows][:, table.sum(0) > 0].astype(np.float64)
    shares /= shares.sum(0)
    best = shares.argmax(0)
    shares = shares[:, np.lexsort((-shares.max(0), best))]
    with plt.rc_context(STYLE):
        width = float(np.clip(0.07 * shares.shape[1] + 2.4, 5.0, 11.0))
        figure, axes = plt.subplots(figsize=(width, float(np.clip(0.16 * len(rows) + 1.3, 2.6, 12.0))))
        image = axes.imshow(shares, cmap="Blues", aspect="auto", interpolation="nearest", vmin=0, vmax=1)
        step = max(1, -(-len(rows) // 70))
        names = [truncate(phones[k], 8) for k in rows[::step]]
        axes.set_yticks(range(0, len(rows), step), names, fontsize=7)
        axes.set_xticks([])
        axes.set(xlabel=f"{shares.shape[1]} units, by their most probable phone", ylabel="phone")
        axes.set_title(_fitting(title, width), fontsize=9.5)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02, label="P(phone | unit)")
        save(figure, path)
