"""Speech in files: a user's own folder or folders of sounds, with alignments and transcripts if there are any."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

import numpy as np
import soundfile

from ssl_cli.config.types import Path as FilePath
from ssl_cli.data.audio.alignments import SUFFIXES as ALIGNMENT_SUFFIXES
from ssl_cli.data.audio.alignments import Segment, is_transcript, read_alignment, read_ctm_file
from ssl_cli.data.audio.datasets import Speech
from ssl_cli.data.audio.decode import read_samples
from ssl_cli.data.audio.files import SoundFiles, sound_files
from ssl_cli.data.audio.hub import read_hub
from ssl_cli.data.audio.layouts import (
    compile_pattern,
    match_pattern,
    plain_stem,
    speakers_and_splits,
    transcripts_of_one_word,
    without_other_microphones,
)
from ssl_cli.data.audio.recordings import Recordings
from ssl_cli.data.io.content import file_kind
from ssl_cli.errors import InputError

MAX_ASKED_FILES = 100  # whose sample rate is looked up, to find the most common one


@dataclass(kw_only=True)
class SpeechFolder(Speech):
    """Sounds in a folder or in several: one sub-folder a speaker, or file names that follow a pattern."""

    dir: Annotated[FilePath | list[FilePath] | None, "folder of WAV, FLAC, Ogg or MP3 files, or a list of folders"]
    pattern: Annotated[
        FilePath | list[FilePath] | None,
        "what file names say, such as {word}_{speaker}_{take}, * being any text; null: folders are speakers",
    ] = None
    test_takes: Annotated[list[str | int] | None, "the takes that are the test; null: a share"] = None
    alignments: Annotated[
        FilePath | None, "folder of TextGrid, CTM or .lab files, or one CTM file; null: beside the sounds"
    ] = None
    page: Annotated[str | None, "where the recordings can be downloaded"] = None
    hub: Annotated[FilePath | None, "dataset on the Hugging Face hub, or a folder of its Parquet files"] = None

    def recordings(self) -> Recordings:
        """Return the recordings of all folders. Raises InputError if there are none."""
        folders = [Path(name).expanduser() for name in ([self.dir] if isinstance(self.dir, str) else self.dir or [])]
        if self.hub is not None and not any(folder.is_dir() for folder in folders):
            return read_hub(self.hub, self._cache() if self.cache else None)
        if not folders:
            raise InputError("Set data.dir=FOLDER to a folder of sounds, or data.hub=ID to a dataset of the hub.")
        parts = [self._read_folder(folder) for folder in folders]
        return parts[0] if len(parts) == 1 else _join(parts)

    def _is_test_take(self, take: str) -> bool:
        return self.test_takes is not None and take in {str(name) for name in self.test_takes}

    def _read_folder(self, folder: Path) -> Recordings:
        if not folder.is_dir():
            kind = f"is {file_kind(folder) or 'a file'}, not a folder" if folder.is_file() else "is not a folder"
            advice = "name a folder of sounds, in one sub-folder a speaker"
            if self.page is not None and not folder.exists():
                advice = f"download the recordings from {self.page}, or set data.dir to where they are"
            raise InputError(f"data.dir={folder} {kind}: {advice}.")
        files = sound_files(folder)
        files.sounds, warnings = without_other_microphones(files)
        said, rejected = self._what_names_say(files)
        names, words = list(said), transcripts_of_one_word(files)
        alignments = _Alignments(files, None if self.alignments is None else Path(self.alignments).expanduser())
        return Recordings(
            place=str(folder),
            names=names,
            speakers=[said[name]["speaker"] for name in names],
            words=[said[name].get("word") or words.get(plain_stem(name), "") for name in names],
            takes=[said[name].get("take", "") for name in names],
            splits=[said[name].get("split", "") for name in names],
            versions=[[files.sounds[name], alignments.version(name)] for name in names],
            sizes=[files.sounds[name][0] for name in names],
            rates_hz=_sample_rates([folder / name for name in names]),
            load=lambda k: read_samples(folder / names[k]),
            align=lambda k: alignments.read(names[k]),
            rejected=rejected,
            warnings=warnings,
        )

    def _what_names_say(self, files: SoundFiles) -> tuple[dict[str, dict[str, str]], list[tuple[str, str]]]:
        """Return the fields of each sound by its name, and the sounds that do not follow the pattern."""
        if self.pattern is None:
            speakers, splits = speakers_and_splits(files)
            rows = zip(files.names, speakers, splits, strict=True)
            return {name: {"speaker": speaker, "split": split} for name, speaker, split in rows}, []
        texts = [self.pattern] if isinstance(self.pattern, str) else self.pattern
        patterns = [compile_pattern(text) for text in texts]
        said = {name: match_pattern(patterns, name) for name in files.names}
        rejected = [(name, "its name does not follow data.pattern") for name, fields in said.items() if fields is None]
        if len(rejected) == len(said):
            raise InputError(f"{files.root}: no file follows data.pattern={', '.join(texts)}, as {rejected[0][0]}.")
        return {name: fields for name, fields in said.items() if fields is not None}, rejected


class _Alignments:
    """The alignments of sounds: files of the same name beside them, or in a folder of their own."""

    def __init__(self, files: SoundFiles, place: Path | None):
        self.by_name: dict[str, Path] = {}
        self.by_stem: dict[str, Path] = {}
        self.in_ctm: dict[str, list[Segment]] = {}
        self.required = place is not None
        root, names = (files.root, list(files.others)) if place is None else _alignment_files(place)
        for name in names:
            path = PurePosixPath(name)
            if path.suffix.lower() == ".ctm":
                self.in_ctm |= read_ctm_file(root / name)
            elif path.suffix in ALIGNMENT_SUFFIXES:
                self.by_name[path.with_suffix("").as_posix()] = root / name
                self.by_stem[path.stem] = root / name

    def _path(self, name: str) -> Path | None:
        return self.by_name.get(name.rpartition(".")[0]) or self.by_stem.get(plain_stem(name))

    def version(self, name: str) -> object:
        """Return what changes with the alignment of a sound."""
        if path := self._path(name):
            stat = path.stat()
            return [stat.st_size, stat.st_mtime_ns]
        return self.in_ctm.get(plain_stem(name))

    def read(self, name: str) -> list[Segment] | None:
        """Return the phones of a sound, None if it has no alignment. Raises InputError if that can't be read."""
        path = self._path(name)
        if path is None:
            return self.in_ctm.get(plain_stem(name))
        if path.suffix == ".lab" and not self.required and is_transcript(path):
            return None  # the Montreal Forced Aligner reads transcripts from files of this name
        return read_alignment(path)


def _alignment_files(place: Path) -> tuple[Path, Iterable[str]]:
    if place.is_file():
        return place.parent, [place.name]
    if not place.is_dir():
        raise InputError(f"data.alignments={place} is neither a file nor a folder.")
    names = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.suffix in ALIGNMENT_SUFFIXES)
    if not names:
        raise InputError(f"data.alignments={place} has no file whose name ends in .TextGrid, .ctm or .lab.")
    return place, names


def _sample_rates(paths: list[Path]) -> list[int]:
    """Return the sample rates of some files, spread over all; of those whose header can be read."""
    rates = []
    for path in paths[:: -(-len(paths) // MAX_ASKED_FILES)]:
        try:
            rates.append(int(soundfile.info(path).samplerate))
        except (soundfile.LibsndfileError, OSError, RuntimeError):
            continue
    return [rate for rate in rates if rate > 0]


def _join(parts: list[Recordings]) -> Recordings:
    """Return the recordings of several folders, named after them."""
    counts = [len(part.names) for part in parts]
    owner, offset = np.repeat(np.arange(len(parts)), counts), np.cumsum([0, *counts])

    def at(k: int) -> tuple[Recordings, int]:
        return parts[owner[k]], k - int(offset[owner[k]])

    def of(name: str) -> list:
        return [value for part in parts for value in getattr(part, name)]

    def load(k: int) -> tuple[np.ndarray, int]:
        part, index = at(k)
        return part.load(index)

    def align(k: int) -> list[Segment] | None:
        part, index = at(k)
        return part.align(index)

    lists = ("speakers", "words", "takes", "splits", "versions", "sizes", "rates_hz", "rejected", "warnings")
    return Recordings(
        place=", ".join(part.place for part in parts),
        names=[f"{Path(part.place).name}/{name}" for part in parts for name in part.names],
        load=load,
        align=align,
        **{name: of(name) for name in lists},
    )
