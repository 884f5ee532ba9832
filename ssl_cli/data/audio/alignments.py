"""Alignments: which phone is spoken when, in TextGrid, CTM or .lab files. Files are treated as untrusted."""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from ssl_cli.errors import InputError

Segment = tuple[float, float, str]  # start and end in seconds, phone
SILENCE = "SIL"  # the phone of silence, whatever a file calls it
SILENCES = {"", "sil", "sp", "<eps>", "h#", "pau", "silence", "<sil>"}
SUFFIXES = (".TextGrid", ".textgrid", ".lab", ".ctm")
PHONE_TIERS = ("phones", "phone", "phonemes", "phoneme", "segments", "segmentation", "mau")
MAX_FILE_BYTES = 1 << 28
HTK_S = 1e-7  # HTK counts in steps of 100 ns


def read_alignment(path: Path) -> list[Segment]:
    """Return the phones of a recording in a TextGrid or .lab file, in order. Raises InputError if it can't be read."""
    text, is_textgrid = _read_text(path), path.suffix.lower() == ".textgrid"
    try:
        return _check(read_textgrid(text) if is_textgrid else read_lab(text))
    except (ValueError, IndexError) as error:
        what = "a TextGrid" if is_textgrid else 'lines "start end phone"'
        raise InputError(f"{path} is not {what}: {error}.") from error


def read_ctm_file(path: Path) -> dict[str, list[Segment]]:
    """Return the phones of each recording in a CTM file. Raises InputError if it can't be read."""
    try:
        return {name: _check(segments) for name, segments in read_ctm(_read_text(path)).items()}
    except ValueError as error:
        raise InputError(f'{path} is not a CTM ("name channel start duration phone"): {error}.') from error


def is_transcript(path: Path) -> bool:
    """Return whether a .lab file has words instead of times."""
    try:
        float(_read_text(path).split(maxsplit=1)[0])
    except (ValueError, IndexError):
        return True
    return False


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path} has more than {MAX_FILE_BYTES:,} bytes: it is no alignment.")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from error
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return content.decode(encoding, "replace")


def read_lab(text: str) -> list[Segment]:
    """Return the phones of a .lab file: `start end phone` in seconds, or in HTK's steps of 100 ns if whole numbers."""
    rows = [line.split(maxsplit=2) for line in text.splitlines() if line.strip()]
    if not rows:
        raise ValueError("it is empty")
    if short := next((n for n, row in enumerate(rows, 1) if len(row) < 2), None):
        raise ValueError(f"line {short} has no two times")
    is_htk = all(time.isdigit() for row in rows for time in row[:2]) and float(rows[-1][1]) > 10_000
    unit = HTK_S if is_htk else 1.0
    return [(float(row[0]) * unit, float(row[1]) * unit, row[2].split()[0] if len(row) > 2 else "") for row in rows]


def read_ctm(text: str) -> dict[str, list[Segment]]:
    """Return the phones of each recording in a CTM file, whose lines are `name channel start duration phone`."""
    found = defaultdict(list)
    for n, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(";;"):
            continue
        row = line.split()
        if len(row) < 5:
            raise ValueError(f"line {n} has no five values")
        start = float(row[2])
        found[row[0]].append((start, start + float(row[3]), re.sub(r"_[BIES]$", "", row[4])))
    return {name: sorted(segments) for name, segments in found.items()}


def read_textgrid(text: str) -> list[Segment]:
    """Return the intervals of the phone tier of a TextGrid, in its long or short form.

    It is the tier with one of the names PHONE_TIERS, also after a speaker's name (`anna - phones`), or the last one.
    """
    # Both forms are the same list of numbers and quoted texts; the long one names each, and numbers its items.
    bare = re.sub(r"\[\d+\]:?", "", text)
    tokens = re.findall(r'"(?:[^"]|"")*"|(?<![\w"])-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w"])', bare)
    tiers, at = {}, next((k for k, token in enumerate(tokens) if token in ('"IntervalTier"', '"TextTier"')), None)
    if at is None:
        raise ValueError("it has no tier")
    while at < len(tokens):
        form, name, size = tokens[at], tokens[at + 1], int(tokens[at + 4])
        width = 3 if form == '"IntervalTier"' else 2
        rows = tokens[at + 5 : at + 5 + width * size]
        if form not in ('"IntervalTier"', '"TextTier"') or len(rows) < width * size:
            raise ValueError("it is cut off")
        if width == 3:
            intervals = zip(rows[::3], rows[1::3], rows[2::3], strict=True)
            tiers[name.strip('"')] = [(float(a), float(b), label[1:-1].strip()) for a, b, label in intervals]
        at += 5 + width * size
    named = [name for name in tiers if name.lower().split(" - ")[-1] in PHONE_TIERS]
    if not tiers:
        raise ValueError("it has no tier of intervals")
    return tiers[named[0] if named else list(tiers)[-1]]


def _check(segments: list[Segment]) -> list[Segment]:
    """Return segments in order, with one name of silence. Raises ValueError for times that can't be."""
    if not segments:
        raise ValueError("it has no phones of this recording")
    for start, end, _ in segments:
        if not 0 <= start <= end < 1e6:
            raise ValueError(f"a phone lasts from {start:g} to {end:g} s")
    return [(start, end, SILENCE if phone.lower() in SILENCES else phone) for start, end, phone in sorted(segments)]


def phones_of_frames(segments: list[Segment], n_frames: int, frames_per_s: float, skipped_s: float) -> list[str]:
    """Return the phone at the centre of each frame, "" where there is none; `skipped_s` precede the first frame."""
    starts, ends = np.array([segment[:2] for segment in segments]).T
    centre_s = np.arange(n_frames) / frames_per_s + skipped_s
    index = (np.searchsorted(starts, centre_s, "right") - 1).clip(min=0)
    inside = (centre_s >= starts[index]) & (centre_s < ends[index])
    return [segments[k][2] if ok else "" for k, ok in zip(index, inside, strict=True)]
