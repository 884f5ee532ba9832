"""Figures and sounds of a finished autoencoder of speech."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ssl_cli.commands.reconstruct.figures import draw_training
from ssl_cli.commands.speech.conversion_metrics import Conversions
from ssl_cli.commands.speech.evaluate import SpeechEvaluation
from ssl_cli.commands.speech.waveforms import to_waveforms
from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.features import MIN_MAGNITUDE
from ssl_cli.evaluation.html import Figure, Section
from ssl_cli.evaluation.metrics.audio import count_table
from ssl_cli.evaluation.plots.spectrograms import (
    FrameScale,
    Sound,
    Span,
    phone_unit_matrix,
    spectrogram_columns,
    units_over_spectrogram,
)
from ssl_cli.evaluation.sounds import write_players
from ssl_cli.models.vocoders import Vocoder

COLUMNS = 4  # recordings side by side
GROUPS = {
    "": "Conversions between training voices",
    "unheard_source": "An unheard speaker as source",
    "unheard_target": "An unheard voice as target",
}


def draw(folder: Path, model: Any, data: SpeechData, found: SpeechEvaluation) -> list[Figure]:
    """Draw all figures that the model and the data allow, and return them in order."""
    figures, settings = folder / "figures", data.reader.settings
    scale = FrameScale(settings.frames_per_s, settings.band_hz)
    drawn = [draw_rebuilt(figures, data, found, scale)]
    if (converted := found.conversion.groups.get("")) is not None:
        drawn.append(draw_conversions(figures, data, converted, scale))
    if found.systems:
        drawn += draw_units(figures, data, found, scale)
    return [*drawn, *draw_training(folder, model)]


def draw_rebuilt(figures: Path, data: SpeechData, found: SpeechEvaluation, scale: FrameScale) -> Figure:
    """Draw test recordings above what the model makes of them."""
    columns = [
        [Sound(title(data, found, u), found.test.utterance(u)), Sound("rebuilt", found.rebuilt[u])]
        for u in evenly(len(found.rebuilt))
    ]
    spectrogram_columns(figures / "reconstructions.png", "Test recordings, and rebuilt", columns, scale)
    return Figure("reconstructions.png", "Test recordings, and what the model makes of them in their own voice.")


def draw_conversions(figures: Path, data: SpeechData, converted: Conversions, scale: FrameScale) -> Figure:
    """Draw recordings, the same word by the target speaker where there is one, and the conversion."""
    columns = []
    for p in evenly(len(converted.source)):
        source, target = int(converted.source[p]), int(converted.target[p])
        sounds = [Sound(f"source: {name_of(data, converted, p)}", converted.sources.utterance(source))]
        take = take_of(converted, p)
        silence = np.full((1, data.reader.settings.n_mels), np.log(MIN_MAGNITUDE), np.float32)
        if take is None:
            sounds.append(Sound(f"{data.speakers[target]} has no take of it", silence))
        else:
            sounds.append(Sound(f"{data.speakers[target]}'s own", converted.takes.utterance(take)))
        columns.append([*sounds, Sound(f"converted to {data.speakers[target]}", converted.heard[p])])
    spectrogram_columns(figures / "conversions.png", "Test recordings in other voices", columns, scale)
    caption = "Test recordings; the same word by the target speaker; and the conversion, heard from its waveform."
    return Figure("conversions.png", caption)


def draw_units(figures: Path, data: SpeechData, found: SpeechEvaluation, scale: FrameScale) -> Iterator[Figure]:
    """Draw the units of one test recording over its spectrogram, and which phones each unit stands for."""
    test, units = found.test, found.systems[""].units
    u = int(np.argsort(test.lengths)[len(test) // 2])  # of median length
    own = slice(test.begin[u], test.begin[u + 1])
    frame_s = 1 / scale.frames_per_s
    word = data.words[test.word[u]] if test.word[u] >= 0 else ""
    labels = ("word", [Span(0, len(test.utterance(u)) * frame_s, word)])
    if test.phone is not None and (test.phone[own] >= 0).any():
        names = [data.phones[k] if k >= 0 else "" for k in test.phone[own]]
        labels = ("phones", spans_of(names, frame_s))
    sound = Sound(title(data, found, u), test.utterance(u))
    units_over_spectrogram(figures / "units.png", sound, spans_of(list(map(str, units[own])), frame_s), labels, scale)
    yield Figure("units.png", "The units of a test recording, each number one of the codebook, below its spectrogram.")
    if test.phone is not None and (test.phone >= 0).any():
        table = count_table(test.phone, units, len(data.phones), len(found.systems[""].vectors))
        phone_unit_matrix(figures / "phones.png", "Which phones a unit stands for", table, data.phones)
        yield Figure("phones.png", "The share of each phone among the frames of a unit, from test recordings.")


def spans_of(names: list[str], frame_s: float) -> list[Span]:
    """Return the stretches of the same name, from the name of each frame."""
    edges = [0, *(k for k in range(1, len(names)) if names[k] != names[k - 1]), len(names)]
    return [Span(a * frame_s, b * frame_s, names[a]) for a, b in pairwise(edges)]


def evenly(n: int) -> list[int]:
    """Return at most COLUMNS of n positions, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(n, COLUMNS)).round().astype(int)).tolist()


def title(data: SpeechData, found: SpeechEvaluation, u: int) -> str:
    """Return what a test recording is: its word, if known, and speaker."""
    word = found.test.word[u]
    return " by ".join([*([data.words[word]] if word >= 0 else []), data.speakers[found.test.speaker[u]]])


def name_of(data: SpeechData, converted: Conversions, p: int) -> str:
    """Return what the source of a conversion is: its word, if known, and speaker."""
    source = converted.source[p]
    word = converted.sources.word[source]
    speaker = data.speakers[converted.sources.speaker[source]]
    return f"{data.words[word]} by {speaker}" if word >= 0 else f"{converted.sources.names[source]} by {speaker}"


def take_of(converted: Conversions, p: int) -> int | None:
    """Return the first recording of a conversion's word by its target speaker, None if there is none."""
    word = converted.sources.word[converted.source[p]]
    takes = converted.takes
    own = np.flatnonzero((takes.speaker == converted.target[p]) & (takes.word == word) & (word >= 0))
    return int(own[0]) if len(own) else None


# --- sounds -------------------------------------------------------------------------------------------------


def write_clips(
    folder: Path, data: SpeechData, found: SpeechEvaluation, n_clips: int, vocoder: Vocoder | None
) -> list[Section]:
    """Write some recordings and what the model makes of them as sounds, and return the sections of their players."""
    settings = data.reader.settings
    sections = []
    for group, heading in GROUPS.items():
        if (converted := found.conversion.groups.get(group)) is None or not n_clips:
            continue
        rows = []
        for p in np.unique(np.linspace(0, len(converted.source) - 1, n_clips).round().astype(int)):
            take = take_of(converted, p)
            mels = [converted.sources.utterance(converted.source[p])]
            mels += [converted.takes.utterance(take)] if take is not None else []
            labels = ["source", *(["target's own"] if take is not None else [])]
            clips = list(zip(labels, to_waveforms(mels, settings, vocoder), strict=True))
            name = f"{name_of(data, converted, p)}, to {data.speakers[converted.target[p]]}"
            rows.append((name, [*clips, ("converted", converted.waves[p])]))
        players = write_players(folder, f"converted_{group or 'test'}", rows, settings.sample_rate_hz)
        sections.append(Section(heading, [players]))
    if n_clips:
        chosen = np.unique(np.linspace(0, len(found.rebuilt) - 1, n_clips).round().astype(int))
        mels = [mel for u in chosen for mel in (found.test.utterance(u), found.rebuilt[u])]
        waves = to_waveforms(mels, settings, vocoder)
        rows = [
            (title(data, found, u), [("original", waves[2 * k]), ("rebuilt", waves[2 * k + 1])])
            for k, u in enumerate(chosen)
        ]
        players = write_players(folder, "rebuilt", rows, settings.sample_rate_hz)
        sections.append(Section("Rebuilt in their own voice", [players]))
    return sections
