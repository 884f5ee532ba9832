"""Speech reader: sound files -> log-mel frames, normalised as in training; saved with a run, to read new files later."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors.numpy import load_file, save_file

from ssl_cli.data.audio.decode import SUFFIXES, equalize_loudness, read_waveform, trim_silence
from ssl_cli.data.audio.features import MelSettings, log_mel_end_to_end
from ssl_cli.data.audio.utterances import SpeechSplit
from ssl_cli.data.io.json_state import read_state
from ssl_cli.errors import InputError
from ssl_cli.files import write_text

Normalization = Literal["global", "speaker", "utterance"]
MIN_STD = 0.05  # of a mel band in natural logs: a band that never changes is not blown up
VOICE_S = 60.0  # seconds that a run keeps of each training speaker
READER, STATISTICS, VOICES = "reader.json", "reader.safetensors", "voices.safetensors"


@dataclass
class ReadSpeech:
    """What a reader reads: `names` (N,), `frames` (F, M) log-mels end to end, `begin` (N + 1,).

    `speakers` (N,) are the names of the folders that files lie in, "" if none. `rejected` files come with reasons.
    """

    names: list[str]
    frames: np.ndarray
    begin: np.ndarray
    speakers: list[str]
    rejected: list[tuple[str, str]]


@dataclass
class SpeechReader:
    """Reads sounds as a run reads them, and normalises their frames.

    `mean`, `std` (M,) are those of all training frames, `speaker_mean`, `speaker_std` (S, M) those of each training
    speaker. `voices` are up to VOICE_S seconds of each training speaker.
    """

    settings: MelSettings
    normalization: Normalization
    mean: np.ndarray
    std: np.ndarray
    speaker_mean: np.ndarray
    speaker_std: np.ndarray
    speakers: list[str]
    words: list[str]
    phones: list[str]
    loudness: bool = True
    trim: bool = False
    voices: SpeechSplit | None = field(default=None, compare=False)

    @classmethod
    def fit(
        cls,
        settings: MelSettings,
        normalization: Normalization,
        train: SpeechSplit,
        names: tuple[list[str], list[str], list[str]],
        loudness: bool,
        trim: bool,
    ) -> "SpeechReader":
        """Return the reader of training utterances. `names` are those of the training speakers, words and phones."""
        speakers, words, phones = names
        moments = [_moments(train.frames, train.begin, train.speaker == s) for s in range(len(speakers))]
        mean, std = _moments(train.frames, train.begin, np.ones(len(train), bool))
        speaker_mean, speaker_std = (np.stack(values) for values in zip(*moments, strict=True))
        voices = train.take(_first_seconds(train, VOICE_S * settings.frames_per_s))
        return cls(
            settings, normalization, mean, std, speaker_mean, speaker_std, speakers, words, phones, loudness, trim,
            voices,
        )

    def waveform(self, path: Path) -> np.ndarray:
        """Return a file as this reader hears it, (S,) float32: its rate, loudness and trimming. Raises InputError."""
        return prepare(read_waveform(path, self.settings.sample_rate_hz), self.settings, self.loudness, self.trim)

    def read(self, path: Path) -> ReadSpeech:
        """Read a file, or all sounds of a folder and those below it. Raises InputError if there is none."""
        path = path.expanduser()
        root, files = (path, sound_files(path)) if path.is_dir() else (path.parent, [path])
        names, waves, rejected = [], [], []
        for file in files:
            name = file.relative_to(root).as_posix()
            try:
                waves.append(self.waveform(file))
                names.append(name)
            except InputError as error:
                rejected.append((name, str(error)))
        frames, length = log_mel_end_to_end(waves, self.settings)
        begin = np.concatenate([[0], np.cumsum(length)])
        return ReadSpeech(names, frames, begin, [name.rpartition("/")[0] for name in names], rejected)

    def normalize(self, frames: np.ndarray, begin: np.ndarray, speaker: np.ndarray) -> np.ndarray:
        """Return the input of a model, (F, M) float32.

        With normalization=speaker, a speaker (N,) outside of the training speakers is normalised by all of its frames
        that are given; -1, unknown, counts as one speaker.
        """
        normal = np.empty(frames.shape, np.float32)
        for of in self._groups(speaker):
            mean, std = self._statistics(frames, begin, of, speaker)
            for u in np.flatnonzero(of):
                one = slice(begin[u], begin[u + 1])
                normal[one] = (frames[one] - mean) / std
        return normal

    def _groups(self, speaker: np.ndarray) -> list[np.ndarray]:
        """Return masks (N,) of the utterances that share their mean and standard deviation."""
        if self.normalization == "global":
            return [np.ones(len(speaker), bool)]
        ids = np.arange(len(speaker)) if self.normalization == "utterance" else speaker
        return [ids == k for k in np.unique(ids)]

    def _statistics(
        self, frames: np.ndarray, begin: np.ndarray, of: np.ndarray, speaker: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.normalization == "global":
            return self.mean, self.std
        first = int(speaker[of][0])
        if self.normalization == "speaker" and 0 <= first < len(self.speakers):
            return self.speaker_mean[first], self.speaker_std[first]
        return _moments(frames, begin, of)

    def denormalize(self, frames: np.ndarray, speaker: int | tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return log-mels of normalised frames (F, M): in a training speaker's mean and std, or in given ones.

        With normalization=global the speaker does not matter.
        """
        mean, std = self.mean, self.std
        if isinstance(speaker, tuple):
            mean, std = speaker
        elif self.normalization != "global" and speaker >= 0:
            mean, std = self.speaker_mean[speaker], self.speaker_std[speaker]
        return (frames * std + mean).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write reader.json, reader.safetensors and voices.safetensors."""
        state = {
            "kind": "speech",
            "settings": asdict(self.settings),
            **{name: getattr(self, name) for name in ("normalization", "speakers", "words", "phones")},
            **{name: getattr(self, name) for name in ("loudness", "trim")},
            "voices": [] if self.voices is None else self.voices.names,
        }
        arrays = ("mean", "std", "speaker_mean", "speaker_std")
        save_file({name: np.ascontiguousarray(getattr(self, name)) for name in arrays}, folder / STATISTICS)
        if self.voices is not None:
            kept = {name: getattr(self.voices, name) for name in ("frames", "begin", "speaker", "word", "row")}
            save_file({name: np.ascontiguousarray(array) for name, array in kept.items()}, folder / VOICES)
        write_text(folder / READER, json.dumps(state, indent=1, ensure_ascii=False))

    @classmethod
    def load(cls, folder: Path) -> "SpeechReader":
        """Read what `save` wrote."""
        state = read_state(folder / READER)
        names = state.pop("voices")
        state.pop("kind")
        settings = MelSettings(**state.pop("settings"))
        voices = None
        if (folder / VOICES).exists():
            voices = SpeechSplit(**load_file(folder / VOICES), phone=None, names=names)
        return cls(settings=settings, **state, **load_file(folder / STATISTICS), voices=voices)


def prepare(wave: np.ndarray, settings: MelSettings, loudness: bool, trim: bool) -> np.ndarray:
    """Return a waveform (S,) trimmed and equally loud, as asked."""
    if trim:
        wave = trim_silence(wave, settings.sample_rate_hz)
    return equalize_loudness(wave, settings.sample_rate_hz) if loudness else wave


def sound_files(folder: Path) -> list[Path]:
    """Return the sounds in a folder and below it, in order, except hidden ones. Raises InputError if there is none."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not files:
        raise InputError(f"{folder} holds no sound: no file whose name ends in {', '.join(SUFFIXES)}.")
    return files


def _moments(frames: np.ndarray, begin: np.ndarray, of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (M,) of the frames of the utterances in a mask (N,)."""
    total, square, n = 0.0, 0.0, 0
    for u in np.flatnonzero(of):
        part = frames[begin[u] : begin[u + 1]].astype(np.float64)
        total, square, n = total + part.sum(0), square + (part**2).sum(0), n + len(part)
    mean = total / n
    std = np.sqrt(np.maximum(square / n - mean**2, MIN_STD**2))
    return mean.astype(np.float32), std.astype(np.float32)


def _first_seconds(split: SpeechSplit, n_frames: float) -> np.ndarray:
    """Return the utterances (N,) bool that are kept of each speaker, its first ones, up to a number of frames."""
    kept = np.zeros(len(split), bool)
    for s in np.unique(split.speaker):
        rows = np.flatnonzero(split.speaker == s)
        kept[rows[np.cumsum(split.lengths[rows]) <= n_frames]] = True
        kept[rows[0]] = True
    return kept
