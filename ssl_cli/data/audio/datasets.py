"""Speech data sets: files -> utterances of log-mel frames, in the splits that a verb needs."""

import hashlib
import json
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np

from ssl_cli.config.choices import did_you_mean
from ssl_cli.config.types import Path as FilePath
from ssl_cli.config.types import Range
from ssl_cli.data.audio.decode import read_waveform
from ssl_cli.data.audio.features import MelSettings, log_mel_end_to_end
from ssl_cli.data.audio.reader import Normalization, SpeechReader, prepare, sound_files
from ssl_cli.data.audio.utterances import SpeechSplit
from ssl_cli.errors import InputError

__all__ = ["Speech", "SpeechData", "SpeechSplit"]
MAX_NAMED_FILES = 20  # rejected files that are named; all are counted
BATCH_FILES = 256
THREADS = 4
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
    """Sounds in a folder, one sub-folder a speaker, or with names that follow a pattern."""

    gives: ClassVar[tuple[str, ...]] = ("frames", "length", "speaker", "reference", "reference_length")
    offers: ClassVar[Mapping[str, type]] = {
        "n_mels": int, "n_speakers": int, "sample_rate_hz": int, "hop_ms": float, "frames_per_s": float,
        "steps": int,  # of the run: the verb adds it
    }

    dir: Annotated[FilePath, "folder of the sounds"]
    pattern: Annotated[str | None, "what file names say, such as {word}_{speaker}_{take}; null: folders are speakers"]
    sample_rate_hz: Annotated[int, Range(4000, 48_000)] = 16_000
    n_mels: Annotated[int, Range(8, 256)] = 80
    window_ms: Annotated[float, Range(5, 200), "milliseconds of a frame"] = 32.0
    hop_ms: Annotated[float, Range(1, 100), "milliseconds from one frame to the next"] = 10.0
    normalization: Annotated[Normalization, "whose mean and deviation the frames are divided by"] = "global"
    loudness: Annotated[bool, "whether utterances are made equally loud"] = True
    trim: Annotated[bool, "whether silence at the ends is cut off"] = False
    val: Annotated[HeldOut, "share of the training utterances held out to watch"] = 0.1
    test: Annotated[HeldOut, "share of the utterances held out for the test"] = 0.1
    test_takes: Annotated[list[str | int] | None, "the takes of the test, if the pattern has {take}"] = None
    unheard_speakers: Annotated[list[str], "speakers kept out of training, for the split unheard"] = field(
        default_factory=list
    )

    @property
    def settings(self) -> MelSettings:
        """Return how frames are computed."""
        return MelSettings(self.sample_rate_hz, self.n_mels, float(self.window_ms), float(self.hop_ms))

    def speech_splits(self, seed: int) -> SpeechData:
        """Read the sounds and split them. Raises InputError if that can't be done."""
        utterances, speakers, words, takes, warnings = self._read()
        speakers, is_unheard = self._order_speakers(utterances, speakers)
        split = self._split(utterances, takes, is_unheard, np.random.default_rng([seed, 1]))
        splits = {
            name: utterances.take(split == name) for name in ("train", "val", "test", "unheard") if (split == name).any()
        }
        heard = speakers[: len(speakers) - len(self.unheard_speakers)]
        reader = SpeechReader.fit(
            self.settings, self.normalization, splits["train"], (heard, words, []), self.loudness, self.trim
        )
        digest = hashlib.sha256(np.ascontiguousarray(utterances.frames).data)
        digest.update(json.dumps([utterances.names, speakers, words, split.tolist()]).encode())
        return SpeechData(splits, speakers, words, [], reader, digest.hexdigest(), warnings)

    def _read(self) -> tuple[SpeechSplit, list[str], list[str], list[str], list[str]]:
        """Return all utterances, the names of speakers and words, the take of each, and warnings."""
        folder = Path(self.dir).expanduser()
        if not folder.is_dir():
            raise InputError(f"data.dir={folder} is not a folder.")
        files, matches = sound_files(folder), []
        for file in files:
            matches.append(self._match(file, folder))
        waves, rejected = self._waves(files, folder)
        kept = [k for k, wave in enumerate(waves) if wave is not None]
        if not kept:
            raise InputError(f"None of the {len(files):,} sounds in {folder} can be read; {': '.join(rejected[0])}.")
        pieces = [
            log_mel_end_to_end([waves[k] for k in kept[at : at + BATCH_FILES]], self.settings)
            for at in range(0, len(kept), BATCH_FILES)
        ]
        length = np.concatenate([piece[1] for piece in pieces])
        speakers = sorted({matches[k]["speaker"] for k in kept})
        words = sorted({matches[k]["word"] for k in kept} - {""})
        utterances = SpeechSplit(
            np.concatenate([piece[0] for piece in pieces]),
            np.concatenate([[0], np.cumsum(length)]),
            np.array([speakers.index(matches[k]["speaker"]) for k in kept]),
            np.array([words.index(matches[k]["word"]) if matches[k]["word"] else -1 for k in kept]),
            None,
            [files[k].relative_to(folder).as_posix() for k in kept],
            np.arange(len(kept)),
        )
        return utterances, speakers, words, [matches[k]["take"] for k in kept], self._warnings(rejected, len(files))

    def _match(self, file: Path, folder: Path) -> dict[str, str]:
        if self.pattern is None:
            parts = file.relative_to(folder).parts
            return {"speaker": parts[0] if len(parts) > 1 else "", "word": "", "take": ""}
        regex = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^_]+)", re.escape(self.pattern))
        found = re.fullmatch(regex, file.stem)
        if found is None:
            raise InputError(f"{file} does not follow data.pattern={self.pattern}.")
        return {"speaker": "", "word": "", "take": ""} | found.groupdict()

    def _waves(self, files: list[Path], folder: Path) -> tuple[list[np.ndarray | None], list[tuple[str, str]]]:
        rejected = []

        def wave_or_reason(file: Path) -> np.ndarray | str:
            try:
                return prepare(read_waveform(file, self.sample_rate_hz), self.settings, self.loudness, self.trim)
            except InputError as error:
                return str(error)

        with ThreadPoolExecutor(THREADS) as threads:
            found = list(threads.map(wave_or_reason, files))
        for file, wave in zip(files, found, strict=True):
            if isinstance(wave, str):
                rejected.append((file.relative_to(folder).as_posix(), wave))
        return [None if isinstance(wave, str) else wave for wave in found], rejected

    def _warnings(self, rejected: list[tuple[str, str]], n_files: int) -> list[str]:
        if not rejected:
            return []
        named = ", ".join(f"{name} ({reason})" for name, reason in rejected[:MAX_NAMED_FILES])
        n_more = len(rejected) - MAX_NAMED_FILES
        more = f", and {n_more:,} more" if n_more > 0 else ""
        return [f"{len(rejected):,} of {n_files:,} sounds in {self.dir} are left out: {named}{more}"]

    def _order_speakers(self, utterances: SpeechSplit, speakers: list[str]) -> tuple[list[str], np.ndarray]:
        """Number the speakers of training first. Returns the names in that order, and which utterances are unheard."""
        for name in self.unheard_speakers:
            if name not in speakers:
                hint = did_you_mean(name, speakers)
                raise InputError(
                    f"data.unheard_speakers has {name}, who is not a speaker.{hint} The speakers are "
                    f"{', '.join(speakers[:50])}."
                )
        ordered = [name for name in speakers if name not in self.unheard_speakers]
        if not ordered:
            raise InputError("data.unheard_speakers names every speaker: leave at least one for training.")
        ordered += [name for name in speakers if name in self.unheard_speakers]
        utterances.speaker = np.array([ordered.index(name) for name in speakers])[utterances.speaker]
        return ordered, utterances.speaker >= len(ordered) - len(set(self.unheard_speakers))

    def _split(
        self, utterances: SpeechSplit, takes: list[str], is_unheard: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the name of each utterance's split, (N,): shares of each speaker and word, at random."""
        split = np.full(len(utterances), "train", dtype="U8")
        split[is_unheard] = "unheard"
        if self.test_takes is not None:
            is_test = np.isin(takes, [str(take) for take in self.test_takes])
            split[is_test & ~is_unheard] = "test"
        else:
            split[self._share(utterances, split == "train", self.test, rng)] = "test"
        split[self._share(utterances, split == "train", self.val, rng)] = "val"
        if not (split == "train").any():
            raise InputError("No utterance is left for training: lower data.val and data.test.")
        return split

    def _share(
        self, utterances: SpeechSplit, among: np.ndarray, share: float, rng: np.random.Generator
    ) -> np.ndarray:
        """Return a share of the utterances in a mask, the same of each speaker and word as nearly as can be."""
        rows = rng.permutation(np.flatnonzero(among))
        rows = rows[np.lexsort([utterances.word[rows], utterances.speaker[rows]])]
        place = np.arange(len(rows)) * share  # every 1 / share-th of the sorted rows
        return rows[np.floor(place + share) > np.floor(place)]
