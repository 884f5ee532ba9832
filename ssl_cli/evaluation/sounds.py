"""Sounds of a report page: a bounded number of short clips, as FLAC files, which every browser plays."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from ssl_cli.evaluation.html import SOUNDS, Clip, Players

MAX_ROWS, MAX_S = 12, 10.0  # rows of players on a page; seconds of a clip
PEAK = 0.95  # of a louder clip's largest sample, which would be cut off
LoudClip = tuple[str, np.ndarray]  # label, waveform (S,)


def write_players(
    folder: Path, name: str, rows: Sequence[tuple[str, Sequence[LoudClip]]], sample_rate_hz: int
) -> Players:
    """Write the clips of at most MAX_ROWS rows (title, clips), evenly spaced, into sounds/ of a folder.

    Return their players, whose caption says how many there are, and how large. `name` begins the names of files.
    """
    (folder / SOUNDS).mkdir(exist_ok=True)
    shown = [rows[k] for k in np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MAX_ROWS)).round().astype(int))]
    written = []
    for k, (title, clips) in enumerate(shown, 1):
        paths = [folder / SOUNDS / f"{name}_{k}_{j}.flac" for j in range(1, len(clips) + 1)]
        written.append((title, [_write(path, clip, sample_rate_hz) for path, clip in zip(paths, clips, strict=True)]))
    files = [clip.name for _, clips in written for clip in clips]
    size_kb = sum((folder / SOUNDS / file).stat().st_size for file in files) / 1000
    longest = max((len(wave) for _, clips in shown for _, wave in clips), default=0)
    cut = f", at most {MAX_S:g} s of each" if longest > MAX_S * sample_rate_hz else ""
    some = f"{len(shown)} of {len(rows):,}" if len(shown) < len(rows) else f"{len(rows)}"
    return Players(written, f"{some} examples, {len(files)} files of {size_kb:,.0f} kB in {SOUNDS}/{cut}:")


def _write(path: Path, clip: LoudClip, sample_rate_hz: int) -> Clip:
    """Write a clip as FLAC of 16 bits. One that is too loud becomes quieter; what is no number becomes silence."""
    label, wave = clip
    wave = wave[: round(MAX_S * sample_rate_hz)] if len(wave) else np.zeros(1)  # a FLAC without samples is no FLAC
    wave = np.nan_to_num(wave.astype(np.float32), posinf=0, neginf=0)
    loudest = float(np.abs(wave).max(initial=0))
    soundfile.write(path, wave * min(1.0, PEAK / loudest) if loudest > PEAK else wave, sample_rate_hz, subtype="PCM_16")
    return Clip(path.name, label, len(wave) / sample_rate_hz)
