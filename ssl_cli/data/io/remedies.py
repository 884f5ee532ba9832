"""Which data reads what: the sentence for a user who gives sounds to data=text, or pictures to data=speech."""

from collections.abc import Iterable

SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
TEXT_SUFFIXES = (".txt", ".md", ".rst")
SOUNDS, PICTURES = " These are sounds: use data=speech.", " These are pictures: use data=images."
TEXTS = " These are texts: use data=text."


def remedy_of_kind(kind: str) -> str:
    """Return what reads files of a kind, such as "a WAV sound" (see `content`); "" if nothing does."""
    if kind.endswith("sound"):
        return " For sounds use data=speech."
    return " For pictures use data=images." if kind.endswith("picture") else ""


def remedy_of_names(names: Iterable[str]) -> str:
    """Return what reads files with such names, by what most of them are; "" if nothing does."""
    kinds = {SOUNDS: SOUND_SUFFIXES, PICTURES: PICTURE_SUFFIXES, TEXTS: TEXT_SUFFIXES}
    counts = dict.fromkeys(kinds, 0)
    for name in names:
        for remedy, suffixes in kinds.items():
            counts[remedy] += name.lower().endswith(suffixes)
    best = max(counts, key=lambda remedy: counts[remedy])
    return best if counts[best] else ""
