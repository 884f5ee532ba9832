"""Special tokens around a text, or around and between two, as a model reads them: [CLS] FIRST [SEP] SECOND [SEP]."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ssl_cli.data.tokenizers.seq2seq_template import Seq2SeqTemplate, Style
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError


@dataclass(frozen=True)
class SequenceTemplate:
    """`prefix` FIRST `suffix`, or `prefix` FIRST `separator` SECOND `suffix`, of at most `max_length` tokens.

    `causal`: a token sees only those before it.
    """

    tokenizer: Tokenizer
    prefix: tuple[int, ...]
    separator: tuple[int, ...]
    suffix: tuple[int, ...]
    max_length: int
    causal: bool = False

    @classmethod
    def for_network(
        cls, tokenizer: Tokenizer, network: Mapping[str, Any], style: Style | None, max_length: int
    ) -> "SequenceTemplate":
        """Return the template of a network with these options; `style` is t5 or bart if it is the encoder of one."""
        return cls.for_tokenizer(tokenizer, network["causal"], max_length, style)

    @classmethod
    def for_tokenizer(
        cls, tokenizer: Tokenizer, causal: bool, max_length: int, style: Style | None = None
    ) -> "SequenceTemplate":
        """Return BERT's template, or RoBERTa's (two separators between texts), that of a causal model or of T5.

        A causal model gets the end-of-text token after each text, so that the last token has seen all; T5's encoder
        its end token, as it knows no other. Raises InputError if the tokenizer lacks a special token, or `max_length`
        leaves no room for text.
        """
        if style == "t5":
            end = Seq2SeqTemplate.for_style(style, tokenizer.specials).end
            return cls(tokenizer, (), (end,), (end,), max_length, causal)._checked()
        needed = ("end",) if causal else ("cls", "sep")
        if missing := [role for role in needed if role not in tokenizer.specials]:
            raise InputError(
                f"The tokenizer has no {' and no '.join(missing)} token, which must {'end' if causal else 'enclose'} a "
                "text."
            )
        if causal:
            end = tokenizer.specials["end"]
            template = cls(tokenizer, (), (end,), (end,), max_length, causal)
        else:
            first, sep = tokenizer.specials["cls"], tokenizer.specials["sep"]
            doubled = tokenizer.token(first) == "<s>"
            template = cls(tokenizer, (first,), (sep, sep) if doubled else (sep,), (sep,), max_length)
        return template._checked()

    def _checked(self) -> "SequenceTemplate":
        if self.max_text_tokens(pair=True) < 2:
            raise InputError(f"max_length={self.max_length} leaves no room for text: make it larger.")
        return self

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a method must know of it to be built: which token of a text stands for it.

        That is [CLS], which is first, or the end token, which is last.
        """
        return {"summary": "first" if self.prefix else "last"}

    def max_text_tokens(self, pair: bool) -> int:
        """Return how many tokens of text fit."""
        return self.max_length - len(self.prefix) - len(self.suffix) - (len(self.separator) if pair else 0)

    def encode(self, first: list[int], second: list[int] | None = None) -> tuple[list[int], int]:
        """Return one text or two with special tokens, and where the second begins (the length, if there is none).

        Texts that are too long are cut at their ends, the longer one first, like transformers' longest_first.
        """
        if second is None:
            ids = [*self.prefix, *first[: self.max_text_tokens(pair=False)], *self.suffix]
            return ids, len(ids)
        n_first, n_second = truncated_lengths(len(first), len(second), self.max_text_tokens(pair=True))
        start = [*self.prefix, *first[:n_first], *self.separator]
        return [*start, *second[:n_second], *self.suffix], len(start)

    def truncates(self, first: list[int], second: list[int] | None = None) -> bool:
        """Return whether `encode` would cut something off."""
        length = len(first) + (0 if second is None else len(second))
        return length > self.max_text_tokens(pair=second is not None)


def truncated_lengths(n_first: int, n_second: int, max_tokens: int) -> tuple[int, int]:
    """Return how many tokens of two texts are kept: the longer one loses one token at a time until both fit."""
    n_excess = max(0, n_first + n_second - max_tokens)
    uneven = min(n_excess, abs(n_first - n_second))
    n_first, n_second = (n_first - uneven, n_second) if n_first > n_second else (n_first, n_second - uneven)
    rest = n_excess - uneven  # of two texts of equal length, the second is cut first
    return n_first - rest // 2, n_second - (rest + 1) // 2
