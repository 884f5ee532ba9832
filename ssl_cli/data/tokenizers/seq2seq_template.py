"""Template of sequence to sequence: the special tokens around a source, around a target, and before the decoder's
input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ssl_cli.errors import InputError

Style = Literal["bart", "t5"]


@dataclass(frozen=True)
class Seq2SeqTemplate:
    """Special tokens of an encoder-decoder.

    The encoder reads `source_prefix` TEXT `source_suffix`. The decoder writes `target_prefix` TEXT `end`, and reads the
    same moved right by one token, after `start`.
    """

    source_prefix: tuple[int, ...]
    source_suffix: tuple[int, ...]
    start: int
    target_prefix: tuple[int, ...]
    end: int

    @classmethod
    def for_style(cls, style: Style, specials: Mapping[str, int]) -> "Seq2SeqTemplate":
        """Return the template of BART (arXiv 1910.13461) or T5 (1910.10683), given the special tokens by role.

        bart: [CLS] TEXT [SEP] on both sides, and [SEP] before the decoder's input. t5: TEXT [SEP] on both sides, and
        [PAD] before the decoder's input. Raises InputError if the tokenizer lacks one of them.
        """
        end = specials.get("sep", specials.get("end")) if style == "t5" else specials.get("sep")
        first = specials.get("pad" if style == "t5" else "cls")
        missing = [name for name, token in (("pad" if style == "t5" else "cls", first), ("sep", end)) if token is None]
        if first is None or end is None:
            raise InputError(
                f"The tokenizer has no {' and no '.join(missing)} token, which model.style={style} puts around its "
                f"texts; it has {', '.join(specials) or 'no special tokens'}. Train one with tokenizer=unigram."
            )
        prefix = () if style == "t5" else (first,)
        return cls(prefix, (end,), first if style == "t5" else end, prefix, end)

    def source(self, ids: Sequence[int], max_length: int) -> list[int]:
        """Return what the encoder reads of a text, the text cut so that it has at most `max_length` tokens."""
        room = max_length - len(self.source_prefix) - len(self.source_suffix)
        return [*self.source_prefix, *ids[: max(0, room)], *self.source_suffix]

    def target(self, ids: Sequence[int], max_length: int) -> list[int]:
        """Return what the decoder writes of a text, the text cut so that it has at most `max_length` tokens."""
        return [*self.target_prefix, *ids[: max(0, max_length - len(self.target_prefix) - 1)], self.end]

    def decoder_inputs(self, target: Sequence[int]) -> list[int]:
        """Return what the decoder reads while it writes a target: `start`, and all but the target's last token."""
        return [self.start, *target[:-1]]
