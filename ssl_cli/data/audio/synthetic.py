"""Synthetic speech: a small formant synthesiser, so that everything about speech runs anywhere, without a download.

A voice has a pitch and a length of its vocal tract, which scales its formants. A word is a few phones, whose times
are exact. After Klatt 1980: glottal pulses through a cascade of resonators, and noise through one. It sounds like
speech enough for filters and classifiers, but it is far easier than recordings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from scipy.ndimage import uniform_filter1d

from ssl_cli.config.types import Range, Seed
from ssl_cli.data.audio.alignments import SILENCE, Segment
from ssl_cli.data.audio.datasets import Speech
from ssl_cli.data.audio.recordings import Recordings

RATE_HZ = 8000
# Formants 1 to 3 of a tract of average length (Hz), voicing, noise, the noise's resonance (Hz), and a duration (s).
PHONES: dict[str, tuple[float, float, float, float, float, float, float]] = {
    SILENCE: (500, 1500, 2500, 0, 0, 2000, 0.08),
    "a": (750, 1250, 2500, 1, 0, 2000, 0.14),
    "e": (480, 1900, 2550, 1, 0, 2000, 0.13),
    "i": (290, 2250, 2950, 1, 0, 2000, 0.12),
    "o": (480, 850, 2450, 1, 0, 2000, 0.14),
    "u": (310, 700, 2300, 1, 0, 2000, 0.12),
    "m": (250, 1000, 2200, 0.35, 0, 2000, 0.09),
    "n": (250, 1500, 2500, 0.35, 0, 2000, 0.09),
    "l": (350, 1100, 2800, 0.5, 0, 2000, 0.08),
    "s": (400, 1700, 2600, 0, 0.5, 3500, 0.12),
    "f": (400, 1200, 2400, 0, 0.25, 2100, 0.11),
    "t": (400, 1700, 2600, 0, 0.9, 3000, 0.03),
    "k": (400, 1500, 2200, 0, 0.9, 1500, 0.04),
}
STOPS = ("t", "k")  # begin with a closure, which counts as part of them
CLOSURE_S = 0.05
# Pitch (Hz) and tract length against the average.
VOICES = {
    "anna": (215, 0.88), "ben": (105, 1.12), "clara": (185, 0.95),
    "david": (130, 1.02), "emma": (245, 0.83), "felix": (88, 1.18),
}  # fmt: skip
WORDS = ("sami", "tolu", "neka", "fimo", "luse", "kato", "mina", "osti")
FORMANT_BANDWIDTHS_HZ = (80, 100, 140, 250)
BATCH = 80  # recordings that are computed side by side
GLIDE_S = 0.03  # in which one phone becomes the next


@dataclass(kw_only=True)
class SyntheticSpeech(Speech):
    """Words spoken by a synthesiser in several voices, with exact phone alignments."""

    takes: Annotated[int, Range(1, 1000), "recordings of each word by each voice"] = 10
    synthesis_seed: Annotated[Seed, "of what differs between takes"] = 0

    def recordings(self) -> Recordings:
        """Return every word by every voice."""
        spoken = list(synthesize(self.takes, self.synthesis_seed))
        names, waves, segments = zip(*spoken, strict=True)
        words, speakers, takes = zip(*(name.split("_") for name in names), strict=True)
        n, version = len(names), f"{self.takes} {self.synthesis_seed}"
        return Recordings(
            place="the synthetic speech",
            names=list(names),
            speakers=list(speakers),
            words=list(words),
            takes=list(takes),
            splits=[""] * n,
            versions=[version] * n,
            sizes=[wave.nbytes for wave in waves],
            rates_hz=[RATE_HZ],
            load=lambda k: (waves[k][:, None], RATE_HZ),
            align=lambda k: segments[k],
        )


def synthesize(takes: int, seed: int) -> Iterator[tuple[str, np.ndarray, list[Segment]]]:
    """Yield each recording: its name WORD_VOICE_TAKE, its waveform (S,) float32 at RATE_HZ, and its phones."""
    rng = np.random.default_rng([seed, 20])
    for voice, (pitch_hz, tract) in VOICES.items():
        names = [f"{word}_{voice}_{take}" for word in WORDS for take in range(takes)]
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            scripts = [_script(name.split("_")[0], rng) for name in batch]
            waves = _speak(scripts, pitch_hz, tract, rng)
            for name, script, wave in zip(batch, scripts, waves, strict=True):
                ends = np.cumsum([n for _, n in script]) / RATE_HZ
                phones = [phone for phone, _ in script]
                yield name, wave, list(zip([0.0, *ends[:-1]], ends, phones, strict=True))


def _script(word: str, rng: np.random.Generator) -> list[tuple[str, int]]:
    """Return the phones of one take with their lengths in samples, silence before and after."""
    phones = [SILENCE, *word, SILENCE]
    seconds = np.array([PHONES[phone][-1] + CLOSURE_S * (phone in STOPS) for phone in phones])
    seconds = seconds * rng.uniform(0.85, 1.2) * rng.uniform(0.85, 1.15, len(phones))
    return list(zip(phones, np.round(seconds * RATE_HZ).astype(int), strict=True))


def _speak(
    scripts: list[list[tuple[str, int]]], pitch_hz: float, tract: float, rng: np.random.Generator
) -> list[np.ndarray]:
    """Return the waveforms of scripts in one voice, computed side by side: columns of (S, N)."""
    n, lengths = len(scripts), [sum(length for _, length in script) for script in scripts]
    controls = np.tile(np.array(PHONES[SILENCE][:6], float)[:, None, None], (1, max(lengths), n))  # (6, S, N)
    for k, script in enumerate(scripts):
        start = 0
        for phone, length in script:
            controls[:, start : start + length, k] = np.array(PHONES[phone][:6])[:, None]
            if phone in STOPS:
                controls[4, start : start + int(CLOSURE_S * RATE_HZ), k] = 0
            start += length
    controls = uniform_filter1d(controls, int(GLIDE_S * RATE_HZ), axis=1, mode="nearest")
    hz, (voicing, noise, noise_hz) = controls[:3], controls[3:]
    hz = np.concatenate([hz, np.full_like(hz[:1], 3400)]) / tract * rng.uniform(0.97, 1.03, (4, 1, n))
    time_s = np.arange(max(lengths))[:, None] / RATE_HZ  # (S, 1)
    wobble = 1 + 0.02 * np.sin(2 * np.pi * (5 * time_s + rng.random(n)))
    pitch = pitch_hz * rng.uniform(0.93, 1.07, n) * wobble * (1.08 - 0.25 * time_s)  # (S, N), falling
    wave = voicing * _glottal_pulses(pitch, rng)
    for formant, bandwidth in zip(hz, FORMANT_BANDWIDTHS_HZ, strict=True):
        wave = _resonate(wave, formant.clip(max=0.47 * RATE_HZ), bandwidth)
    wave += 0.006 * _resonate(noise * rng.standard_normal(wave.shape), (noise_hz / tract).clip(max=0.45 * RATE_HZ), 500)
    wave += 5e-5 * rng.standard_normal(wave.shape)  # the room
    wave *= 0.3 / np.abs(wave).max(0)
    return [wave[:length, k].astype(np.float32) for k, length in enumerate(lengths)]


def _glottal_pulses(pitch_hz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the change of air flow through the glottis, (S, N): it opens slowly and shuts fast, and hisses."""
    phase = (np.cumsum(pitch_hz, 0) / RATE_HZ + rng.random(pitch_hz.shape[1])) % 1
    opening = phase / 0.6  # of a period it is open for this share
    flow = np.where(opening < 1, opening**2 - opening**3, 0)  # Klatt 1980
    return np.diff(flow, axis=0, prepend=0) + 0.0005 * rng.standard_normal(flow.shape)


def _resonate(x: np.ndarray, hz: np.ndarray, bandwidth_hz: float) -> np.ndarray:
    """Return x (S, N) through a resonator whose frequency (S, N) changes: Klatt 1980, eq. 1 and 2."""
    c = -np.exp(-2 * np.pi * bandwidth_hz / RATE_HZ)
    b = 2 * np.exp(-np.pi * bandwidth_hz / RATE_HZ) * np.cos(2 * np.pi * hz / RATE_HZ)
    y, before, before_that = (1 - b - c) * x, np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for t in range(len(x)):
        y[t] += b[t] * before + c * before_that
        before, before_that = y[t], before
    return y
