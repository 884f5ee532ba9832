"""Small sounds for tests: voiced noise in files."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile


def buzz(seconds: float, rate_hz: int = 8000, pitch_hz: float = 120, seed: int = 0) -> np.ndarray:
    """Return a pulse train with a little noise, (S,) float32: it has something in every mel band."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    noise = np.random.default_rng(seed).standard_normal(len(time_s))
    wave = 0.3 * np.exp(-40 * ((time_s * pitch_hz) % 1)) + 0.01 * noise
    return (wave - wave.mean()).astype(np.float32) if len(wave) else wave.astype(np.float32)


def save_sound(path: Path, seconds: float = 0.3, rate_hz: int = 8000, seed: int = 0, **options: Any) -> Path:
    """Write a buzz into a file, in a format by its suffix, and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, buzz(seconds, rate_hz, 100 + 7 * seed, seed), rate_hz, **options)
    return path


def save_speakers(folder: Path, speakers: tuple[str, ...] = ("anna", "ben"), n: int = 6) -> Path:
    """Write n sounds of different lengths for each speaker into folder/SPEAKER/0.wav and so on."""
    for s, speaker in enumerate(speakers):
        for k in range(n):
            save_sound(folder / speaker / f"{k}.wav", 0.2 + 0.05 * k, seed=10 * s + k)
    return folder
