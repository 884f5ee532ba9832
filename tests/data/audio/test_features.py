"""Log-mels and Griffin-Lim, against librosa."""

import numpy as np
import pytest
import torch

from ssl_cli.data.audio.features import (
    MIN_MAGNITUDE,
    MelSettings,
    griffin_lim,
    linear_magnitudes,
    log_mel,
    log_mel_end_to_end,
    mel_filters,
)
from ssl_cli.data.audio.synthetic import synthesize
from tests.helpers.sounds import buzz

SETTINGS = MelSettings(8000, 64, 32.0, 10.0)
ODD = MelSettings(16000, 80, 25.0, 12.5)  # a window of 400 samples in a transform of 512


@pytest.mark.parametrize("settings", [SETTINGS, ODD])
def test_log_mels_are_mel_magnitudes_of_frames_under_a_window(settings: MelSettings) -> None:
    wave, n_fft, n = buzz(0.7, settings.sample_rate_hz), settings.n_fft, settings.window
    window = np.zeros(n_fft)
    window[(n_fft - n) // 2 :][:n] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)  # Hann's
    padded, filters = np.pad(wave.astype(np.float64), n_fft // 2), mel_filters(settings).numpy()
    frames = log_mel(torch.from_numpy(wave)[None], settings)[0].numpy()
    for t, frame in enumerate(frames):
        magnitude = np.abs(np.fft.rfft(window * padded[t * settings.hop :][:n_fft]))
        np.testing.assert_allclose(frame, np.log(np.maximum(magnitude @ filters, MIN_MAGNITUDE)), atol=1e-4)


@pytest.mark.long  # of librosa, numba compiles for half a minute
@pytest.mark.parametrize("settings", [SETTINGS, ODD])
def test_log_mels_are_those_of_librosa(settings: MelSettings) -> None:
    librosa = pytest.importorskip("librosa")
    wave = buzz(0.7, settings.sample_rate_hz)
    expected = librosa.feature.melspectrogram(
        y=wave, sr=settings.sample_rate_hz, n_fft=settings.n_fft, hop_length=settings.hop,
        win_length=settings.window, n_mels=settings.n_mels, power=1.0, pad_mode="constant",
    ).T  # fmt: skip
    frames = log_mel(torch.from_numpy(wave)[None], settings)[0].numpy()
    assert frames.shape == (settings.n_frames(len(wave)), settings.n_mels)
    np.testing.assert_allclose(frames, np.log(np.maximum(expected, MIN_MAGNITUDE)), atol=1e-4)


@pytest.mark.parametrize("settings", [SETTINGS, ODD])
def test_mel_filters_are_those_of_librosa(settings: MelSettings) -> None:
    librosa = pytest.importorskip("librosa")
    expected = librosa.filters.mel(sr=settings.sample_rate_hz, n_fft=settings.n_fft, n_mels=settings.n_mels)
    np.testing.assert_allclose(mel_filters(settings).numpy().T, expected, atol=1e-7)


def test_zeros_at_the_end_change_no_frame_before_them() -> None:
    wave = torch.from_numpy(buzz(0.33))
    alone = log_mel(wave[None], SETTINGS)[0]
    padded = log_mel(torch.nn.functional.pad(wave, (0, 999))[None], SETTINGS)[0]
    torch.testing.assert_close(padded[: len(alone)], alone)


def test_waves_end_to_end_are_those_of_each_alone() -> None:
    waves = [buzz(seconds, seed=seed) for seed, seconds in enumerate((0.1, 0.777, 0.25, 12.0))]
    frames, length = log_mel_end_to_end(waves, SETTINGS)
    alone = [log_mel(torch.from_numpy(wave)[None], SETTINGS)[0].numpy() for wave in waves]
    assert length.tolist() == [len(one) for one in alone]
    np.testing.assert_allclose(frames, np.concatenate(alone), atol=1e-5)
    assert log_mel_end_to_end([], SETTINGS)[0].shape == (0, 64)


@pytest.fixture(scope="module")
def spoken() -> np.ndarray:
    """A word of the synthesiser, (S,)."""
    return next(iter(synthesize(1, 0)))[1]


@pytest.mark.long  # the same
def test_griffin_lim_converges_as_far_as_librosas() -> None:
    librosa = pytest.importorskip("librosa")
    options = {"n_fft": SETTINGS.n_fft, "hop_length": SETTINGS.hop, "pad_mode": "constant"}

    def convergence(rebuilt: np.ndarray, magnitude: np.ndarray) -> float:
        found = np.abs(librosa.stft(rebuilt, **options))[:, : magnitude.shape[1]]
        return float(np.linalg.norm(found - magnitude) / np.linalg.norm(magnitude))

    ours, theirs = [], []
    for _, wave, _ in list(synthesize(1, 0))[::6]:
        frames = log_mel(torch.from_numpy(wave)[None], SETTINGS)
        magnitude = np.abs(librosa.stft(wave, **options))
        rebuilt = griffin_lim(frames, SETTINGS, iterations=32)[0].numpy()
        assert len(rebuilt) == (frames.shape[1] - 1) * SETTINGS.hop
        linear = librosa.feature.inverse.mel_to_stft(frames[0].exp().numpy().T, sr=8000, n_fft=256, power=1.0)
        peer = librosa.griffinlim(linear, n_iter=32, hop_length=80, length=len(rebuilt), random_state=0)
        ours.append(convergence(rebuilt, magnitude))
        theirs.append(convergence(peer, magnitude))
    assert np.mean(ours) < 1.02 * np.mean(theirs) < 0.4


def test_griffin_lim_of_a_batch_is_that_of_each_and_follows_from_the_seed(spoken: np.ndarray) -> None:
    frames = log_mel(torch.from_numpy(np.stack([spoken, spoken[::-1].copy()])), SETTINGS)
    both = griffin_lim(frames, SETTINGS, iterations=4)
    torch.testing.assert_close(griffin_lim(frames[1:], SETTINGS, iterations=4)[0], both[1], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(griffin_lim(frames, SETTINGS, iterations=4), both)
    assert (griffin_lim(frames, SETTINGS, iterations=4, seed=1) - both).abs().max() > 0.01


def test_linear_magnitudes_have_the_mels_that_they_come_from(spoken: np.ndarray) -> None:
    frames = log_mel(torch.from_numpy(spoken)[None], SETTINGS)
    magnitudes = linear_magnitudes(frames, SETTINGS)
    assert (magnitudes >= 0).all()
    mel, wanted = magnitudes @ mel_filters(SETTINGS), frames.exp()
    assert (mel - wanted).norm() / wanted.norm() < 0.02


def test_two_frames_and_silence_become_waves() -> None:
    frames = torch.full((1, 2, 64), float(np.log(MIN_MAGNITUDE)))
    wave = griffin_lim(frames, SETTINGS)
    assert wave.shape == (1, SETTINGS.hop)
    assert wave.isfinite().all()
    assert wave.abs().max() < 1e-3
