"""Small recordings that tests make: words of two vowels, spoken by speakers of their own pitch."""

from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 8000
SPEAKERS = {"ann": 220.0, "bob": 110.0, "cid": 150.0}  # pitch in Hz
WORDS = {"ai": ((800, 1200), (300, 2300)), "ua": ((320, 800), (800, 1200))}  # two formants in Hz of each vowel


def vowel(pitch_hz: float, formants_hz: tuple[int, int], seconds: float) -> np.ndarray:
    """Return harmonics of a pitch, louder near the formants, (S,)."""
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    harmonics = np.arange(pitch_hz, RATE_HZ / 2, pitch_hz)
    loud = sum(np.exp(-(((harmonics - formant) / 150) ** 2)) for formant in formants_hz) + 0.02
    return (loud[:, None] * np.sin(2 * np.pi * harmonics[:, None] * time)).sum(0)


def word(speaker: str, name: str, rng: np.random.Generator) -> np.ndarray:
    """Return a word of about 0.3 s by a speaker, with a little noise, (S,)."""
    pitch = SPEAKERS[speaker] * rng.uniform(0.97, 1.03)
    parts = [vowel(pitch, formants, rng.uniform(0.12, 0.18)) for formants in WORDS[name]]
    wave = np.concatenate(parts)
    return 0.3 * wave / np.abs(wave).max() + 0.003 * rng.normal(size=len(wave))


def write_recordings(folder: Path, takes: int = 6, seed: int = 0) -> Path:
    """Write `word_speaker_take.wav` for every word, speaker and take, as FSDD has them, and return the folder."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for speaker in SPEAKERS:
        for name in WORDS:
            for take in range(takes):
                soundfile.write(folder / f"{name}_{speaker}_{take}.wav", word(speaker, name, rng), RATE_HZ)
    return folder
