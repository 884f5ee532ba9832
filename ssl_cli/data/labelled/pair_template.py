"""How a model reads a source and writes a target: the tokenizer, the special tokens around both, and their lengths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssl_cli.data.tokenizers.seq2seq_template import Seq2SeqTemplate, Style
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError


@dataclass(frozen=True)
class PairTemplate:
    """The special tokens of an encoder-decoder; sources of at most `max_source` tokens, targets of `max_target`.

    A row of several texts has at most `context` tokens, those that the network can read at once.
    """

    tokenizer: Tokenizer
    style: Style
    special: Seq2SeqTemplate
    max_source: int
    max_target: int
    context: int

    @classmethod
    def for_network(
        cls, tokenizer: Tokenizer, style: Style, max_source: int, max_target: int, context: int
    ) -> "PairTemplate":
        """Return the template of BART or T5. Raises InputError if a special token is missing, or no text fits."""
        special = Seq2SeqTemplate.for_style(style, tokenizer.specials)
        n_source, n_target = (len(side([], 0)) for side in (special.source, special.target))
        lengths = (("max_length", max_source, n_source), ("task.max_target", max_target, n_target))
        for option, length, needed in lengths:
            if length <= needed:
                raise InputError(f"{option}={length} leaves no room for text beside the special tokens.")
        return cls(tokenizer, style, special, max_source, max_target, context)

    def n_cut_sources(self, sources: Sequence[Sequence[int]]) -> int:
        """Return how many sources don't fit."""
        room = self.max_source - len(self.special.source([], 0))
        return sum(len(ids) > room for ids in sources)

    def n_cut_targets(self, targets: Sequence[Sequence[int] | None]) -> int:
        """Return how many targets don't fit; None is an unknown one."""
        room = self.max_target - len(self.special.target([], 0))
        return sum(ids is not None and len(ids) > room for ids in targets)

    @property
    def row_tokens(self) -> int:
        """The most tokens of a row."""
        return self.context

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a method must know of it to be built: the style, and the special tokens by role."""
        return {"style": self.style, "specials": dict(self.tokenizer.specials)}
