"""Evaluation of a trained autoencoder of speech: what it rebuilds, what it converts, and what its codes know."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.reconstruct.collapse import CollapseWarning
from ssl_cli.commands.speech.batches import map_utterances
from ssl_cli.commands.speech.collapse import collapse_warnings
from ssl_cli.commands.speech.conversion_metrics import ConversionResult, judges_for, measure_conversion
from ssl_cli.commands.speech.probes import probe_metrics
from ssl_cli.commands.speech.unit_metrics import UnitSystem, unit_metrics, unit_systems
from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.utterances import SpeechSplit
from ssl_cli.evaluation.metrics.cepstra import DECIBELS, mel_cepstra
from ssl_cli.methods.speech.protocols import ConvertsVoices, HasContent, HasUnits
from ssl_cli.models.vocoders import Vocoder

MAX_REBUILT = 300  # test utterances


@dataclass
class SpeechEvaluation:
    """Metrics of a model, their intervals, and what figures and sounds are made of.

    `rebuilt` are the log-mels (T, M) of the first utterances of `test`, `systems` the units of all of them by name.
    """

    test: SpeechSplit
    rebuilt: list[np.ndarray]
    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    conversion: ConversionResult = field(default_factory=ConversionResult)
    systems: dict[str, UnitSystem] = field(default_factory=dict)
    warnings: list[CollapseWarning] = field(default_factory=list)


def evaluate(model: Any, data: SpeechData, cfg: DictConfig, vocoder: Vocoder | None = None) -> SpeechEvaluation:
    """Evaluate a trained model on the test utterances, or those of training if none are held out."""
    test = data.splits.get("test", data.splits["train"])
    console.say(f"evaluating on {len(test):,} {'test' if 'test' in data.splits else 'training'} utterances")
    some = test.take(np.arange(min(len(test), MAX_REBUILT)))
    found = SpeechEvaluation(test, rebuild(model, data, some))
    pairs = [frame_distortion_db(some.utterance(u), again) for u, again in enumerate(found.rebuilt)]
    found.metrics["test/rebuilt_mcd_db"] = float(np.mean(pairs))
    if cfg.judges and isinstance(model, ConvertsVoices) and len(data.reader.speakers) > 1:
        console.say("training judges of words and voices on real recordings, which then listen to conversions")
        found.conversion = measure_conversion(model, data, judges_for(data, cfg.seed, vocoder), cfg.seed, vocoder)
        found.metrics |= found.conversion.metrics
        found.intervals |= found.conversion.intervals
    if isinstance(model, HasUnits):
        found.systems = unit_systems(model, data, test, cfg.seed)
        units = unit_metrics(found.systems, test, data, cfg.seed)
        found.metrics |= {f"test/{name}": value for name, value in units.items()}
    if cfg.probes and isinstance(model, HasContent):
        found.metrics |= probe_metrics(model, data, cfg.seed)
    found.warnings = collapse_warnings(model, data, cfg.seed)
    return found


def rebuild(model: Any, data: SpeechData, split: SpeechSplit) -> list[np.ndarray]:
    """Return the rebuilt log-mels (T, M) of each utterance of a split, in its own voice."""
    normal, reader = data.reader.utterances(split), data.reader
    speaker = np.where(split.speaker < len(reader.speakers), split.speaker, -1)
    rebuilt = map_utterances(model, model.reconstruct_frames, normal, speaker, normal)
    return [reader.denormalize(frames, int(s)) for frames, s in zip(rebuilt, speaker, strict=True)]


def frame_distortion_db(original: np.ndarray, rebuilt: np.ndarray) -> float:
    """Return the mel-cepstral distortion in dB of log-mels (T, M), frame by frame."""
    difference = mel_cepstra(original) - mel_cepstra(rebuilt)
    return float(DECIBELS * np.sqrt(np.square(difference).sum(1)).mean())
