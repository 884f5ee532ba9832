"""Metrics of units: what they say of phones and of speakers, beside k-means classes of log-mels on the same frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from ssl_cli.commands.speech.batches import map_utterances
from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.utterances import SpeechSplit
from ssl_cli.evaluation.metrics.abx import abx_across, angular_of_units, phone_tokens, sample_tokens
from ssl_cli.evaluation.metrics.audio import (
    code_metrics,
    count_table,
    information_share,
    is_silence,
    phone_metrics,
    pnmi_difference_interval,
    without_silence,
)
from ssl_cli.methods.speech.protocols import HasUnits

KMEANS_FRAMES = 50_000  # that the classes of log-mels are fitted to
CONTEXT = 3  # frames on either side, of the second baseline
MAX_ABX_GROUP = 10  # occurrences of a phone by a speaker, in ABX
BOOTSTRAP_SAMPLES = 1000
BASELINES = {"kmeans": 0, "kmeans7": CONTEXT}  # name -> frames on either side


@dataclass(frozen=True)
class UnitSystem:
    """A way to give every frame a unit: `units` (F,) of the frames of a split, and the `vectors` (K, C) of the units.

    `stride` frames share a unit.
    """

    units: np.ndarray
    vectors: np.ndarray
    stride: int = 1


def unit_systems(model: Any, data: SpeechData, split: SpeechSplit, seed: int) -> dict[str, UnitSystem]:
    """Return the units of a model for a split, and those of k-means on log-mels with as many classes."""
    assert isinstance(model, HasUnits)
    normal = data.reader.utterances(split)
    speaker, first = np.where(split.speaker < len(data.reader.speakers), split.speaker, -1), [normal[0][:1]]
    units = map_utterances(model, model.units, normal, speaker, first * len(normal), model.stride)
    by_frame = [np.repeat(own, model.stride)[: len(frames)] for own, frames in zip(units, normal, strict=True)]
    vectors = model.unit_vectors().cpu().numpy()
    systems = {"": UnitSystem(np.concatenate(by_frame), vectors, model.stride)}
    return systems | baselines(data, split, model.alphabet, seed)


def baselines(data: SpeechData, split: SpeechSplit, n_units: int, seed: int) -> dict[str, UnitSystem]:
    """Return k-means classes of the frames of a split, fitted to the training frames, normalised as the model's input:
    of single frames, and of seven around each."""
    train, systems = data.splits["train"], {}
    for name, context in BASELINES.items():
        means = fit_classes(with_context(data.reader.utterances(train), context), n_units, [seed, 13])
        units = means.predict(with_context(data.reader.utterances(split), context)).astype(np.int64)
        systems[name] = UnitSystem(units, means.cluster_centers_)
    return systems


def fit_classes(vectors: np.ndarray, n: int, seeds: Sequence[int]) -> MiniBatchKMeans:
    """Return n k-means classes of vectors (F, C), or as many as there are vectors; the first seed is scikit-learn's.

    They are fitted to KMEANS_FRAMES random vectors, which the seeds draw.
    """
    rows = np.random.default_rng(seeds).permutation(len(vectors))[:KMEANS_FRAMES]
    return MiniBatchKMeans(min(n, len(rows)), batch_size=4096, n_init=5, random_state=seeds[0]).fit(vectors[rows])


def with_context(normal: Sequence[np.ndarray], context: int) -> np.ndarray:
    """Return each frame with those around it, (F, (2 * context + 1) * M); the ends are repeated."""
    if not context:
        return np.concatenate(normal)
    width = 2 * context + 1
    padded = (np.pad(frames, ((context, context), (0, 0)), "edge") for frames in normal)
    windows = (np.lib.stride_tricks.sliding_window_view(frames, width, 0) for frames in padded)  # (T, M, width)
    return np.concatenate([window.reshape(len(window), -1) for window in windows])


def unit_metrics(
    systems: dict[str, UnitSystem], split: SpeechSplit, data: SpeechData, seed: int
) -> dict[str, float]:
    """Return the metrics of each system, those of a baseline with its name as suffix, and the interval of the lead."""
    frames_per_s, metrics = data.reader.settings.frames_per_s, dict[str, float]()
    for name, system in systems.items():
        own = metrics_of(system, split, data, seed) | rates(system, frames_per_s)
        metrics |= {f"{key}_{name}" if name else key: value for key, value in own.items()}
    if "pnmi" in metrics and split.phone is not None:
        utterance = np.repeat(np.arange(len(split)), split.lengths)
        for name in BASELINES:
            pair = systems[""].units, systems[name].units
            lead, interval = pnmi_difference_interval(split.phone, pair, utterance, BOOTSTRAP_SAMPLES, seed)
            metrics[f"pnmi_lead_{name}"] = lead
            if interval is not None:
                metrics |= {f"pnmi_lead_{name}_low": interval[0], f"pnmi_lead_{name}_high": interval[1]}
    return metrics


def rates(system: UnitSystem, frames_per_s: float) -> dict[str, float]:
    """Return how the units are used, and how many bits and units a second has."""
    counts = np.bincount(system.units, minlength=len(system.vectors))
    return {"units_per_s": frames_per_s / system.stride} | code_metrics(counts, frames_per_s / system.stride)


def metrics_of(system: UnitSystem, split: SpeechSplit, data: SpeechData, seed: int) -> dict[str, float]:
    """Return what the units say of phones (with and without silence) and speakers, and the ABX error of their vectors.

    ABX compares the vectors of the units, the codebook or the centres of the classes, in phones that are no silence.
    """
    n_units, n_speakers = len(system.vectors), len(data.speakers)
    speaker = np.repeat(split.speaker, split.lengths)
    of_speaker = information_share(count_table(speaker, system.units, n_speakers, n_units))
    metrics = {} if np.isnan(of_speaker) else {"unit_speaker": of_speaker}
    if split.phone is None or not (split.phone >= 0).any():
        return metrics
    table = count_table(split.phone, system.units, len(data.phones), n_units)
    spoken = phone_metrics(without_silence(table, data.phones))
    metrics |= phone_metrics(table) | {f"{key}_without_silence": value for key, value in spoken.items()}
    is_spoken = (split.phone >= 0) & ~is_silence(data.phones)[split.phone]
    tokens = phone_tokens(np.where(is_spoken, split.phone, -1), split.begin, split.speaker)
    chosen = sample_tokens(tokens, MAX_ABX_GROUP, seed)
    result = abx_across(chosen, angular_of_units(system.units, system.vectors))
    return metrics if np.isnan(result.error) else metrics | {"abx_across": result.error, "abx_triples": result.triples}
