"""Speech reader: sound files -> log-mel frames, normalised as in training; saved with a run, to read new files."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from ssl_cli.data.audio.decode import hear, read_samples
from ssl_cli.data.audio.features import MelSettings, log_mel_end_to_end
from ssl_cli.data.audio.files import sound_files
from ssl_cli.data.audio.reader_files import READER, STATISTICS, VOICES, Normalization, read_reader_files
from ssl_cli.data.audio.utterances import SpeechSplit, moments, spread_frames
from ssl_cli.errors import InputError
from ssl_cli.files import write_bytes, write_text

VOICE_S, VOICES_BYTES = 180.0, 1 << 26  # that a run keeps: seconds of each training speaker, and bytes of all
BATCH_FILES = 64  # whose waveforms are in memory at once


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
    speaker. `voices` are up to VOICE_S seconds of each training speaker, fewer if there are many.
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
        everyone = moments(train.frames, train.begin, np.zeros(len(train), np.int64), 1)
        mean, std = (values[0] for values in everyone)
        each = moments(train.frames, train.begin, train.speaker, len(speakers))
        voices = spread_frames(train, voice_frames(settings, len(speakers)))
        return cls(settings, normalization, mean, std, *each, speakers, words, phones, loudness, trim, voices)

    def waveform(self, path: Path) -> np.ndarray:
        """Return a file as this reader hears it, (S,) float32: its rate, loudness and trimming. Raises InputError."""
        samples, rate_hz = read_samples(path)
        return hear(samples, rate_hz, self.settings.sample_rate_hz, self.loudness, self.trim)[0]

    def read(self, path: Path) -> ReadSpeech:
        """Read a file, or all sounds of a folder and those below it. Raises InputError if there is none."""
        path = path.expanduser()
        if not path.exists():
            raise InputError(f"{path} is neither a file nor a folder.")
        root, files = (path, sound_files(path).names) if path.is_dir() else (path.parent, [path.name])
        names, rejected = list[str](), list[tuple[str, str]]()
        pieces, lengths = [], []
        for start in range(0, len(files), BATCH_FILES):
            waves = []
            for name in files[start : start + BATCH_FILES]:
                try:
                    waves.append(self.waveform(root / name))
                    names.append(name)
                except InputError as error:
                    rejected.append((name, str(error)))
            frames, length = log_mel_end_to_end(waves, self.settings)
            pieces.append(frames)
            lengths.append(length)
        begin = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
        speakers = [name.rpartition("/")[0] for name in names]
        return ReadSpeech(names, np.concatenate(pieces), begin, speakers, rejected)

    def utterances(self, split: SpeechSplit) -> list[np.ndarray]:
        """Return the normalised frames (T, M) of each utterance of a split."""
        return np.split(self.normalize(split.frames, split.begin, split.speaker), split.begin[1:-1])

    def normalize(self, frames: np.ndarray, begin: np.ndarray, speaker: np.ndarray) -> np.ndarray:
        """Return the input of a model, (F, M) float32, of utterances `begin` (N + 1,) by speakers (N,)."""
        mean, std, group = self.statistics(frames, begin, speaker)
        normal = np.empty(frames.shape, np.float32)
        for u, g in enumerate(group):
            one = slice(begin[u], begin[u + 1])
            normal[one] = (frames[one] - mean[g]) / std[g]
        return normal

    def statistics(
        self, frames: np.ndarray, begin: np.ndarray, speaker: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return means and standard deviations (G, M), and which of these normalises each utterance, (N,).

        With normalization=speaker, someone who is not a training speaker is normalised by all of their frames that are
        given; -1, unknown, counts as one speaker.
        """
        if self.normalization == "global":
            return self.mean[None], self.std[None], np.zeros(len(speaker), np.int64)
        if self.normalization == "utterance":
            return *moments(frames, begin, np.arange(len(speaker)), len(speaker)), np.arange(len(speaker))
        ids, group = np.unique(speaker, return_inverse=True)
        known = (ids >= 0) & (ids < len(self.speakers))
        if known.all():
            return self.speaker_mean[ids], self.speaker_std[ids], group
        mean, std = moments(frames, begin, group, len(ids))
        mean[known], std[known] = self.speaker_mean[ids[known]], self.speaker_std[ids[known]]
        return mean, std, group

    def denormalize(self, frames: np.ndarray, speaker: int | tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return log-mels of normalised frames (F, M): in a training speaker's mean and std, or in given ones.

        With normalization=global a speaker does not matter.
        """
        mean, std = self.mean, self.std
        if isinstance(speaker, tuple):
            mean, std = speaker
        elif self.normalization != "global" and speaker >= 0:
            mean, std = self.speaker_mean[speaker], self.speaker_std[speaker]
        return (frames * std + mean).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write reader.json, reader.safetensors and voices.safetensors."""
        names = ("normalization", "speakers", "words", "phones", "loudness", "trim")
        state = {"kind": "speech", "settings": asdict(self.settings), **{name: getattr(self, name) for name in names}}
        state["voices"] = None if self.voices is None else self.voices.names
        arrays = {name: getattr(self, name) for name in ("mean", "std", "speaker_mean", "speaker_std")}
        write_bytes(folder / STATISTICS, save(arrays))
        if self.voices is not None:
            kept = {name: getattr(self.voices, name) for name in ("begin", "speaker", "word", "row")}
            write_bytes(folder / VOICES, save({"frames": self.voices.frames.astype(np.float16), **kept}))
        write_text(folder / READER, json.dumps(state, indent=1, ensure_ascii=False))

    @classmethod
    def load(cls, folder: Path) -> "SpeechReader":
        """Read what `save` wrote. Raises InputError if it is anything else: the files may be untrusted."""
        state, arrays, voices = read_reader_files(folder)
        rest: dict[str, Any] = {name: state[name] for name in ("speakers", "words", "phones", "loudness", "trim")}
        return cls(MelSettings(**state["settings"]), state["normalization"], **(arrays | rest), voices=voices)


def voice_frames(settings: MelSettings, n_speakers: int) -> int:
    """Return how many frames a run keeps of each of its training speakers, in float16."""
    room = VOICES_BYTES // (2 * settings.n_mels * n_speakers)
    return max(1, min(room, int(VOICE_S * settings.frames_per_s)))
