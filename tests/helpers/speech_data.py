"""Small speech data: words are paths of a peak through the bands, speakers are tilts and a pitch of the spectrum."""

import numpy as np

from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.features import MelSettings
from ssl_cli.data.audio.reader import Normalization, SpeechReader
from ssl_cli.data.audio.utterances import SpeechSplit

SETTINGS = MelSettings(sample_rate_hz=8000, n_mels=24, window_ms=32.0, hop_ms=10.0)
SPEAKERS, WORDS, PHONES = ["ann", "bob", "eve", "new"], ["up", "down", "flat"], ["SIL", "a", "b", "c"]


def toy_log_mel(word: int, speaker: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Return log-mels (T, 24) of a word by a speaker."""
    time, band = np.linspace(0, 1, frames)[:, None], np.arange(24)[None]
    path = 4 + 14 * (time, 1 - time, 0.5 + 0 * time)[word]
    peak = 4.0 * np.exp(-np.square((band - path) / 2.5))
    tilt = (-0.15, 0.0, 0.15, 0.3)[speaker] * (band - 12)
    return (peak + tilt - 4 + rng.normal(0, 0.2, (frames, 24))).astype(np.float32)


def toy_split(takes: int, speakers: list[int], seed: int) -> SpeechSplit:
    """Return `takes` utterances of each word by each speaker; the phones of a word are its thirds, after silence."""
    rng = np.random.default_rng(seed)
    keys = [(word, speaker) for word in range(3) for speaker in speakers for _ in range(takes)]
    lengths = rng.integers(24, 36, len(keys))
    frames = [toy_log_mel(word, speaker, n, rng) for (word, speaker), n in zip(keys, lengths, strict=True)]
    thirds = [np.minimum(np.arange(n) * 4 // n, 3) for n in lengths]
    phone = [np.where(third == 0, 0, 1 + (third + word) % 3) for third, (word, _) in zip(thirds, keys, strict=True)]
    return SpeechSplit(
        np.concatenate(frames),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.array([speaker for _, speaker in keys]),
        np.array([word for word, _ in keys]),
        np.concatenate(phone),
        [f"{WORDS[word]}_{SPEAKERS[speaker]}_{k}.wav" for k, (word, speaker) in enumerate(keys)],
        np.arange(len(keys)),
    )


def toy_speech(normalization: Normalization = "global", unheard: bool = True) -> SpeechData:
    """Return three speakers that say three words, and a fourth one kept out of training."""
    splits = {"train": toy_split(8, [0, 1, 2], 0), "test": toy_split(3, [0, 1, 2], 1)}
    names = SPEAKERS if unheard else SPEAKERS[:3]
    if unheard:
        splits["unheard"] = toy_split(4, [3], 2)
    reader = SpeechReader.fit(SETTINGS, normalization, splits["train"], (SPEAKERS[:3], WORDS, PHONES), True, False)
    return SpeechData(splits, names, WORDS, PHONES, reader, "toy")
