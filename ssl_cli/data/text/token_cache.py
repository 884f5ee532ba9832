"""Token cache: documents -> a folder of memory-mapped tokens, built once for each text and tokenizer."""

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
from ssl_cli.data.text.token_writer import TokenWriter, token_dtype, write_documents
from ssl_cli.data.text.tokens import TextData, TokenStream
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import TokenizerTrainer
from ssl_cli.errors import InputError
from ssl_cli.files import file_lock

VERSION = 3  # of the folder's content; a new one invalidates the cache
SPLITS = ("train", "val")
TOKENIZER, METADATA = "tokenizer.json", "about.json"
METADATA_TYPES = {"splits": dict[str, dict[str, int]], "digest": str, "warnings": list[str]}
PARTIAL, LOCK = ".part-", ".lock-"  # prefixes of an unfinished folder, and of the lock that its process holds
MAX_CHARS_PER_TOKEN = 16  # on average; no text has longer tokens


class CachedSource(Protocol):
    """What the cache needs of a text source; see `sources.py`."""

    issues: ReadIssues
    max_tokens: int | None
    isolate_documents: bool
    phrases: str | None

    @property
    def val(self) -> float | None:
        """Return the share that is held out; None: held-out text comes first and is kept whole."""

    def splits(self) -> Iterator[tuple[str, str]]:
        """Yield each document with its split."""

    def cache_key(self) -> list[object]:
        """Return JSON-able values that change with the documents or their splits."""


def load_or_build(source: CachedSource, trainer: TokenizerTrainer, cache: Path) -> TextData:
    """Return the tokens of a source, from the cache if they are there; otherwise build and store them there.

    Raises InputError if there is no text or the cache can't be written; then nothing is left there.
    """
    folder = cache / folder_name(source, trainer)
    try:
        if not folder.is_dir():
            cache.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(cache)
            with file_lock(cache / f"{LOCK}{folder.name}"):  # of processes that need it at the same time, one builds it
                if not folder.is_dir():
                    _write_folder(source, trainer, folder)
        data = _open(folder)
    except ChildProcessError:
        raise
    except OSError as error:
        raise InputError(
            f"The tokens can't be stored in {cache}: {error.strerror or error}. "
            "Set data.cache=PATH to use another folder, or data.max_tokens=N to take less text."
        ) from error
    data.isolate_documents = source.isolate_documents
    return data


def folder_name(source: CachedSource, trainer: TokenizerTrainer) -> str:
    """Return a hash that changes with the text, its splits and the tokenizer."""
    versions = [VERSION, tokenizers.__version__]
    return hashlib.sha256(json.dumps([versions, source.cache_key(), trainer.cache_key()]).encode()).hexdigest()[:32]


# --- write -----------------------------------------------------------------------------------------------------


def _write_folder(source: CachedSource, trainer: TokenizerTrainer, folder: Path) -> None:
    """Write the folder under another name and rename it when it is complete."""
    partial = folder.parent / f"{PARTIAL}{folder.name}-{uuid4().hex}"
    partial.mkdir()
    try:
        _build(source, trainer, partial)
        try:
            partial.replace(folder)
        except OSError:
            if not folder.is_dir():  # on a file system without locks, another process may have written the same
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _build(source: CachedSource, trainer: TokenizerTrainer, folder: Path) -> None:
    """Read the text twice: for the vocabulary, as far as it is needed, and for the tokens."""
    phrases = None if source.phrases is None else PhraseMatcher.read(Path(source.phrases).expanduser())
    tokenizer = trainer.train(_vocabulary_texts(source))
    if "end" not in tokenizer.specials:
        raise InputError("The tokenizer has no token to separate documents, such as [SEP], </s> or <|endoftext|>.")
    tokenizer.save(folder / TOKENIZER)
    writers = {
        split: TokenWriter(folder, split, tokenizer, phrases is not None, limit)
        for split, limit in split_limits(source.max_tokens, source.val).items()
    }
    try:
        write_documents(writers, source.splits(), tokenizer, phrases)
    finally:
        for writer in writers.values():
            writer.close()
    if not writers["train"].n_tokens:
        raise InputError("The training text is empty: name files that hold more text, or set a smaller data.val.")
    metadata = {
        "splits": {split: writer.sizes() for split, writer in writers.items()},
        "digest": _digest(tokenizer, writers),
        "warnings": source.issues.messages(),
    }
    (folder / METADATA).write_text(json.dumps(metadata), encoding="utf-8")


def split_limits(max_tokens: int | None, val: float | None) -> dict[str, int | None]:
    """Return the maximum number of tokens of each split: with a common one, the split that comes first would take all.

    If `val` is None, only the training text is limited.
    """
    if max_tokens is None or val is None:
        return {"train": max_tokens, "val": None}
    held_out = max(round(max_tokens * val), 1 if val else 0)
    return {"train": max(1, max_tokens - held_out), "val": held_out}


def _vocabulary_texts(source: CachedSource) -> Iterator[str]:
    """Yield the training text that the vocabulary is learned from, no more than `max_tokens` can need."""
    remaining = math.inf if source.max_tokens is None else source.max_tokens * MAX_CHARS_PER_TOKEN
    for split, text in source.splits():
        if split == "train":
            yield text
            remaining -= len(text)
            if remaining <= 0:
                return


def _remove_abandoned(cache: Path) -> None:
    """Remove the unfinished folders of killed processes: those whose lock is free."""
    for partial in cache.glob(f"{PARTIAL}*"):
        name = partial.name.removeprefix(PARTIAL).partition("-")[0]
        with file_lock(cache / f"{LOCK}{name}", wait=False) as is_abandoned:
            if is_abandoned:
                shutil.rmtree(partial, ignore_errors=True)


def _digest(tokenizer: Tokenizer, writers: dict[str, TokenWriter]) -> str:
    parts = [hashlib.sha256(tokenizer.to_json().encode()).hexdigest()]
    return hashlib.sha256(
        " ".join(parts + [writer.digest.hexdigest() for writer in writers.values()]).encode()
    ).hexdigest()


# --- read ------------------------------------------------------------------------------------------------------


def _open(folder: Path) -> TextData:
    metadata: dict[str, Any] = read_state(folder / METADATA)
    is_valid = set(metadata) == set(METADATA_TYPES) and all(
        fits(metadata[name], annotation) for name, annotation in METADATA_TYPES.items()
    )
    if not is_valid or set(metadata["splits"]) != set(SPLITS):
        raise _damage_error(folder)
    tokenizer = Tokenizer.load(folder / TOKENIZER)
    splits = {split: _map_split(folder, split, tokenizer, sizes) for split, sizes in metadata["splits"].items()}
    return TextData(
        tokenizer,
        {split: stream for split, stream in splits.items() if len(stream.ids)},
        metadata["digest"],
        metadata["warnings"],
    )


def _map_split(folder: Path, split: str, tokenizer: Tokenizer, sizes: dict[str, int]) -> TokenStream:
    n_tokens, dtype = sizes.get("tokens", -1), token_dtype(tokenizer.vocab_size)
    ids, starts = folder / f"{split}.bin", folder / f"{split}.starts.bin"
    if not ids.is_file() or ids.stat().st_size != n_tokens * dtype.itemsize:
        raise _damage_error(folder)
    if starts.exists() and starts.stat().st_size != -(-n_tokens // 8):
        raise _damage_error(folder)
    bits = _map_file(starts, np.dtype(np.uint8)) if starts.exists() else None
    return TokenStream(_map_file(ids, dtype), bits, sizes.get("bytes", 0), tokenizer.specials["end"])


def _map_file(path: Path, dtype: np.dtype) -> np.ndarray:
    # Copy-on-write: torch warns of an array that can't be written to.
    return np.memmap(path, dtype, "c") if path.stat().st_size else np.zeros(0, dtype)


def _damage_error(folder: Path) -> InputError:
    return InputError(f"{folder} is damaged: remove it, and it will be built again.")
