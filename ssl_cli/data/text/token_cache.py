"""Documents -> a folder of tokens that is mapped, not read: made once for each text and tokenizer."""

import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import numpy as np
import tokenizers

from ssl_cli.config.typecheck import fits
from ssl_cli.data.io.json_state import read_state
from ssl_cli.data.io.text import ReadIssues
from ssl_cli.data.text.phrases import PhraseMatcher
from ssl_cli.data.text.token_writer import TokenWriter, fill, token_type
from ssl_cli.data.text.tokens import TextData, TokenStream
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import TokenizerTrainer
from ssl_cli.errors import InputError
from ssl_cli.files import file_lock

VERSION = 3  # of what is made of a text
SPLITS = ("train", "val")
TOKENIZER, ABOUT = "tokenizer.json", "about.json"
STATE = {"splits": dict[str, dict[str, int]], "digest": str, "warnings": list[str]}
PARTIAL, LOCK = ".part-", ".lock-"  # a folder in the making, and what says that it is being made
LONG = 16  # characters of a token; no text has tokens of so many on average


class CachedSource(Protocol):
    """What is asked of a source of text; see texts.py."""

    faults: ReadIssues
    max_tokens: int | None
    isolate_documents: bool
    phrases: str | None

    @property
    def val(self) -> float | None:
        """None: what is held out comes first, and is kept whole."""

    def splits(self) -> Iterator[tuple[str, str]]: ...

    def stamp(self) -> list[object]: ...


def build(source: CachedSource, maker: TokenizerTrainer, cache: Path) -> TextData:
    """The tokens of a source, from the cache or made and kept there.

    Raises InputError where there is no text, or the cache can't be written: then nothing is left there.
    """
    place = cache / key(source, maker)
    try:
        if not place.is_dir():
            cache.mkdir(parents=True, exist_ok=True)
            _sweep(cache)
            with file_lock(cache / f"{LOCK}{place.name}"):  # of the processes that want it at once, one makes it
                if not place.is_dir():
                    _write(source, maker, place)
        data = _opened(place)
    except ChildProcessError:
        raise
    except OSError as error:
        raise InputError(
            f"The tokens are to be kept in {cache}, which fails: {error.strerror or error}. "
            "Say data.cache=PATH for another folder, or data.max_tokens=N to take less text."
        ) from error
    data.isolate_documents = source.isolate_documents
    return data


def key(source: CachedSource, maker: TokenizerTrainer) -> str:
    """Changes with the text, with what parts it, and with the tokenizer."""
    made_by = [VERSION, tokenizers.__version__]
    return hashlib.sha256(json.dumps([made_by, source.stamp(), maker.description()]).encode()).hexdigest()[:32]


# --- making it -------------------------------------------------------------------------------------------------


def _write(source: CachedSource, maker: TokenizerTrainer, place: Path) -> None:
    """A folder that gets its name when it is whole."""
    partial = place.parent / f"{PARTIAL}{place.name}-{uuid4().hex}"
    partial.mkdir()
    try:
        _make(source, maker, partial)
        try:
            partial.replace(place)
        except OSError:
            if not place.is_dir():  # where there are no locks: another process was faster, and wrote the same
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _make(source: CachedSource, maker: TokenizerTrainer, folder: Path) -> None:
    """The text is read twice: for the vocabulary, as far as that needs it, and for the tokens."""
    units = None if source.phrases is None else PhraseMatcher.read(Path(source.phrases).expanduser())
    tokenizer = maker.train(_teaching(source))
    if "end" not in tokenizer.specials:
        raise InputError("The tokenizer has no token to part documents by, such as [SEP], </s> or <|endoftext|>.")
    tokenizer.save(folder / TOKENIZER)
    writers = {
        split: TokenWriter(folder, split, tokenizer, units is not None, limit)
        for split, limit in limits(source.max_tokens, source.val).items()
    }
    try:
        fill(writers, source.splits(), tokenizer, units)
    finally:
        for writer in writers.values():
            writer.close()
    if not writers["train"].n_tokens:
        raise InputError("The training text is empty: name files that hold more text, or say a smaller data.val.")
    about = {
        "splits": {split: writer.sizes() for split, writer in writers.items()},
        "digest": _digest(tokenizer, writers),
        "warnings": source.faults.sentences(),
    }
    (folder / ABOUT).write_text(json.dumps(about), encoding="utf-8")


def limits(max_tokens: int | None, val: float | None) -> dict[str, int | None]:
    """The tokens that each split may have: of one limit for both, whichever comes first would take all."""
    if max_tokens is None or val is None:
        return {"train": max_tokens, "val": None}
    held_out = max(round(max_tokens * val), 1 if val else 0)
    return {"train": max(1, max_tokens - held_out), "val": held_out}


def _teaching(source: CachedSource) -> Iterator[str]:
    """The text that teaches the vocabulary: that of training, no more than `max_tokens` can need."""
    left = math.inf if source.max_tokens is None else source.max_tokens * LONG
    for split, text in source.splits():
        if split == "train":
            yield text
            left -= len(text)
            if left <= 0:
                return


def _sweep(cache: Path) -> None:
    """Remove what killed processes left: nobody holds its lock."""
    for left in cache.glob(f"{PARTIAL}*"):
        name = left.name.removeprefix(PARTIAL).partition("-")[0]
        with file_lock(cache / f"{LOCK}{name}", wait=False) as is_abandoned:
            if is_abandoned:
                shutil.rmtree(left, ignore_errors=True)


def _digest(tokenizer: Tokenizer, writers: dict[str, TokenWriter]) -> str:
    parts = [hashlib.sha256(tokenizer.to_json().encode()).hexdigest()]
    return hashlib.sha256(" ".join(parts + [one.digest.hexdigest() for one in writers.values()]).encode()).hexdigest()


# --- opening it ------------------------------------------------------------------------------------------------


def _opened(place: Path) -> TextData:
    about: dict[str, Any] = read_state(place / ABOUT)
    sound = set(about) == set(STATE) and all(fits(about[name], wanted) for name, wanted in STATE.items())
    if not sound or set(about["splits"]) != set(SPLITS):
        raise _damaged(place)
    tokenizer = Tokenizer.load(place / TOKENIZER)
    splits = {split: _mapped(place, split, tokenizer, sizes) for split, sizes in about["splits"].items()}
    return TextData(
        tokenizer,
        {split: stream for split, stream in splits.items() if len(stream.ids)},
        about["digest"],
        about["warnings"],
    )


def _mapped(place: Path, split: str, tokenizer: Tokenizer, sizes: dict[str, int]) -> TokenStream:
    n_tokens, kind = sizes.get("tokens", -1), token_type(tokenizer.vocab_size)
    ids, starts = place / f"{split}.bin", place / f"{split}.starts.bin"
    if not ids.is_file() or ids.stat().st_size != n_tokens * kind.itemsize:
        raise _damaged(place)
    if starts.exists() and starts.stat().st_size != -(-n_tokens // 8):
        raise _damaged(place)
    bits = _memory(starts, np.dtype(np.uint8)) if starts.exists() else None
    return TokenStream(_memory(ids, kind), bits, sizes.get("bytes", 0), tokenizer.specials["end"])


def _memory(path: Path, kind: np.dtype) -> np.ndarray:
    # Copied on write: torch warns of an array that it couldn't write to.
    return np.memmap(path, kind, "c") if path.stat().st_size else np.zeros(0, kind)


def _damaged(place: Path) -> InputError:
    return InputError(f"{place} is damaged: remove it, and it is made anew.")
