"""One text as it is written: tokens become whole characters, and it ends where it should."""

from collections.abc import Callable
from dataclasses import dataclass

CUT = "\N{REPLACEMENT CHARACTER}"  # what a character decodes to of which not all bytes are there yet
BEFORE = 8  # tokens: how a token is written depends on those before it, by a space, say


@dataclass(frozen=True)
class Detokenizer:
    """How tokens become text: `decode`, the token `end` that ends a text, and the texts `stop` that do, left out.

    `hear` is told each piece of a text that is sure to stay: what may be the start of a stop string waits.
    """

    decode: Callable[[list[int]], str]
    end: int | None = None
    stop: tuple[str, ...] = ()
    on_text: Callable[[str], None] | None = None


class Completion:
    """The text that goes on from a prompt's tokens. `ended` says why it has: end, stop or length; empty until then.

    Without a spelling there are tokens alone, `ids`, the prompt's first.
    """

    def __init__(self, prompt: list[int], spelling: Detokenizer | None = None):
        self.ids, self.n_prompt, self.text, self.ended = list(prompt), len(prompt), "", ""
        self._spelling, self._end = spelling, spelling.end if spelling else None
        self._at_once = spelling is not None and (spelling.stop != () or spelling.on_text is not None)
        self._from, self._read = max(0, len(prompt) - BEFORE), len(prompt)  # tokens decoded to find the next piece
        self._told = 0  # characters

    @property
    def tokens(self) -> list[int]:
        """What was written"""
        return self.ids[self.n_prompt :]

    def add(self, token: int) -> None:
        """One more token; none after it has ended."""
        if self.ended:
            return
        if token == self._end:
            self.finish("end")
            return
        self.ids.append(token)
        if self._at_once:
            self._decode(is_last=False)
            self._tell()

    def finish(self, why: str = "length") -> None:
        """Nothing more comes."""
        if self.ended:
            return
        self._decode(is_last=True)
        self.ended = self.ended or why
        self._tell()

    def _decode(self, is_last: bool) -> None:
        """Text of the tokens that have none yet, unless they end within a character."""
        if self._spelling is None or self._read == len(self.ids):
            return
        before = self._spelling.decode(self.ids[self._from : self._read])
        now = self._spelling.decode(self.ids[self._from :])
        if now.endswith(CUT) and not is_last:
            return
        known, self.text = len(self.text), self.text + now[len(before) :]
        self._from, self._read = max(self._from, len(self.ids) - BEFORE), len(self.ids)
        self._look_for_stop(known)

    def _look_for_stop(self, known: int) -> None:
        """The first stop string ends it, also one that began in the `known` characters before."""
        stops = self._spelling.stop if self._spelling else ()
        found = [place for stop in stops if (place := self.text.find(stop, max(0, known - len(stop) + 1))) >= 0]
        if found:
            self.text, self.ended = self.text[: min(found)], "stop"

    def _tell(self) -> None:
        if self._spelling is None or self._spelling.on_text is None:
            return
        waits = 0 if self.ended else max((len(stop) - 1 for stop in self._spelling.stop), default=0)
        if piece := self.text[self._told : max(self._told, len(self.text) - waits)]:
            self._spelling.on_text(piece)
            self._told += len(piece)
