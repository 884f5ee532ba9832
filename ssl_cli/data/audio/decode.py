"""Decoding of sound files: a file -> a waveform of one channel. Files are treated as untrusted."""

import math
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ssl_cli.data.io.content import SNIFFED_BYTES, content_kind
from ssl_cli.errors import InputError

MAX_SECONDS = 3600
MAX_SAMPLES = 1 << 28  # of a channel: an hour at 74 kHz
MIN_SECONDS = 0.1
MAX_CHANNELS = 32
SAMPLE_RATES_HZ = (4000, 384_000)
MAX_PEAK = 1e12  # far above full scale, which is 1, and far below what overflows
MIN_PEAK = 1e-4  # of a sound that is not silence: some 3 steps of 16 bits
ACTIVE_RMS = 0.05  # to which the active part of an utterance is scaled: -26 dB, as in ITU-T P.56
ACTIVE_RANGE_DB = 30.0  # blocks this far below the loudest one are not active
BLOCK_MS = 20
BLOCK_SAMPLES = 1 << 20  # that are decoded at once
MAX_MISSING_S = 0.1  # of what the header promises: compressed files may be off by a packet


def read_samples(file: Path | BytesIO) -> tuple[np.ndarray, int]:
    """Return the samples of a sound (S, 1) float32, the mean of its channels, and their rate in Hz.

    Raises InputError, with the reason alone, if it can't be read. The header is checked before anything is decoded.
    """
    try:
        with soundfile.SoundFile(file) as sound:
            _check_header(sound)
            samples = _read_mono(sound)
            n_missing = sound.frames - len(samples)
            rate_hz = sound.samplerate
    except (soundfile.LibsndfileError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(_reason(file, error)) from error
    if n_missing > MAX_MISSING_S * rate_hz:
        n_s = len(samples) / rate_hz
        raise InputError(f"it is cut off: it has {n_s:.3g} of {sound.frames / rate_hz:.3g} s")
    return samples, rate_hz


def _read_mono(sound: soundfile.SoundFile) -> np.ndarray:
    """Return the mean of all channels, (S, 1) float32; many of them are never all in memory."""
    if sound.channels == 1:
        return sound.read(dtype="float32", always_2d=True)
    blocks = sound.blocks(BLOCK_SAMPLES // sound.channels, dtype="float32", always_2d=True)
    return np.concatenate([block.mean(1, keepdims=True) for block in blocks])


def hear(
    samples: np.ndarray, rate_hz: int, sample_rate_hz: int, loudness: bool, trim: bool
) -> tuple[np.ndarray, float]:
    """Return samples (S, channels) as a waveform (S',) float32 at a sample rate, and the seconds cut off before it.

    Raises InputError, with the reason alone, if they are too short, silent, or no numbers.
    """
    if len(samples) < MIN_SECONDS * rate_hz:
        raise InputError(f"it has {len(samples) / rate_hz:.2g} s, fewer than {MIN_SECONDS:g} s")
    wave = samples.mean(1) if samples.shape[1] > 1 else samples[:, 0]
    low, high = float(wave.min()), float(wave.max())  # NaN if any is
    if not -MAX_PEAK < low <= high < MAX_PEAK:
        raise InputError("it has samples that are NaN, infinite or huge")
    if high - low < 2 * MIN_PEAK:
        raise InputError("it is silent")
    wave = wave - wave.mean()  # a constant voltage is no sound
    if rate_hz != sample_rate_hz:
        wave = soxr.resample(wave, rate_hz, sample_rate_hz)
    return _level(wave, sample_rate_hz, loudness, trim)


def _level(wave: np.ndarray, sample_rate_hz: int, loudness: bool, trim: bool) -> tuple[np.ndarray, float]:
    """Return a waveform (S,) equally loud and without silence at its ends, as asked, and the seconds cut off first."""
    size = min(len(wave), sample_rate_hz * BLOCK_MS // 1000)
    blocks = wave[: len(wave) // size * size].reshape(-1, size)
    power = np.einsum("bs,bs->b", blocks, blocks, dtype=np.float64) / size  # of each block
    active = power >= power.max() * 10 ** (-ACTIVE_RANGE_DB / 10)
    start, end = 0, len(wave)
    if trim:  # one block more on each side, for a soft beginning
        loud = np.flatnonzero(active)
        start = max(0, (int(loud[0]) - 1) * size)
        end = max(min(end, (int(loud[-1]) + 2) * size), start + math.ceil(MIN_SECONDS * sample_rate_hz))
    if loudness:
        wave = wave * np.float32(ACTIVE_RMS / np.sqrt(power[active].mean()))
    return wave[start:end], start / sample_rate_hz


def check_rate(rate_hz: object) -> int:
    """Return a sample rate. Raises InputError, with the reason alone, if it is none of speech."""
    low, high = SAMPLE_RATES_HZ
    if not isinstance(rate_hz, int) or not low <= rate_hz <= high:
        raise InputError(f"its sample rate is {rate_hz} Hz, not {low:,} to {high:,}")
    return rate_hz


def _check_header(file: soundfile.SoundFile) -> None:
    check_rate(file.samplerate)
    if file.channels > MAX_CHANNELS:
        raise InputError(f"it has {file.channels:,} channels, more than {MAX_CHANNELS}")
    if file.frames <= 0:
        raise InputError("it has no samples")
    limit_s = min(MAX_SECONDS, MAX_SAMPLES / file.samplerate)
    if file.frames > limit_s * file.samplerate:
        raise InputError(f"it has {file.frames / file.samplerate:,.0f} s, more than {limit_s:,.0f}: cut it up")


def _reason(path: Path | BytesIO, error: Exception) -> str:
    """Return why a file can't be read: what it is, if it is no sound."""
    if isinstance(path, BytesIO):
        start = path.getvalue()[:SNIFFED_BYTES]
    elif not path.is_file():
        return "there is no such file"
    else:
        try:
            with path.open("rb") as file:
                start = file.read(SNIFFED_BYTES)
        except OSError as unreadable:
            return unreadable.strerror or str(unreadable)
    if not start:
        return "it is empty"
    kind = content_kind(start)
    if kind is None:
        return "it is text, not a sound" if _is_text(start) else "it is no sound of a known kind"
    if not kind.endswith("sound"):
        return f"it is {kind}, not a sound"
    fault = str(getattr(error, "error_string", "") or error).removeprefix("Error : ").rstrip(".")
    return f"it is damaged: {fault}"


def _is_text(start: bytes) -> bool:
    """Return whether the first bytes of a file are UTF-8, but for a character that they may cut off."""
    try:
        return "\0" not in start[:-3].decode()
    except UnicodeDecodeError as error:
        return error.end >= len(start) - 3 and error.start > 0
