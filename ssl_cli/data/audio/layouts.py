"""Layouts of speech corpora: what the names of files and folders say of speaker, word and take, and of transcripts."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ssl_cli.data.audio.files import SoundFiles
from ssl_cli.errors import InputError

FIELDS = ("word", "speaker", "take")
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}
OTHER_MICROPHONES = re.compile(r"_mic[2-9]$")  # VCTK has every utterance once a microphone
MICROPHONE = re.compile(r"_mic\d$")
MAX_WORD_BYTES = 64  # of a transcript of one word
MAX_TRANSCRIPT_BYTES = 1 << 26


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern such as `{word}_{speaker}_{take}`; `*` is any text.

    A field has none of the separators that are in the pattern. Raises InputError if the pattern has unknown fields.
    """
    parts = re.split(r"(\{\w*\}|\*)", pattern)
    fields = [part[1:-1] for part in parts if part.startswith("{")]
    if "speaker" not in fields or len(set(fields)) < len(fields) or not set(fields) <= set(FIELDS):
        raise InputError(
            f"data.pattern={pattern} must have {{speaker}}, and may have {{word}} and {{take}}; * is any text."
        )
    separators = "".join(re.escape(mark) for mark in sorted({*"".join(parts[::2])}) if not mark.isalnum())
    field = f"[^{separators}/]+" if separators else "[^/]+"
    regex = "".join(
        f"(?P<{part[1:-1]}>{field})" if part.startswith("{") else ".*" if part == "*" else re.escape(part)
        for part in parts
    )
    return re.compile(regex)


def match_pattern(patterns: list[re.Pattern[str]], name: str) -> dict[str, str] | None:
    """Return the fields of a file's name by the first pattern that it follows, or None.

    A pattern with a folder in it is compared with the whole name, others with its last part; without the suffix.
    """
    path = name.rpartition(".")[0]
    for pattern in patterns:
        if found := pattern.fullmatch(path if "/" in pattern.pattern.replace("/]+", "") else path.rpartition("/")[2]):
            return {key: value or "" for key, value in found.groupdict().items()}
    return None


def speakers_and_splits(files: SoundFiles) -> tuple[list[str], list[str]]:
    """Return speaker and published split, "" if there is none, of each sound by the folders that it lies in.

    The speaker is the folder whose name begins the file's, as in VCTK (p225/p225_001) and LibriSpeech
    (19/198/19-198-0001), or the topmost folder. Folders that hold all files are no speakers.
    """
    parents = [name.split("/")[:-1] for name in files.names]
    while all(parents) and len({folders[0] for folders in parents}) == 1 and any(len(f) > 1 for f in parents):
        parents = [folders[1:] for folders in parents]
    first = {folders[0].lower() if folders else "" for folders in parents}
    splits = [""] * len(parents)
    if {"train", "test"} <= first <= set(SPLITS):
        splits = [SPLITS[folders[0].lower()] for folders in parents]
        parents = [folders[1:] for folders in parents]
    return [_speaker(folders, name, files.root) for folders, name in zip(parents, files.names, strict=True)], splits


def _speaker(folders: list[str], name: str, root: Path) -> str:
    stem = plain_stem(name)
    begins = [folder for folder in folders if re.match(re.escape(folder) + r"[-_]", stem)]
    return [*begins, *folders, root.resolve().name][0]


def without_other_microphones(files: SoundFiles) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Return the sounds without those that another microphone has too, and a sentence if there are any."""
    stems = {name.rpartition(".")[0] for name in files.sounds}

    def is_copy(name: str) -> bool:
        stem = name.rpartition(".")[0]
        return (first := OTHER_MICROPHONES.sub("_mic1", stem)) != stem and first in stems

    kept = {name: version for name, version in files.sounds.items() if not is_copy(name)}
    n = len(files.sounds) - len(kept)
    return kept, [f"{n:,} recordings by a second microphone are left out"] if n else []


def transcripts_of_one_word(files: SoundFiles) -> dict[str, str]:
    """Return the word of each recording, by its stem, whose transcript is one word.

    Transcripts are in NAME.txt (beside the sound, or in another folder as in VCTK), or in LibriSpeech's x.trans.txt.
    """
    words = {}
    for stem, text in _transcripts(files):
        if len(spoken := text.split()) == 1 and (word := spoken[0].strip(".,;:!?\"'").lower()):
            words[stem] = word
    return words


def _transcripts(files: SoundFiles) -> Iterator[tuple[str, str]]:
    for name, (n_bytes, _) in files.others.items():
        path = PurePosixPath(name)
        is_list = name.endswith(".trans.txt")
        if path.suffix != ".txt" or n_bytes > (MAX_TRANSCRIPT_BYTES if is_list else MAX_WORD_BYTES):
            continue
        try:
            text = (files.root / name).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise InputError(f"{files.root / name} can't be read: {error.strerror}.") from error
        if is_list:
            for line in text.splitlines():
                stem, _, spoken = line.partition(" ")
                yield stem, spoken
        else:
            yield path.stem, text


def plain_stem(name: str) -> str:
    """Return what transcripts and alignments of a sound are called: its name without folders, suffix or microphone."""
    return MICROPHONE.sub("", name.rpartition("/")[2].rpartition(".")[0])
