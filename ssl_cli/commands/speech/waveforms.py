"""Waveforms of log-mels in batches, and what a listener hears of them: log-mels of the waveforms, equally loud."""

from collections.abc import Sequence

import numpy as np
import torch

from ssl_cli.data.audio.decode import hear
from ssl_cli.data.audio.features import MIN_MAGNITUDE, MelSettings, griffin_lim, log_mel_end_to_end
from ssl_cli.data.audio.reader import SpeechReader
from ssl_cli.errors import InputError
from ssl_cli.models.vocoders import Vocoder

MAX_BATCH, MAX_BATCH_FRAMES = 16, 8192  # utterances, and frames with their padding


def to_waveforms(
    log_mels: Sequence[np.ndarray], settings: MelSettings, vocoder: Vocoder | None = None
) -> list[np.ndarray]:
    """Return the waveform, (T - 1) * hop samples, of each of the log-mels (T, M), by Griffin-Lim or a vocoder.

    Utterances of similar length share a batch, in which silence follows the shorter ones.
    """
    synthesize = vocoder or (lambda frames: griffin_lim(frames, settings))
    order = sorted(range(len(log_mels)), key=lambda k: len(log_mels[k]))
    waves, begun = [np.empty(0, np.float32)] * len(log_mels), 0
    with torch.inference_mode():
        while begun < len(order):
            rows = order[begun : begun + MAX_BATCH]
            while len(rows) > 1 and len(rows) * len(log_mels[rows[-1]]) > MAX_BATCH_FRAMES:
                rows.pop()
            shape = len(rows), max(2, len(log_mels[rows[-1]])), settings.n_mels
            frames = np.full(shape, np.log(MIN_MAGNITUDE), np.float32)
            for frame, k in zip(frames, rows, strict=True):
                frame[: len(log_mels[k])] = log_mels[k]
            batch = synthesize(torch.from_numpy(frames)).numpy()
            for wave, k in zip(batch, rows, strict=True):
                waves[k] = wave[: max(1, (len(log_mels[k]) - 1) * settings.hop)]
            begun += len(rows)
    return waves


def heard(waves: Sequence[np.ndarray], reader: SpeechReader) -> list[np.ndarray]:
    """Return the log-mels (T, M) of waveforms, made as loud as the recordings that the reader reads.

    What is too short or silent to be made as loud is heard as it is, and what is no number as silence.
    """
    if not waves:
        return []
    frames, length = log_mel_end_to_end([_as_loud(wave, reader) for wave in waves], reader.settings)
    return np.split(frames, np.cumsum(length)[:-1])


def _as_loud(wave: np.ndarray, reader: SpeechReader) -> np.ndarray:
    rate_hz = reader.settings.sample_rate_hz
    try:
        return hear(wave[:, None], rate_hz, rate_hz, reader.loudness, trim=False)[0]
    except InputError:
        return np.nan_to_num(wave, posinf=0, neginf=0)
