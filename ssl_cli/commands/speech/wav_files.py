"""WAV files of a verb's output."""

import io
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path, PurePath

import numpy as np
import soundfile

from ssl_cli.files import write_bytes

SUFFIX = ".wav"


def wav_bytes(wave: np.ndarray, sample_rate_hz: int) -> bytes:
    """Return a waveform (S,) as the content of a WAV file of 16 bits; one beyond -1..1 is made quieter as a whole."""
    content, peak = io.BytesIO(), float(np.abs(wave).max(initial=1.0))
    soundfile.write(content, wave / peak, sample_rate_hz, format="WAV", subtype="PCM_16")
    return content.getvalue()


def write_wav(path: Path, wave: np.ndarray, sample_rate_hz: int) -> None:
    """Write a WAV file, and the folder that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, wav_bytes(wave, sample_rate_hz))


def wav_names(names: Sequence[str]) -> list[str]:
    """Return a distinct name for the output of each recording: its own with .wav, after its suffix if that is taken."""
    taken: set[str] = set()
    files = []
    for name in names:
        numbered = (f"{name}.{k}{SUFFIX}" for k in count(2))
        plain = str(PurePath(name).with_suffix(SUFFIX))
        file = next(file for file in chain([plain, f"{name}{SUFFIX}"], numbered) if file not in taken)
        taken.add(file)
        files.append(file)
    return files
