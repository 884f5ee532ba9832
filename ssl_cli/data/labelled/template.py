"""What stands around a text, or between two, as a model reads them: [CLS] FIRST [SEP] SECOND [SEP]."""

from dataclasses import dataclass

from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError


@dataclass(frozen=True)
class SequenceTemplate:
    """`before` FIRST `after`, or `before` FIRST `between` SECOND `after`, of `max_length` tokens at most."""

    tokenizer: Tokenizer
    prefix: tuple[int, ...]
    separator: tuple[int, ...]
    suffix: tuple[int, ...]
    max_length: int

    @classmethod
    def of(cls, tokenizer: Tokenizer, causal: bool, max_length: int) -> "SequenceTemplate":
        """As BERT has it, or RoBERTa (two separators between texts); a causal model gets the token that ends texts
        after each, and so the last token has seen all. Raises InputError where the tokenizer lacks such a token."""
        needed = ("end",) if causal else ("cls", "sep")
        if lacking := [role for role in needed if role not in tokenizer.specials]:
            raise InputError(
                f"The tokenizer has no {' and no '.join(lacking)} token, which {'ends' if causal else 'frames'} a text."
            )
        if causal:
            end = tokenizer.specials["end"]
            made = cls(tokenizer, (), (end,), (end,), max_length)
        else:
            first, sep = tokenizer.specials["cls"], tokenizer.specials["sep"]
            doubled = tokenizer.token(first) == "<s>"
            made = cls(tokenizer, (first,), (sep, sep) if doubled else (sep,), (sep,), max_length)
        if made.room(pair=True) < 2:
            raise InputError(f"max_length={max_length} leaves no room for text: give more.")
        return made

    def room(self, pair: bool) -> int:
        """Tokens of text that fit."""
        return self.max_length - len(self.prefix) - len(self.suffix) - (len(self.separator) if pair else 0)

    def encode(self, first: list[int], second: list[int] | None = None) -> tuple[list[int], int]:
        """The tokens of one text or two, framed, and where the second begins (the length, where there is none).

        What is too long is cut at its end, the longer text first, as transformers' longest_first does.
        """
        if second is None:
            ids = [*self.prefix, *first[: self.room(pair=False)], *self.suffix]
            return ids, len(ids)
        n_first, n_second = shares(len(first), len(second), self.room(pair=True))
        start = [*self.prefix, *first[:n_first], *self.separator]
        return [*start, *second[:n_second], *self.suffix], len(start)

    def truncates(self, first: list[int], second: list[int] | None = None) -> bool:
        """Whether `joined` cuts something off."""
        length = len(first) + (0 if second is None else len(second))
        return length > self.room(pair=second is not None)


def shares(n_first: int, n_second: int, room: int) -> tuple[int, int]:
    """How many tokens of two texts are kept in so much room: taken off the longer one, one by one."""
    over = max(0, n_first + n_second - room)
    uneven = min(over, abs(n_first - n_second))
    n_first, n_second = (n_first - uneven, n_second) if n_first > n_second else (n_first, n_second - uneven)
    rest = over - uneven  # of two texts as long as each other, the second is cut first
    return n_first - rest // 2, n_second - (rest + 1) // 2
