"""Decoding: formats, and files that are not what they claim."""

import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from ssl_cli.data.audio.decode import ACTIVE_RMS, hear, read_samples
from ssl_cli.errors import InputError
from tests.helpers.sounds import buzz, save_sound


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        *(("a.wav", subtype) for subtype in ("PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE", "ULAW")),
        ("a.flac", None), ("a.ogg", None), ("a.mp3", None), ("a.aiff", None),
    ],
)  # fmt: skip
def test_formats(tmp_path: Path, name: str, subtype: str | None) -> None:
    samples, rate_hz = read_samples(save_sound(tmp_path / name, 0.5, 16000, subtype=subtype))
    assert (samples.dtype, rate_hz, samples.shape) == (np.float32, 16000, (8000, 1))
    similar = np.corrcoef(samples[:, 0], buzz(0.5, 16000, 100))[0, 1]
    assert similar > 0.95


def test_channels_are_averaged_and_rates_converted(tmp_path: Path) -> None:
    wave = buzz(0.5, 44100)
    soundfile.write(tmp_path / "stereo.wav", np.stack([wave, np.zeros_like(wave)], 1), 44100)
    samples, rate_hz = read_samples(tmp_path / "stereo.wav")
    np.testing.assert_allclose(samples[:, 0], wave / 2, atol=1e-4)
    heard, skipped_s = hear(samples, rate_hz, 8000, loudness=False, trim=False)
    assert (len(heard), skipped_s) == (4000, 0)


def header(channels: int, rate_hz: int, n_bytes: int) -> bytes:
    """Return the header of a WAV file of 16 bits that promises so many bytes of samples."""
    fmt = struct.pack("<IHHIIHH", 16, 1, channels, rate_hz, rate_hz * channels * 2 % 2**32, channels * 2, 16)
    return b"RIFF" + struct.pack("<I", 36 + n_bytes) + b"WAVEfmt " + fmt + b"data" + struct.pack("<I", n_bytes)


def encoded(wave: np.ndarray, form: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = BytesIO()
    soundfile.write(buffer, wave, 8000, format=form, subtype=subtype)
    return buffer.getvalue()


def with_promise_of_hours(flac: bytes) -> bytes:
    """Return a FLAC file whose header promises 2^36 - 1 samples."""
    return flac[:21] + bytes([flac[21] | 0xF]) + b"\xff" * 4 + flac[26:]


def picture() -> bytes:
    buffer = BytesIO()
    Image.new("L", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def with_value(value: float) -> np.ndarray:
    wave = buzz(0.3)
    wave[7] = value
    return wave


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "it is empty"),
    "text": (lambda: "Grüße, a text\n".encode() * 9, "it is text, not a sound"),
    "bytes": (lambda: bytes(range(256)) * 9, "it is no sound of a known kind"),
    "picture": (picture, "it is a PNG picture, not a sound"),
    "half a header": (lambda: encoded(buzz(0.3))[:30], "it is damaged: "),
    "half a FLAC": (lambda: encoded(buzz(2), "FLAC")[:4000], "it is damaged: "),
    "no samples": (lambda: encoded(buzz(0)), "it has no samples"),
    "0.05 s": (lambda: encoded(buzz(0.05)), "it has 0.05 s, fewer than 0.1 s"),
    "silence": (lambda: encoded(np.zeros(4000)), "it is silent"),
    "constant": (lambda: encoded(np.full(4000, 0.5)), "it is silent"),
    "NaN": (lambda: encoded(with_value(np.nan), subtype="FLOAT"), "it has samples that are NaN, infinite or huge"),
    "infinity": (lambda: encoded(with_value(-np.inf), subtype="FLOAT"), "it has samples that are NaN, infinite"),
    "huge": (lambda: encoded(with_value(1e30), subtype="FLOAT"), "it has samples that are NaN, infinite or huge"),
    "a thousand channels": (lambda: header(1000, 8000, 1 << 30) + bytes(8000), "it has 1,000 channels, more than 32"),
    "a high rate": (lambda: header(1, 2_000_000_000, 99) + bytes(99), "its sample rate is 2000000000 Hz"),
    "a rate of 1": (lambda: header(1, 1, 99) + bytes(99), "its sample rate is 1 Hz, not 4,000 to 384,000"),
    "hours": (lambda: with_promise_of_hours(encoded(buzz(1), "FLAC")), "more than 3,600: cut it up"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BAD))
def test_what_is_no_speech_is_one_sentence(tmp_path: Path, name: str) -> None:
    make, reason = BAD[name]
    (tmp_path / "x.wav").write_bytes(make())
    for file in (tmp_path / "x.wav", BytesIO(make())):
        with pytest.raises(InputError) as error:
            hear(*read_samples(file), 8000, loudness=True, trim=True)
        assert str(error.value).startswith(reason) or reason in str(error.value)


def test_a_header_that_promises_hours_of_wav_gives_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(header(1, 8000, 0xFFFFFF00) + (buzz(0.5) * 30000).astype("<i2").tobytes())
    assert read_samples(path)[0].shape == (4000, 1)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.wav", tmp_path):
        with pytest.raises(InputError, match="there is no such file"):
            read_samples(path)


@pytest.mark.parametrize("gain", [0.001, 1.0, 30.0])
def test_loudness_is_that_of_the_active_part(gain: float) -> None:
    pause = np.zeros(8000, np.float32)
    wave = np.concatenate([pause, buzz(0.5), pause])[:, None] * np.float32(gain)
    heard, _ = hear(wave, 8000, 8000, loudness=True, trim=False)
    active = heard[8000:12000]
    assert np.sqrt((active**2).mean()) == pytest.approx(ACTIVE_RMS, rel=0.02)


def test_silence_at_the_ends_is_trimmed_and_counted() -> None:
    pause = np.full(8000, 1e-4, np.float32)
    pause[::2] *= -1
    wave = np.concatenate([pause, buzz(0.5), pause])[:, None]
    heard, skipped_s = hear(wave, 8000, 8000, loudness=False, trim=True)
    assert skipped_s == pytest.approx(0.98, abs=0.021)  # a block of 20 ms before the first active one
    assert len(heard) / 8000 == pytest.approx(0.54, abs=0.021)
