"""Metrics of voice conversion: judges and mel-cepstral distortion, from waveforms. docs/speech.md defines each one.

Each pair is a recording that nobody learned from, and another speaker. A group of pairs has a prefix in its keys:
none for test recordings and training speakers, `unheard_source` and `unheard_target` for speakers kept out of training,
and `without_word` for the pairs of the first group when the reference has no recording of the word.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ssl_cli.commands.speech.batches import map_utterances
from ssl_cli.commands.speech.judges import Judges, train_judges
from ssl_cli.commands.speech.waveforms import heard, to_waveforms
from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.utterances import SpeechSplit, spread_order
from ssl_cli.evaluation.metrics.bootstrap import bootstrap_intervals
from ssl_cli.evaluation.metrics.cepstra import distortion_db
from ssl_cli.models.vocoders import Vocoder

MAX_PAIRS, MAX_TAKES = 300, 5  # pairs of a group; recordings of the target that a conversion is compared with
BOOTSTRAP_SAMPLES = 1000
UNKNOWN = -1
WITHOUT_WORD = "without_word"  # a group


@dataclass
class Conversions:
    """Pairs of a group: the recording `source[p]` of `sources`, in the voice of speaker `target[p]`.

    `log_mels` are those that the model gives, (T, M) each; `waves` (S,) are their waveforms, and `heard` the log-mels
    of these. `takes` are recordings of the target speakers that the model didn't hear.
    """

    sources: SpeechSplit
    source: np.ndarray
    target: np.ndarray
    takes: SpeechSplit
    log_mels: list[np.ndarray]
    waves: list[np.ndarray]
    heard: list[np.ndarray]


@dataclass
class ConversionResult:
    """Metrics and their 95 % intervals by key, and the conversions of each group, by its prefix."""

    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    groups: dict[str, Conversions] = field(default_factory=dict)


def unheard_halves(data: SpeechData) -> tuple[SpeechSplit, SpeechSplit] | None:
    """Return recordings of speakers kept out of training in two halves: for judges and references, and to be judged.

    Each speaker and word is in both. None if there are none.
    """
    if "unheard" not in data.splits:
        return None
    unheard = data.splits["unheard"]
    order = np.lexsort((np.arange(len(unheard)), unheard.word, unheard.speaker))
    return unheard.take(np.sort(order[::2])), unheard.take(np.sort(order[1::2]))


def judges_for(data: SpeechData, seed: int, vocoder: Vocoder | None = None) -> Judges:
    """Train judges on the training recordings, and on half of those of speakers kept out of training."""
    halves = unheard_halves(data)
    splits = [data.splits["train"], *(halves[:1] if halves else ())]
    return train_judges(splits, data.words, data.speakers, data.reader, seed, vocoder)


def measure_conversion(
    model: Any, data: SpeechData, judges: Judges, seed: int, vocoder: Vocoder | None = None
) -> ConversionResult:
    """Convert pairs of each group that the model and the data allow, and return what judges hear.

    All draws follow from the seed. Without a test split, or a second speaker, there is nothing to measure.
    """
    result, test, n_heard = ConversionResult(), data.splits.get("test"), len(data.reader.speakers)
    if test is None or n_heard < 2:
        return result
    voices, halves = data.reader.voices, unheard_halves(data)
    assert voices is not None
    for name, value in judge_metrics(judges, test, data, vocoder).items():
        result.metrics[f"test/{name}"] = value
    pairs = sample_pairs(test, np.arange(n_heard), seed)
    _add(result, "", convert_pairs(model, data, (test, *pairs), voices, test, vocoder), judges, seed)
    if model.hears_reference and data.words:
        without = convert_pairs(model, data, (test, *pairs), voices, test, vocoder, without_word=True)
        _add(result, WITHOUT_WORD, without, judges, seed)
    if halves is not None:
        known, judged = halves
        pairs = sample_pairs(judged, np.arange(n_heard), seed)
        converted = convert_pairs(model, data, (judged, *pairs), voices, test, vocoder)
        _add(result, "unheard_source", converted, judges, seed)
        if model.hears_reference:
            pairs = sample_pairs(test, np.arange(n_heard, len(data.speakers)), seed)
            converted = convert_pairs(model, data, (test, *pairs), known, judged, vocoder)
            _add(result, "unheard_target", converted, judges, seed)
    return result


def sample_pairs(sources: SpeechSplit, targets: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return MAX_PAIRS random pairs of a recording's position and another speaker, (P,) each, or all if they are fewer.

    No recording occurs twice before all have occurred, or have no other speaker.
    """
    rng = np.random.default_rng([seed, 13])
    ranked = []
    for u, speaker in enumerate(sources.speaker):
        others = rng.permutation(targets[targets != speaker])
        ranked += [(k, rng.random(), u, int(target)) for k, target in enumerate(others)]
    chosen = sorted(ranked)[:MAX_PAIRS]
    return np.array([pair[2] for pair in chosen], np.int64), np.array([pair[3] for pair in chosen], np.int64)


def convert_pairs(
    model: Any,
    data: SpeechData,
    pairs: tuple[SpeechSplit, np.ndarray, np.ndarray],
    voices: SpeechSplit,
    takes: SpeechSplit,
    vocoder: Vocoder | None = None,
    without_word: bool = False,
) -> Conversions:
    """Convert pairs (recordings, position, target speaker) to the target's voice in `voices`, as `ssl convert` does.

    With `without_word` the reference has no recording of the source's word.
    """
    sources, source, target = pairs
    reader = data.reader
    normal = reader.normalize(sources.frames, sources.begin, sources.speaker)
    inputs = [normal[sources.begin[u] : sources.begin[u + 1]] for u in source]
    n_frames = max(1, int(model.reference_s * reader.settings.frames_per_s))
    references = _References(data, voices, n_frames)
    words = sources.word[source] if without_word else np.full(len(source), UNKNOWN)
    heard_as = [references.of(*key) for key in zip(target.tolist(), words.tolist(), strict=True)]
    speaker = np.where(target < len(reader.speakers), target, UNKNOWN)
    converted = map_utterances(model, model.convert, inputs, speaker, heard_as)
    log_mels = [references.denormalize(frames, t) for frames, t in zip(converted, target.tolist(), strict=True)]
    waves = to_waveforms(log_mels, reader.settings, vocoder)
    return Conversions(sources, source, target, takes, log_mels, waves, heard(waves, reader))


class _References:
    """Normalised frames of some recordings of each speaker, up to a number, without those of a word if asked."""

    def __init__(self, data: SpeechData, voices: SpeechSplit, n_frames: int):
        self.reader, self.voices, self.n_frames = data.reader, voices, n_frames
        self.normal = data.reader.normalize(voices.frames, voices.begin, voices.speaker)
        self._made: dict[tuple[int, int], np.ndarray] = {}

    def of(self, speaker: int, word: int) -> np.ndarray:
        """Return frames (R, M) of a speaker, without recordings of a word; all if the speaker says nothing else."""
        if (speaker, word) not in self._made:
            own = np.flatnonzero((self.voices.speaker == speaker) & ((self.voices.word != word) | (word == UNKNOWN)))
            own = own if len(own) else np.flatnonzero(self.voices.speaker == speaker)
            own = own[spread_order(len(own))]  # files are often sorted by word
            begin = self.voices.begin
            parts = [self.normal[begin[u] : begin[u + 1]] for u in own]
            self._made[speaker, word] = np.concatenate(parts)[: self.n_frames]
        return self._made[speaker, word]

    def denormalize(self, frames: np.ndarray, speaker: int) -> np.ndarray:
        """Return the log-mels of normalised frames (T, M) in a speaker's voice."""
        if self.reader.normalization == "global" or speaker < len(self.reader.speakers):
            return self.reader.denormalize(frames, speaker)
        own = self.voices.take(self.voices.speaker == speaker).frames
        return self.reader.denormalize(frames, (own.mean(0), own.std(0)))


def _add(result: ConversionResult, group: str, converted: Conversions, judges: Judges, seed: int) -> None:
    """Measure a group's conversions, and add them and their metrics to a result."""
    if not len(converted.source):
        return
    values = pair_values(converted, judges)
    if group == WITHOUT_WORD:  # the recordings are those of the first group
        values = {name: each for name, each in values.items() if name not in ("mcd_source_db", "mcd_take_db")}

    def means(rows: np.ndarray) -> dict[str, float]:
        with np.errstate(invalid="ignore"):
            return {name: _mean(each[rows]) for name, each in values.items()}

    prefix = f"test/{group}_" if group else "test/"
    n = len(converted.source)
    result.metrics |= {f"{prefix}{name}": value for name, value in means(np.arange(n)).items() if np.isfinite(value)}
    intervals = bootstrap_intervals(means, n, BOOTSTRAP_SAMPLES, seed)
    result.intervals |= {f"{prefix}{name}": ends for name, ends in intervals.items()}
    result.metrics[f"{prefix}conversions"] = n
    result.groups[group] = converted


def _mean(values: np.ndarray) -> float:
    """Return the mean of the values that are known, NaN if none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def pair_values(converted: Conversions, judges: Judges) -> dict[str, np.ndarray]:
    """Return the metrics of each pair, (P,) each; NaN where one is unknown."""
    sources, source, values = converted.sources, converted.source, dict[str, np.ndarray]()
    word = sources.word[source]
    if judges.word is not None and (word >= 0).any():
        answers = judges.word.answers(converted.heard)
        values["word_kept"] = np.where(word >= 0, answers == word, np.nan)
    if judges.speaker is not None:
        answers = judges.speaker.answers(converted.heard)
        values["target_voice"] = (answers == converted.target).astype(float)
        values["source_voice"] = (answers == sources.speaker[source]).astype(float)
    return values | distortions(converted)


def distortions(converted: Conversions) -> dict[str, np.ndarray]:
    """Return mel-cepstral distortions in dB of each pair from the target's own takes of the word, (P,) each.

    They are the means over up to MAX_TAKES of them: of the converted waveform, of the unconverted source, and of those
    takes from each other. Nothing if the word of no pair has a take.
    """
    sources, source, takes = converted.sources, converted.source, converted.takes
    wanted = [
        np.flatnonzero((takes.speaker == target) & (takes.word == word) & (word >= 0))[:MAX_TAKES]
        for target, word in zip(converted.target, sources.word[source], strict=True)
    ]
    pair = np.repeat(np.arange(len(source)), [len(rows) for rows in wanted])
    if not len(pair):
        return {}
    originals = [sources.utterance(u) for u in source]
    frames = [*converted.heard, *originals, *(takes.utterance(u) for u in range(len(takes)))]
    begin = np.concatenate([[0], np.cumsum([len(each) for each in frames])])
    all_frames, n, take = np.concatenate(frames), len(source), np.concatenate(wanted) + 2 * len(source)
    others = [(p, a, b) for p, rows in enumerate(wanted) for a in rows for b in rows if a < b]
    values = {
        "mcd_db": _mean_by(pair, distortion_db(all_frames, begin, (pair, take)), n),
        "mcd_source_db": _mean_by(pair, distortion_db(all_frames, begin, (pair + n, take)), n),
    }
    if others:
        p, a, b = np.array(others).T
        values["mcd_take_db"] = _mean_by(p, distortion_db(all_frames, begin, (a + 2 * n, b + 2 * n)), n)
    return values


def _mean_by(group: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Return the mean of the values of each of n groups, NaN for an empty one."""
    with np.errstate(invalid="ignore"):
        return np.bincount(group, values, n) / np.bincount(group, minlength=n)


def judge_metrics(
    judges: Judges, split: SpeechSplit, data: SpeechData, vocoder: Vocoder | None = None
) -> dict[str, float]:
    """Return how often judges are right about real recordings, and about these through Griffin-Lim: the ceiling."""
    chosen = np.unique(np.linspace(0, len(split) - 1, min(len(split), MAX_PAIRS)).round().astype(int))
    real: Sequence[np.ndarray] = [split.utterance(u) for u in chosen]
    metrics, through = {}, heard(to_waveforms(real, data.reader.settings, vocoder), data.reader)
    words, speakers = split.word[chosen], split.speaker[chosen]
    for name, judge, labels in (("word", judges.word, words), ("speaker", judges.speaker, speakers)):
        if judge is not None and (labels >= 0).any():
            for suffix, clips in (("", real), ("_resynthesized", through)):
                metrics[f"{name}_judge{suffix}"] = float((judge.answers(clips) == labels)[labels >= 0].mean())
    return metrics
