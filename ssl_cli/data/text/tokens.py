"""A source of text as tokens: what a run of pretraining needs of it."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ssl_cli.data.text.packing import PackedTokenDataset, ReadsText, TokenArrays, document_chunks, fixed_shuffle
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError

LOOKED_AT = 1 << 20  # tokens, to see how many are unknown
BLOCK = 1 << 24  # tokens that are searched for the ends of documents at once


@dataclass
class TokenStream:
    """Documents one after another, each followed by the token `end`: `ids` (N,), mapped from a file.

    `starts` (ceil(N / 8),) has a bit for each token that begins a unit, where units were looked for. `n_bytes` is the
    size of the text in UTF-8.
    """

    ids: np.ndarray
    starts: np.ndarray | None
    n_bytes: int
    end: int

    @cached_property
    def ends(self) -> np.ndarray:
        """(D,) int64: where each document ends; the token before is its `end`"""
        blocks = range(0, len(self.ids), BLOCK)
        found = [np.flatnonzero(self.ids[start : start + BLOCK] == self.end) + start + 1 for start in blocks]
        return np.concatenate([*found, np.zeros(0, np.int64)])

    def has(self, token: int) -> bool:
        blocks = range(0, len(self.ids), BLOCK)
        return any((self.ids[start : start + BLOCK] == token).any() for start in blocks)


@dataclass
class TextData:
    """What `ssl pretrain` needs of a source of text. `splits`: train, and val where text is held out."""

    tokenizer: Tokenizer
    splits: dict[str, TokenStream]
    fingerprint: str
    warnings: list[str] = field(default_factory=list)
    isolate_documents: bool = False

    @cached_property
    def facts(self) -> dict[str, Any]:
        """`bytes_per_token` is of the text that is watched, and None where its tokens don't give it back."""
        watched, unknown = self.splits.get("val", self.splits["train"]), self.tokenizer.specials.get("unk")
        is_whole = self.tokenizer.is_lossless and (unknown is None or not watched.has(unknown))
        return {
            "vocab_size": self.tokenizer.vocab_size,
            "specials": dict(self.tokenizer.specials),
            "bytes_per_token": watched.n_bytes / len(watched.ids) if is_whole else None,
        }

    @property
    def unknown(self) -> float:
        """Share of the first tokens that stand for what the tokenizer doesn't know"""
        first, unknown = self.splits["train"].ids[:LOOKED_AT], self.tokenizer.specials.get("unk")
        return 0.0 if unknown is None else float((first == unknown).mean())

    def rows(self, split: str, model: ReadsText, seed: int, batch_size: int) -> PackedTokenDataset:
        """The rows that a model reads. Raises InputError where there is less text than one row."""
        if split not in self.splits:
            raise InputError("No text is held out to watch: say data.val=0.05, or give more text.")
        stream, needed = self.splits[split], model.row_length + model.target_offset + model.split_at_documents
        if len(stream.ids) < needed:
            cure = " or a larger data.val" if split == "val" else ""
            raise InputError(
                f"The {split} text has {len(stream.ids):,} tokens, fewer than the {needed:,} of one row: give more "
                f"text, or say a smaller model.context{cure}."
            )
        if model.split_at_documents and self.isolate_documents:
            raise InputError(
                "model.sentence_task compares texts across documents, which data.isolate_documents=true keeps apart: "
                "set data.isolate_documents=false."
            )
        text = TokenArrays.of(stream.ids, stream.starts, self.tokenizer)
        runs = document_chunks(stream.ends, model.row_length) if model.split_at_documents else None
        if runs is not None and split == "val":
            runs = fixed_shuffle(*runs)
        shift_by = seed if split == "train" else None  # what is watched always stays the same
        return PackedTokenDataset(text, model, self.isolate_documents, runs, shift_by, batch_size)
