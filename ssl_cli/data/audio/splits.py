"""Splits of recordings: as published; otherwise a share of each speaker and word, at random."""

from collections.abc import Collection

import numpy as np

from ssl_cli.config.choices import did_you_mean
from ssl_cli.errors import InputError

SPLITS = ("train", "val", "test", "unheard")


def draw_splits(
    speaker: list[str], word: list[str], published: list[str], val: float, test: float, seed: int
) -> np.ndarray:
    """Return the split of each recording, (N,): the published one, or for "" one that is drawn.

    A test or validation split is drawn only if none is published. Who has no recording in training is unheard: no
    model that knows its speakers can say who that is.
    """
    split = np.array(published, dtype="U7")
    has_test, has_val = (split == "test").any(), (split == "val").any()
    split[split == ""] = "train"
    voice, label = (np.unique(names, return_inverse=True)[1] for names in (speaker, word))  # (N,) each
    split[~np.isin(voice, voice[split == "train"])] = "unheard"
    rng = np.random.default_rng([seed, 1])
    for name, share, is_published in (("test", test, has_test), ("val", val, has_val)):
        if not is_published:
            split[_share(voice, label, split == "train", share, rng)] = name
    return split


def _share(
    voice: np.ndarray, word: np.ndarray, among: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Return rows in a mask (N,): a share of each speaker and word as nearly as can be, and never all of a speaker."""
    rows = rng.permutation(np.flatnonzero(among))
    rows = rows[np.lexsort([word[rows], voice[rows]])]
    position = np.arange(len(rows)) * share  # every 1 / share-th of the rows in this order
    chosen = np.floor(position + share + 1e-9) > np.floor(position + 1e-9)
    n_voices = int(voice.max(initial=0)) + 1
    rest = np.bincount(voice[rows][~chosen], minlength=n_voices)
    return rows[chosen & (rest[voice[rows]] > 0)]


def check_unheard(unheard: list[str], speakers: set[str]) -> None:
    """Raise InputError if data.unheard_speakers names someone unknown, or everyone."""
    for name in unheard:
        if name not in speakers:
            known = ", ".join(in_order(speakers)[:50])
            hint = did_you_mean(name, speakers)
            raise InputError(f"data.unheard_speakers: {name} is not a speaker.{hint} The speakers are {known}.")
    if speakers <= set(unheard):
        raise InputError("data.unheard_speakers names every speaker: leave at least one for training.")


def in_order(names: Collection[str]) -> list[str]:
    """Return names sorted: numbers in numeric order, then other names."""
    return sorted(names, key=lambda name: (not name.isdecimal(), len(name) * name.isdecimal(), name))
