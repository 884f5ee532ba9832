"""A finished run on speech: `ssl_cli.load("latest").convert(speech, voice)`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_cli.commands.finished import Finished, open_run
from ssl_cli.commands.speech.batches import Batch, make_batch, map_utterances
from ssl_cli.commands.speech.sslz import CompressedSpeech
from ssl_cli.config.choices import did_you_mean
from ssl_cli.data.audio.features import griffin_lim
from ssl_cli.data.audio.reader import ReadSpeech, SpeechReader
from ssl_cli.errors import InputError
from ssl_cli.evaluation.plots.spectrograms import FrameScale
from ssl_cli.methods.speech.protocols import (
    ConvertsVoices,
    DecodesUnits,
    EncodesSpeech,
    HasContent,
    HasUnits,
    ReconstructsSpeech,
)
from ssl_cli.models.vocoders import Vocoder, load_vocoder
from ssl_cli.runs.folder import RunFilter, find_run
from ssl_cli.runs.outputs import warn_about_rejected_files

UNKNOWN = -1  # the speaker of a new recording


def reopen(
    run: str | Path,
    outputs: str | Path,
    trust: str | None,
    verbs: tuple[str, ...] = ("reconstruct",),
    run_filter: RunFilter | None = None,
) -> "SpeechRun":
    """Return the finished run on speech that a verb's options name. Raises InputError if there is none."""
    folder = find_run(run, outputs, verbs, finished=True, run_filter=run_filter)
    finished = open_run(folder, tuple((trust or "").split()))
    if not isinstance(finished, SpeechRun):
        raise InputError(f"{folder} is not a run on speech: name one on data=fsdd, speech or the like.")
    return finished


@dataclass(frozen=True)
class Voice:
    """A voice to convert to: a training speaker's number or UNKNOWN, and normalised frames (R, M) of it.

    `moments` are the mean and standard deviation (M,) that turn normalised frames into its log-mels.
    """

    name: str
    speaker: int
    reference: np.ndarray
    moments: tuple[np.ndarray, np.ndarray]


class SpeechRun(Finished):
    """A model of speech, and the reader that turns recordings into its input.

    Frames are log-mels (T, M), one array an utterance. Each method raises InputError if the run's model can't do what
    it is for.
    """

    vocoder: Vocoder | None = None  # instead of Griffin-Lim

    def restore(self) -> None:
        """Read the reader, and apply the model to ten frames. Raises InputError if the two don't fit."""
        self.reader = SpeechReader.load(self.folder)
        facts = {"n_mels": self.reader.settings.n_mels, "n_speakers": len(self.reader.speakers)}
        for name, value in facts.items():
            if self.config.facts.get(name) != value:
                raise InputError(f"{self.folder}: its reader is not the model's: it has {name}={value}.")
        if isinstance(self.model, ReconstructsSpeech):
            self._map(self.model.reconstruct_frames, [np.zeros((10, facts["n_mels"]), np.float32)], self.voices[0])

    def read(self, path: str | Path) -> ReadSpeech:
        """Read a recording, or a folder of them. Raises InputError if none can be read."""
        speech = self.reader.read(Path(path))
        if not speech.names:
            name, reason = speech.rejected[0]
            if len(speech.rejected) == 1:
                raise InputError(f"{path} can't be used: {reason}.")
            number = f"{len(speech.rejected):,} are left out"
            raise InputError(f"{path} has no recording that can be used: {number}; {name}: {reason}.")
        return speech

    # --- voices ---

    @property
    def voices(self) -> list[Voice]:
        """The voices of the training speakers."""
        return [self._voice_of_speaker(k) for k in range(len(self.reader.speakers))]

    def voice(self, target: str) -> Voice:
        """Return the voice of a training speaker by name, or of a recording or a folder of them.

        Raises InputError if there is no such speaker or file, or the model knows only the speakers it was trained on.
        """
        speakers = self.reader.speakers
        if target in speakers:
            return self._voice_of_speaker(speakers.index(target))
        names = ", ".join(speakers[:20]) + (", ..." if len(speakers) > 20 else "")
        if not target or not Path(target).expanduser().exists():  # Path("") is the working directory
            raise InputError(
                f"target={target} is neither a speaker of the run nor a file.{did_you_mean(target, speakers)} Its "
                f"speakers are {names}."
            )
        if not getattr(self.model, "hears_reference", False):
            raise InputError(
                f"{self.folder}: model={self.config.choices.model} knows only the voices that it was trained on: set "
                f"target to one of {names}; or use a run of model=voice_ae or voice_knn, which hear a recording."
            )
        speech = self.read(target)
        warn_about_rejected_files(speech.rejected, len(speech.names), reasons_written=False)
        reference = np.concatenate(self.normalized(speech))
        return Voice(target, UNKNOWN, reference, self._moments(speech.frames))

    def _voice_of_speaker(self, speaker: int) -> Voice:
        voices = self.reader.voices
        if voices is None:
            raise InputError(f"{self.folder} is damaged: it has no voices.")
        own = voices.take(voices.speaker == speaker)
        reference = self.reader.normalize(own.frames, own.begin, own.speaker)
        moments = self.reader.mean, self.reader.std
        if self.reader.normalization != "global":
            moments = self.reader.speaker_mean[speaker], self.reader.speaker_std[speaker]
        return Voice(self.reader.speakers[speaker], speaker, reference, moments)

    def _moments(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and standard deviation (M,) of a new voice's log-mels, or of all if the run is so."""
        if self.reader.normalization == "global":
            return self.reader.mean, self.reader.std
        return frames.mean(0), frames.std(0)

    # --- what the model does ---

    def convert(self, speech: ReadSpeech, voice: Voice) -> list[np.ndarray]:
        """Return the log-mels (T, M) of each recording in another voice."""
        self.require(ConvertsVoices, "convert voices")
        assert isinstance(self.model, ConvertsVoices)
        converted = self._map(self.model.convert, self.normalized(speech), voice)
        mean, std = voice.moments
        return [frames * std + mean for frames in converted]

    def reconstruct(self, speech: ReadSpeech) -> list[np.ndarray]:
        """Return the rebuilt log-mels (T, M) of each recording, in the voice that it has.

        A model with a table of speakers gives a new speaker the voice of the training speaker whose mean is nearest.
        """
        self.require(ReconstructsSpeech, "rebuild speech")
        assert isinstance(self.model, ReconstructsSpeech)
        normal, speakers = self.normalized(speech), self.speakers_of(speech)
        rebuilt = map_utterances(self.model, self.model.reconstruct_frames, normal, speakers, normal)
        moments = map(self._moments, utterances_of(speech))
        return [frames * std + mean for frames, (mean, std) in zip(self._finite(rebuilt), moments, strict=True)]

    def speakers_of(self, speech: ReadSpeech) -> list[int]:
        """Return the training speaker of each recording: by the name of its folder, or the one of the nearest mean."""
        known = {name: k for k, name in enumerate(self.reader.speakers)}
        means = [self.reader.speaker_mean - frames.mean(0) for frames in utterances_of(speech)]  # (S, M) each
        nearest = [int(np.square(mean).sum(1).argmin()) for mean in means]
        return [known.get(name, k) for name, k in zip(speech.speakers, nearest, strict=True)]

    def units(self, speech: ReadSpeech) -> list[np.ndarray]:
        """Return the units (L,) of each recording, one for every `model.stride` frames."""
        self.require(HasUnits, "give units of speech")
        assert isinstance(self.model, HasUnits)
        return self._map(self.model.units, self.normalized(speech), self.voices[0], self.model.stride)

    def decode_units(self, compressed: CompressedSpeech) -> list[np.ndarray]:
        """Return the log-mels (T, M) of compressed recordings, in the voices of training speakers."""
        self.require(DecodesUnits, "turn units into speech")
        assert isinstance(self.model, DecodesUnits)
        if len(compressed.speaker) and compressed.speaker.max() >= len(self.reader.speakers):
            raise InputError("The compressed recordings have voices that the run does not know.")
        settings, decoded = self.reader.settings, []
        starts = np.flatnonzero(compressed.starts(self.model.stride))
        with torch.inference_mode():
            for k, units in enumerate(np.split(compressed.units, starts[1:])):
                empty = np.zeros((int(compressed.frames[k]), settings.n_mels), np.float32)
                batch = make_batch([empty], compressed.speaker[k : k + 1], [empty])
                frames = self.model.decode_units(torch.from_numpy(units)[None], batch)[0].numpy()
                decoded.append(self.reader.denormalize(frames, int(compressed.speaker[k])))
        return self._finite(decoded)

    def content_means(self, speech: ReadSpeech) -> np.ndarray:
        """Return the mean over time of what is said in each recording, (N, C): the content, or a middle layer."""
        normal = self.normalized(speech)
        if isinstance(self.model, HasContent):
            codes = self._map(self.model.content, normal, self.voices[0], self.model.stride)
        else:
            codes = self.layer(normal, self.layers(normal) // 2)
        return np.stack([code.mean(0) for code in codes])

    def voice_codes(self, speech: ReadSpeech) -> np.ndarray:
        """Return the code of the voice of each recording, (N, S)."""
        self.require(HasContent, "give codes of voices")
        assert isinstance(self.model, HasContent)
        normal, speakers = self.normalized(speech), self.speakers_of(speech)
        codes = map_utterances(self.model, self.model.speaker_code, normal, speakers, normal, stride=None)
        return np.stack(self._finite(codes))

    def layers(self, utterances: list[np.ndarray]) -> int:
        """Return how many layers the model has a vector of a frame in, that of its input included."""
        self.require(EncodesSpeech, "give vectors of frames")
        assert isinstance(self.model, EncodesSpeech)
        with torch.inference_mode():
            return len(self.model.hidden_layers(make_batch(utterances[:1], [UNKNOWN], utterances[:1])))

    def layer(self, utterances: list[np.ndarray], layer: int) -> list[np.ndarray]:
        """Return the vectors (T, C) of one layer for normalised utterances, each (T, M)."""
        return self._map(lambda batch: self.model.hidden_layers(batch)[layer], utterances, self.voices[0])

    def normalized(self, speech: ReadSpeech) -> list[np.ndarray]:
        """Return the normalised frames (T, M) of each recording. Those in one folder are of one speaker."""
        speakers = {name: k for k, name in enumerate(self.reader.speakers)}
        ids = [speakers.setdefault(name, len(speakers)) for name in speech.speakers]
        frames = self.reader.normalize(speech.frames, speech.begin, np.array(ids))
        return [frames[start:end] for start, end in zip(speech.begin[:-1], speech.begin[1:], strict=True)]

    def _map(
        self, function: Callable[[Batch], Tensor], utterances: list[np.ndarray], voice: Voice, stride: int = 1
    ) -> list[np.ndarray]:
        n, reference_s = len(utterances), getattr(self.model, "reference_s", 0.0)
        reference = voice.reference[: max(1, int(reference_s * self.reader.settings.frames_per_s))]
        return self._finite(
            map_utterances(self.model, function, utterances, [voice.speaker] * n, [reference] * n, stride)
        )

    def _finite(self, outputs: list[np.ndarray]) -> list[np.ndarray]:
        if not all(np.isfinite(output).all() for output in outputs):
            raise InputError(f"The model of {self.folder} gives numbers that are NaN or infinite: train it again.")
        return outputs

    def use_vocoder(self, folder: str | None) -> None:
        """Make waveforms by the vocoder in a folder; None: by Griffin-Lim. Raises InputError if it does not fit."""
        self.vocoder = None if folder is None else load_vocoder(Path(folder).expanduser(), self.reader.settings)

    def waveform(self, log_mels: np.ndarray) -> np.ndarray:
        """Return the waveform (S,) float32 of log-mels (T, M): by the vocoder, or by Griffin-Lim if there is none."""
        frames = torch.from_numpy(np.ascontiguousarray(log_mels, np.float32))[None]
        with torch.inference_mode():
            wave = griffin_lim(frames, self.reader.settings) if self.vocoder is None else self.vocoder(frames)
        return wave[0].numpy()


def frame_scale(run: SpeechRun) -> FrameScale:
    """Return how plots of the run's frames are labelled."""
    return FrameScale(run.reader.settings.frames_per_s, run.reader.settings.band_hz)


def utterances_of(speech: ReadSpeech) -> list[np.ndarray]:
    """Return the log-mels (T, M) of each recording."""
    return [speech.frames[start:end] for start, end in zip(speech.begin[:-1], speech.begin[1:], strict=True)]
