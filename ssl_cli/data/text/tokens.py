"""Tokenized text: the token streams of a source, and what a pretraining run needs of them."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ssl_cli.data.text.packing import PackedTokenDataset, ReadsText, TokenArrays, document_chunks, fixed_shuffle
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError

UNKNOWN_SAMPLE_TOKENS = 1 << 20  # tokens from which the share of unknown ones is estimated
BLOCK_TOKENS = 1 << 24  # tokens that are searched at once


@dataclass
class TokenStream:
    """Documents in sequence, each followed by the token `end`: `ids` (N,), mapped from a file.

    `word_start_bits` (ceil(N / 8),) has a bit for each token that begins a word or phrase, if phrases were matched.
    `n_bytes` is the size of the text in UTF-8.
    """

    ids: np.ndarray
    word_start_bits: np.ndarray | None
    n_bytes: int
    end: int

    @cached_property
    def document_ends(self) -> np.ndarray:
        """Return the position after the `end` of each document, (D,) int64."""
        blocks = range(0, len(self.ids), BLOCK_TOKENS)
        ends = [np.flatnonzero(self.ids[start : start + BLOCK_TOKENS] == self.end) + start + 1 for start in blocks]
        return np.concatenate([*ends, np.zeros(0, np.int64)])

    def contains(self, token: int) -> bool:
        """Return whether a token occurs."""
        blocks = range(0, len(self.ids), BLOCK_TOKENS)
        return any((self.ids[start : start + BLOCK_TOKENS] == token).any() for start in blocks)


@dataclass
class TextData:
    """Data of `ssl pretrain`. `splits`: train, and val if text is held out."""

    tokenizer: Tokenizer
    splits: dict[str, TokenStream]
    fingerprint: str
    warnings: list[str] = field(default_factory=list)
    isolate_documents: bool = False

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Return the facts for the config. `bytes_per_token`, of validation text, is None if tokens lose some of it."""
        stream, unknown = self.splits.get("val", self.splits["train"]), self.tokenizer.specials.get("unk")
        is_lossless = self.tokenizer.is_lossless and (unknown is None or not stream.contains(unknown))
        return {
            "vocab_size": self.tokenizer.vocab_size,
            "specials": dict(self.tokenizer.specials),
            "sentinels": list(self.tokenizer.sentinels),
            "bytes_per_token": stream.n_bytes / len(stream.ids) if is_lossless else None,
        }

    @property
    def has_sentence_ends(self) -> bool:
        """Return whether a token of the training text ends a sentence."""
        ids, ends = self.splits["train"].ids, self.tokenizer.sentence_ends
        return any(ends[ids[k : k + BLOCK_TOKENS]].any() for k in range(0, len(ids), BLOCK_TOKENS))

    @property
    def unknown_share(self) -> float:
        """Return the share of unknown tokens among the first ones of the training text."""
        first, unknown = self.splits["train"].ids[:UNKNOWN_SAMPLE_TOKENS], self.tokenizer.specials.get("unk")
        return 0.0 if unknown is None else float((first == unknown).mean())

    def rows(self, split: str, model: ReadsText, seed: int, batch_size: int) -> PackedTokenDataset:
        """Return the rows that a model reads. Raises InputError if there is less text than one row."""
        if split not in self.splits:
            raise InputError("No text is held out for validation: set data.val=0.05, or provide more text.")
        stream, needed = self.splits[split], model.row_length + model.target_offset + model.split_at_documents
        if len(stream.ids) < needed:
            remedy = " or a larger data.val" if split == "val" else ""
            raise InputError(
                f"The {split} text has {len(stream.ids):,} tokens, fewer than the {needed:,} of one row: provide more "
                f"text, or set a smaller model.network.context{remedy}."
            )
        if model.split_at_documents and self.isolate_documents:
            raise InputError(
                "model.sentence_task compares texts across documents, which data.isolate_documents=true keeps apart: "
                "set data.isolate_documents=false."
            )
        text = TokenArrays.from_numpy(stream.ids, stream.word_start_bits, self.tokenizer)
        chunks = document_chunks(stream.document_ends, model.row_length) if model.split_at_documents else None
        if chunks is not None and split == "val":
            chunks = fixed_shuffle(*chunks)
        shift_seed = seed if split == "train" else None  # validation rows are the same in every epoch
        return PackedTokenDataset(text, model, self.isolate_documents, chunks, shift_seed, batch_size)
