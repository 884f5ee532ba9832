"""Features of speech: waveforms -> log-mel frames, and frames -> waveforms by Griffin-Lim."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

MIN_MAGNITUDE = 1e-5  # smaller mel magnitudes count as this
MOMENTUM = 0.99  # of the fast Griffin-Lim algorithm
CACHED_FRAMES = 1024  # that are transformed at once: they stay in a core's cache
NNLS_STEPS = 10  # of the inversion of the mel filters


@dataclass(frozen=True)
class MelSettings:
    """How frames are computed from a waveform; all sounds of a run share it.

    `top_hz` is where the highest mel band ends; None is half the sample rate.
    """

    sample_rate_hz: int
    n_mels: int
    window_ms: float
    hop_ms: float
    top_hz: float | None = None

    @property
    def hop(self) -> int:
        """Return the samples between the starts of two frames."""
        return max(1, round(self.hop_ms * self.sample_rate_hz / 1000))

    @property
    def window(self) -> int:
        """Return the samples of a frame."""
        return max(2, round(self.window_ms * self.sample_rate_hz / 1000))

    @property
    def n_fft(self) -> int:
        """Return the size of the Fourier transform: the power of 2 that holds a window."""
        return 1 << (self.window - 1).bit_length()

    @property
    def frames_per_s(self) -> float:
        """Return the frames of a second."""
        return self.sample_rate_hz / self.hop

    @property
    def band_hz(self) -> np.ndarray:
        """Return the frequency in the middle of each mel band, (M,)."""
        top = _mel_of_hz(self.sample_rate_hz / 2)
        return np.array([_hz_of_mel(top * (k + 1) / (self.n_mels + 1)) for k in range(self.n_mels)])

    def n_frames(self, n_samples: int) -> int:
        """Return the frames of a waveform."""
        return 1 + n_samples // self.hop


def log_mel(waves: Tensor, settings: MelSettings) -> Tensor:
    """Return natural logs of slaney-mel magnitudes, (B, S) -> (B, T, M), T = 1 + S // hop.

    Frame t is centred on sample t * hop, and what lies outside a waveform is 0: zeros at its end change no frame that
    it has without them. Magnitudes below MIN_MAGNITUDE count as that, as in HiFi-GAN (arXiv 2010.05646).
    """
    n_fft = settings.n_fft
    padded = functional.pad(waves.float(), (n_fft // 2, n_fft // 2))  # (B, n_fft + S)
    return _log_mel_of_frames(padded.unfold(1, n_fft, settings.hop), settings)


def log_mel_end_to_end(waves: list[np.ndarray], settings: MelSettings) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames of several waveforms end to end, (F, M) float32, and the number of frames of each, (B,)."""
    if not waves:
        return np.empty((0, settings.n_mels), np.float32), np.empty(0, np.int64)
    hop, n_fft = settings.hop, settings.n_fft
    length = np.array([settings.n_frames(len(wave)) for wave in waves], np.int64)  # (B,) frames
    place = -(-np.array([len(wave) + n_fft for wave in waves], np.int64) // hop)
    begin = np.concatenate([[0], np.cumsum(place)])  # in hops, in one buffer
    buffer = torch.zeros(int(begin[-1]) * hop + n_fft)
    for wave, start in zip(waves, begin[:-1] * hop + n_fft // 2, strict=True):
        buffer[start : start + len(wave)] = torch.from_numpy(wave)
    own = np.repeat(begin[:-1] - np.cumsum(length) + length, length) + np.arange(length.sum())  # (F,)
    frames = buffer.unfold(0, n_fft, hop)  # a view: no copies
    pieces = [_log_mel_of_frames(frames[index], settings) for index in torch.from_numpy(own).split(CACHED_FRAMES)]
    return torch.cat(pieces).numpy(), length


def _log_mel_of_frames(frames: Tensor, settings: MelSettings) -> Tensor:
    """Return log-mels of frames of samples, (..., n_fft) -> (..., M)."""
    window, filters = _window(settings).to(frames.device), mel_filters(settings).to(frames.device)
    spectrum = torch.fft.rfft(frames * window)  # (..., n_fft // 2 + 1)
    # A third faster than abs(), which guards against overflow.
    magnitude = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag).sqrt_()
    return (magnitude @ filters).clamp_(min=MIN_MAGNITUDE).log_()


@lru_cache(maxsize=8)
def _window(settings: MelSettings) -> Tensor:
    """Return a Hann window in the middle of a transform, (n_fft,)."""
    before = (settings.n_fft - settings.window) // 2
    return functional.pad(
        torch.hann_window(settings.window), (before, settings.n_fft - settings.window - before)
    )


@lru_cache(maxsize=8)
def mel_filters(settings: MelSettings) -> Tensor:
    """Return slaney's triangular filters from 0 Hz up, (n_fft // 2 + 1, M), of equal area."""
    top = _mel_of_hz(settings.top_hz or settings.sample_rate_hz / 2)
    edges = np.array([_hz_of_mel(top * k / (settings.n_mels + 1)) for k in range(settings.n_mels + 2)])
    bins = np.linspace(0, settings.sample_rate_hz / 2, settings.n_fft // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    filters = np.minimum(rising, falling).clip(min=0) * (2 / (edges[2:] - edges[:-2]))
    return torch.from_numpy(filters.astype(np.float32))


def _mel_of_hz(hz: float) -> float:
    """Return slaney's mel: linear below 1000 Hz, logarithmic above."""
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def _hz_of_mel(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)


# --- waveforms ----------------------------------------------------------------------------------------------


def griffin_lim(frames: Tensor, settings: MelSettings, iterations: int = 32, seed: int = 0) -> Tensor:
    """Return waveforms whose log-mels are close to the given ones, (B, T, M) -> (B, (T - 1) * hop).

    The fast Griffin-Lim algorithm (Perraudin et al. 2013, algorithm 2): phases start at random, a function of the seed
    alone, and are made consistent with overlapping frames.
    """
    n_fft, hop, window = settings.n_fft, settings.hop, _window(settings).to(frames.device)
    magnitude = linear_magnitudes(frames, settings).transpose(1, 2)  # (B, n_fft // 2 + 1, T)
    samples = (frames.shape[1] - 1) * hop
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * math.pi * torch.rand(magnitude.shape[1:], generator=generator)  # of each row the same
    spectrum = torch.polar(torch.ones_like(angle), angle).to(frames.device).expand(magnitude.shape)
    previous = torch.zeros_like(spectrum)

    def wave_of(phase: Tensor) -> Tensor:
        return torch.istft(magnitude * phase, n_fft, hop, n_fft, window, length=samples)

    for _ in range(iterations):
        rebuilt = torch.stft(
            wave_of(spectrum), n_fft, hop, n_fft, window, pad_mode="constant", return_complex=True
        )  # (B, n_fft // 2 + 1, T)
        accelerated = rebuilt.sub(previous, alpha=MOMENTUM / (1 + MOMENTUM))
        spectrum, previous = accelerated.div_(accelerated.abs().clamp_(min=1e-16)), rebuilt
    return wave_of(spectrum)


def linear_magnitudes(frames: Tensor, settings: MelSettings) -> Tensor:
    """Return non-negative magnitudes whose mels are closest to the given ones, (B, T, M) -> (B, T, n_fft // 2 + 1).

    It takes multiplicative steps (Lee and Seung 2001) from the clamped pseudo-inverse.
    """
    filters = mel_filters(settings).to(frames.device)  # (K, M)
    mel = frames.exp()
    magnitude = (mel @ torch.linalg.pinv(filters)).clamp(min=1e-6)  # (B, T, K)
    wanted, square = mel @ filters.T, filters @ filters.T
    for _ in range(NNLS_STEPS):
        magnitude = magnitude * wanted / (magnitude @ square).clamp(min=1e-12)
    return magnitude
