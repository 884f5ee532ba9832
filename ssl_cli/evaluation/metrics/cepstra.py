"""Mel-cepstral distortion: how far two utterances of the same text are apart, in decibels (Kubichek, 1993)."""

import numpy as np
from scipy.fft import dct

from ssl_cli.evaluation.metrics.dtw import Distance, warped_distances

N_CEPSTRA = 13  # without the 0th, which is loudness
DECIBELS = 10 * np.sqrt(2) / np.log(10)


def mel_cepstra(log_mel: np.ndarray) -> np.ndarray:
    """Return cepstral coefficients 1 to 13 of log-mels (F, M), natural logarithms of magnitudes, (F, 13).

    They are those of the cosine series c0 + c1 cos(w) + c2 cos(2 w) + ... of a frame over its mels.
    """
    return dct(log_mel, type=2, axis=1)[:, 1 : N_CEPSTRA + 1].astype(np.float32) / np.float32(log_mel.shape[1])


def distortion_db(log_mel: np.ndarray, begin: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the mel-cepstral distortion of pairs of utterances in dB, (P,), the mean along the path of their warping.

    Utterance u is frames begin[u]..begin[u + 1] of log-mels (F, M); `pairs` are two arrays (P,) of utterances. The
    distortion of two frames is the root mean square, over mels, of the difference of their smoothed spectra.
    """
    return DECIBELS * warped_distances(euclidean(mel_cepstra(log_mel)), begin, np.diff(begin), pairs)


def euclidean(frames: np.ndarray) -> Distance:
    """Return the Euclidean distance of frames (F, D)."""
    square = np.square(frames).sum(1)

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        squared = square[x][:, :, None] + square[y][:, None] - 2 * frames[x] @ frames[y].transpose(0, 2, 1)
        return np.sqrt(np.maximum(squared, 0))

    return distance
