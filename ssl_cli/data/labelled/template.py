"""Special tokens around a text, or around and between two, as a model reads them: [CLS] FIRST [SEP] SECOND [SEP]."""

from dataclasses import dataclass

from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError


@dataclass(frozen=True)
class SequenceTemplate:
    """`prefix` FIRST `suffix`, or `prefix` FIRST `separator` SECOND `suffix`, of at most `max_length` tokens."""

    tokenizer: Tokenizer
    prefix: tuple[int, ...]
    separator: tuple[int, ...]
    suffix: tuple[int, ...]
    max_length: int

    @classmethod
    def for_tokenizer(cls, tokenizer: Tokenizer, causal: bool, max_length: int) -> "SequenceTemplate":
        """Return BERT's template, or RoBERTa's (two separators between texts), or that of a causal model.

        A causal model gets the end-of-text token after each text, so that the last token has seen all. Raises
        InputError if the tokenizer lacks a special token, or `max_length` leaves no room for text.
        """
        needed = ("end",) if causal else ("cls", "sep")
        if missing := [role for role in needed if role not in tokenizer.specials]:
            raise InputError(
                f"The tokenizer has no {' and no '.join(missing)} token, which must {'end' if causal else 'enclose'} a "
                "text."
            )
        if causal:
            end = tokenizer.specials["end"]
            template = cls(tokenizer, (), (end,), (end,), max_length)
        else:
            first, sep = tokenizer.specials["cls"], tokenizer.specials["sep"]
            doubled = tokenizer.token(first) == "<s>"
            template = cls(tokenizer, (first,), (sep, sep) if doubled else (sep,), (sep,), max_length)
        if template.max_text_tokens(pair=True) < 2:
            raise InputError(f"max_length={max_length} leaves no room for text: make it larger.")
        return template

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
