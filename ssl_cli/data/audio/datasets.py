"""Speech data sets: recordings -> utterances of log-mel frames, in the splits that a verb needs."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np

from ssl_cli.config.types import Path as FilePath
from ssl_cli.config.types import Range
from ssl_cli.data.audio.cache import Frames, load_frames
from ssl_cli.data.audio.features import MelSettings
from ssl_cli.data.audio.reader import SpeechReader
from ssl_cli.data.audio.reader_files import HopMs, MelBands, Normalization, SampleRate, TopHz, WindowMs
from ssl_cli.data.audio.recordings import Recordings, named_with_reasons
from ssl_cli.data.audio.splits import SPLITS, check_unheard, draw_splits, in_order
from ssl_cli.data.audio.utterances import SpeechSplit
from ssl_cli.errors import InputError

__all__ = ["Speech", "SpeechData", "SpeechSplit"]
MAX_DEFAULT_RATE_HZ = 16_000  # speech has little above half of it
HeldOut = Annotated[float, Range(0, 1, open_high=True)]


@dataclass
class SpeechData:
    """Data of the verbs of speech. `splits`: train, val and test if some are held out, unheard if speakers are.

    `speakers` are those of training first, then those kept out of it.
    """

    splits: dict[str, SpeechSplit]
    speakers: list[str]
    words: list[str]
    phones: list[str]
    reader: SpeechReader
    fingerprint: str
    warnings: list[str] = field(default_factory=list)

    @property
    def facts(self) -> dict[str, int | float]:
        """Return the facts for the config; speakers are those of training."""
        settings = self.reader.settings
        return {
            "n_mels": settings.n_mels,
            "n_speakers": len(self.reader.speakers),
            "sample_rate_hz": settings.sample_rate_hz,
            "hop_ms": 1000 * settings.hop / settings.sample_rate_hz,
            "frames_per_s": settings.frames_per_s,
        }


@dataclass(kw_only=True)
class Speech:
    """Recordings of speech as frames, in splits; subclasses define where recordings come from."""

    gives: ClassVar[tuple[str, ...]] = ("frames", "length", "speaker", "reference", "reference_length")
    offers: ClassVar[Mapping[str, type]] = {
        "n_mels": int,
        "n_speakers": int,
        "sample_rate_hz": int,
        "hop_ms": float,
        "frames_per_s": float,
        "steps": int,  # of the run: the verb adds it
    }

    sample_rate_hz: Annotated[
        SampleRate | None,
        "samples a second; null: the most common rate of the files, at most 16,000",
    ] = None
    n_mels: Annotated[MelBands | None, "mel bands; null: 80, or 64 below 16,000 Hz"] = None
    window_ms: Annotated[WindowMs, "milliseconds of a frame"] = 32.0
    hop_ms: Annotated[HopMs, "milliseconds from one frame to the next"] = 10.0
    top_hz: Annotated[TopHz | None, "where the highest mel band ends; null: at half the sample rate"] = None
    normalization: Annotated[Normalization, "whose mean and deviation the frames are normalised by"] = "global"
    loudness: Annotated[bool, "whether utterances are made equally loud"] = True
    trim: Annotated[bool, "whether silence at the ends of utterances is cut off"] = False
    val: Annotated[HeldOut, "share of the training utterances held out for validation"] = 0.1
    test: Annotated[HeldOut, "share of the utterances held out for the test, if no split is published"] = 0.1
    unheard_speakers: Annotated[list[str], "speakers kept out of training, for the split unheard"] = field(
        default_factory=list
    )
    cache: Annotated[FilePath | None, "folder for frames that don't fit in memory; null: ~/.cache/ssl"] = None

    def recordings(self) -> Recordings:
        """Return the recordings. Raises InputError if they can't be found."""
        raise NotImplementedError(f"{type(self).__name__} does not define recordings")

    def speech_splits(self, seed: int) -> SpeechData:
        """Read the recordings and split them. Raises InputError if that can't be done."""
        recordings = self.recordings()
        settings = self._settings(recordings)
        found = load_frames(recordings, settings, self.loudness, self.trim, self._cache())
        rejected = [*recordings.rejected, *found.rejected]
        n = len(rejected) + len(found.kept)
        if not found.kept:
            name, reason = rejected[0]
            raise InputError(f"None of the {n:,} sounds in {recordings.place} can be read; {name}: {reason}.")
        utterances, speakers, words, split = self._utterances(recordings, found, seed)
        splits = {name: utterances.take(split == name) for name in SPLITS if (split == name).any()}
        heard = speakers[: len(np.unique(splits["train"].speaker))]  # those of training come first
        reader = SpeechReader.fit(
            settings, self.normalization, splits["train"], (heard, words, found.phones), self.loudness, self.trim
        )
        labels = [utterances.names, speakers, words, utterances.speaker.tolist(), utterances.word.tolist()]
        fingerprint = hashlib.sha256(json.dumps([found.digest, *labels]).encode()).hexdigest()
        warnings = [*recordings.warnings, *_rejection_warnings(recordings.place, rejected, n, found.misaligned)]
        return SpeechData(splits, speakers, words, found.phones, reader, fingerprint, warnings)

    def _utterances(
        self, recordings: Recordings, found: Frames, seed: int
    ) -> tuple[SpeechSplit, list[str], list[str], np.ndarray]:
        """Return all utterances, the names of speakers (those of training first) and words, and each one's split."""
        voice, word, published = ([values[k] for k in found.kept] for values in self._labels(recordings))
        check_unheard(self.unheard_speakers, set(voice))
        pairs = zip(voice, published, strict=True)
        published = ["unheard" if name in self.unheard_speakers else split for name, split in pairs]
        split = draw_splits(voice, word, published, self.val, self.test, seed)
        if not (split == "train").any():
            raise InputError(f"No utterance of {recordings.place} is left for training: all are in other splits.")
        training = {name for name, where in zip(voice, split, strict=True) if where == "train"}
        speakers = [*in_order(training), *in_order(set(voice) - training)]
        words = in_order(set(word) - {""})
        utterances = SpeechSplit(
            frames=found.frames,
            begin=np.concatenate([[0], np.cumsum(found.length)]),
            speaker=_indices(speakers, voice),
            word=_indices(words, word),
            phone=found.phone.astype(np.int64) if found.phones else None,
            names=[recordings.names[k] for k in found.kept],
            row=np.arange(len(found.kept)),
        )
        return utterances, speakers, words, split

    def _labels(self, recordings: Recordings) -> tuple[list[str], list[str], list[str]]:
        """Return the speaker, the word, and the published split of each recording, "" where there is none."""
        pairs = zip(recordings.splits, recordings.takes, strict=True)
        published = [split or ("test" if self._is_test_take(take) else "") for split, take in pairs]
        return recordings.speakers, recordings.words, published

    def _settings(self, recordings: Recordings) -> MelSettings:
        """Return how frames are computed: what the options leave open follows from the recordings."""
        rate_hz = self.sample_rate_hz
        if rate_hz is None:
            common = Counter(recordings.rates_hz).most_common(1)
            rate_hz = min(common[0][0], MAX_DEFAULT_RATE_HZ) if common else MAX_DEFAULT_RATE_HZ
        n_mels = self.n_mels or (80 if rate_hz >= 16_000 else 64)
        if self.top_hz is not None and self.top_hz > rate_hz / 2:
            raise InputError(f"data.top_hz={self.top_hz:g} is above half the sample rate, {rate_hz / 2:g} Hz.")
        return MelSettings(rate_hz, n_mels, float(self.window_ms), float(self.hop_ms), self.top_hz)

    def _cache(self) -> Path:
        if self.cache is not None:
            return Path(self.cache).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ssl"

    def _is_test_take(self, take: str) -> bool:
        """Return whether a take is published as one of the test."""
        return False


def _indices(names: list[str], values: list[str]) -> np.ndarray:
    """Return the position of each value among the names, (N,) int64; -1 for "", which is none of them."""
    index = {name: k for k, name in enumerate(names)}
    return np.array([index.get(value, -1) for value in values], np.int64)


def _rejection_warnings(
    place: str, rejected: list[tuple[str, str]], n: int, misaligned: list[tuple[str, str]]
) -> list[str]:
    """Return sentences about the recordings, of n, and the alignments that can't be read."""
    warnings = []
    if rejected:
        reasons = named_with_reasons(rejected)
        warnings.append(f"{len(rejected):,} of {n:,} sounds in {place} are left out: {reasons}")
    if misaligned:
        warnings.append(f"{len(misaligned):,} alignments are left out: {named_with_reasons(misaligned)}")
    return warnings
