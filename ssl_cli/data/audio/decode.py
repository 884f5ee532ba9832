"""Decoding of sound files: a file -> a waveform of one channel. Files are treated as untrusted."""

from pathlib import Path

import numpy as np
import soundfile
import soxr

from ssl_cli.data.io.content import file_kind
from ssl_cli.errors import InputError

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")
MAX_SECONDS = 3600
MIN_SECONDS = 0.1
MAX_CHANNELS = 32
SAMPLE_RATES_HZ = (4000, 384_000)
MAX_SAMPLES = 1 << 29  # of all channels together: 2 GiB as float32
MIN_PEAK = 1e-4  # of a sound that is not silence: 3 steps of 16 bits
ACTIVE_RMS = 0.05  # to which the active part of an utterance is scaled: -26 dB, as in ITU-T P.56
ACTIVE_RANGE_DB = 30.0  # blocks this far below the loudest one are not active
BLOCK_MS = 20


def read_waveform(path: Path, sample_rate_hz: int) -> np.ndarray:
    """Return a sound as one channel at a sample rate, (S,) float32, as loud as it is.

    Raises InputError, with the reason alone, if it can't be read, or is too short, too long or silent. The header is
    checked before anything is decoded.
    """
    try:
        with soundfile.SoundFile(path) as file:
            _check_header(file)
            samples = file.read(dtype="float32", always_2d=True)  # (S, channels)
            rate_hz = file.samplerate
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise InputError(_reason(path, error)) from error
    return to_mono(samples, rate_hz, sample_rate_hz)


def to_mono(samples: np.ndarray, rate_hz: int, sample_rate_hz: int) -> np.ndarray:
    """Return samples (S, channels) as their mean at a sample rate, (S',) float32. Raises InputError with the reason."""
    if not np.isfinite(samples).all():
        raise InputError("it has samples that are NaN or infinite")
    if len(samples) < MIN_SECONDS * rate_hz:
        raise InputError(f"it has {len(samples) / rate_hz:.2g} s, fewer than {MIN_SECONDS:g} s")
    wave = samples.mean(1) if samples.shape[1] > 1 else samples[:, 0]
    if np.abs(wave).max() < MIN_PEAK:
        raise InputError("it is silent")
    return wave if rate_hz == sample_rate_hz else soxr.resample(wave, rate_hz, sample_rate_hz)


def _check_header(file: soundfile.SoundFile) -> None:
    low, high = SAMPLE_RATES_HZ
    if not low <= file.samplerate <= high:
        raise InputError(f"its sample rate is {file.samplerate:,} Hz, not {low:,} to {high:,}")
    if file.channels > MAX_CHANNELS:
        raise InputError(f"it has {file.channels:,} channels, more than {MAX_CHANNELS}")
    if file.frames <= 0:
        raise InputError("it has no samples")
    if file.frames > MAX_SECONDS * file.samplerate or file.frames * file.channels > MAX_SAMPLES:
        raise InputError(f"it has {file.frames / file.samplerate:,.0f} s, more than {MAX_SECONDS:,}: cut it up")


def _reason(path: Path, error: Exception) -> str:
    """Return why a file can't be read: what it is, if it is no sound."""
    if not path.is_file():
        return "there is no such file"
    if path.stat().st_size == 0:
        return "it is empty"
    try:
        kind = file_kind(path)
    except InputError as unreadable:
        return str(unreadable)
    if kind is None:
        return "it is not a sound: it may be text"
    if "sound" not in kind:
        return f"it is {kind}, not a sound"
    return f"it is damaged: {getattr(error, 'error_string', None) or error}".rstrip(".")


def equalize_loudness(wave: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Return a waveform (S,) whose active part has the RMS ACTIVE_RMS."""
    power = _block_power(wave, sample_rate_hz)
    active = power >= power.max() * 10 ** (-ACTIVE_RANGE_DB / 10)
    return wave * np.float32(ACTIVE_RMS / np.sqrt(power[active].mean()))


def trim_silence(wave: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Return a waveform (S,) without the silence before its first active block and after its last one."""
    power = _block_power(wave, sample_rate_hz)
    active = np.flatnonzero(power >= power.max() * 10 ** (-ACTIVE_RANGE_DB / 10))
    size = sample_rate_hz * BLOCK_MS // 1000
    least = int(MIN_SECONDS * sample_rate_hz)
    first, last = max(0, (active[0] - 1) * size), min(len(wave), (active[-1] + 2) * size)
    return wave[first : max(last, first + least)]


def _block_power(wave: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Return the mean square of each block of BLOCK_MS; a rest shorter than a block is left out."""
    size = min(len(wave), sample_rate_hz * BLOCK_MS // 1000)
    blocks = wave[: len(wave) // size * size].reshape(-1, size)
    return np.einsum("bs,bs->b", blocks, blocks, dtype=np.float64) / size
