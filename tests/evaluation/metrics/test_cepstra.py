"""Mel-cepstral distortion, against the difference of smoothed spectra in decibels."""

import numpy as np
import pytest

from ssl_cli.evaluation.metrics.cepstra import distortion_db, mel_cepstra


def spectrum(cepstra: np.ndarray, n_mels: int) -> np.ndarray:
    w = np.pi * (np.arange(n_mels) + 0.5) / n_mels
    return sum(c * np.cos((k + 1) * w) for k, c in enumerate(cepstra))


def test_cepstra_are_those_of_the_cosine_series() -> None:
    rng = np.random.default_rng(0)
    cepstra = rng.standard_normal(13)
    log_mel = 3.0 + spectrum(cepstra, 40) + 0.5 * np.cos(20 * np.pi * (np.arange(40) + 0.5) / 40)
    np.testing.assert_allclose(mel_cepstra(log_mel[None])[0], cepstra, atol=1e-5)


def test_distortion_is_the_root_mean_square_in_decibels_and_ignores_loudness() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, 13))
    a, b = spectrum(first, 80), spectrum(second, 80)
    expected = np.sqrt(np.mean(np.square(20 / np.log(10) * (a - b))))
    frames = np.stack([a, a, a, b + 2.0, b + 2.0])
    result = distortion_db(frames, np.array([0, 3, 5]), (np.array([0, 0]), np.array([1, 0])))
    assert result[0] == pytest.approx(expected, rel=1e-4) and result[1] == pytest.approx(0, abs=0.02)
