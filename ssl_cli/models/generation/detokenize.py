"""Incremental detokenization of one generated text: whole characters, stop strings and the end token."""

from collections.abc import Callable
from dataclasses import dataclass

INCOMPLETE = "\N{REPLACEMENT CHARACTER}"  # what a character decodes to while some of its bytes are missing
CONTEXT_TOKENS = 8  # earlier tokens to decode together with a new one: its text may depend on them (a space, say)


@dataclass(frozen=True)
class Detokenizer:
    """How tokens become text: `decode`, the token `end` that ends a text, and the strings `stop` that end it.

    A stop string is not part of the text. `on_text` is called with each new piece of text that is final: a piece that
    may be the beginning of a stop string waits.
    """

    decode: Callable[[list[int]], str]
    end: int | None = None
    stop: tuple[str, ...] = ()
    on_text: Callable[[str], None] | None = None


class Completion:
    """The continuation of a prompt's tokens.

    `finish_reason` is "end", "stop" or "length", and empty while the text is unfinished. `ids` are the tokens of the
    prompt and of the completion. Without a detokenizer there are only tokens, and `text` is empty. Of a beam search,
    `log_probability` is the text's, in nats. `target` is what a model wrote, if its `text` was made of that.
    """

    def __init__(self, prompt: list[int], detokenizer: Detokenizer | None = None):
        self.ids, self.n_prompt, self.text, self.finish_reason = list(prompt), len(prompt), "", ""
        self.log_probability: float | None = None
        self.target = ""
        self._detokenizer, self._end = detokenizer, detokenizer.end if detokenizer else None
        self._streams = detokenizer is not None and (detokenizer.stop != () or detokenizer.on_text is not None)
        # Tokens from `_context_start` to `_n_decoded` are decoded again to find the next piece of text.
        self._context_start, self._n_decoded = max(0, len(prompt) - CONTEXT_TOKENS), len(prompt)
        self._n_sent_chars = 0

    @property
    def tokens(self) -> list[int]:
        """Generated tokens, without the prompt's."""
        return self.ids[self.n_prompt :]

    def add(self, token: int) -> None:
        """Append a token, unless the text is finished."""
        if self.finish_reason:
            return
        if token == self._end:
            self.finish("end")
            return
        self.ids.append(token)
        if self._streams:
            self._decode(is_last=False)
            self._send()

    def finish(self, reason: str = "length") -> None:
        """Finish the text, unless it is finished already."""
        if self.finish_reason:
            return
        self._decode(is_last=True)
        self.finish_reason = self.finish_reason or reason
        self._send()

    def _decode(self, is_last: bool) -> None:
        """Decode the new tokens, unless they end within a character."""
        if self._detokenizer is None or self._n_decoded == len(self.ids):
            return
        before = self._detokenizer.decode(self.ids[self._context_start : self._n_decoded])
        now = self._detokenizer.decode(self.ids[self._context_start :])
        if now.endswith(INCOMPLETE) and not is_last:
            return
        n_old_chars, self.text = len(self.text), self.text + now[len(before) :]
        self._context_start = max(self._context_start, len(self.ids) - CONTEXT_TOKENS)
        self._n_decoded = len(self.ids)
        self._cut_at_stop(n_old_chars)

    def _cut_at_stop(self, n_old_chars: int) -> None:
        """Finish the text at the first stop string, which may begin within the `n_old_chars` characters before."""
        stops = self._detokenizer.stop if self._detokenizer else ()
        places = [place for stop in stops if (place := self.text.find(stop, max(0, n_old_chars - len(stop) + 1))) >= 0]
        if places:
            self.text, self.finish_reason = self.text[: min(places)], "stop"

    def _send(self) -> None:
        """Call `on_text` with the new text that can no longer become part of a stop string."""
        if self._detokenizer is None or self._detokenizer.on_text is None:
            return
        n_held = 0 if self.finish_reason else max((len(stop) - 1 for stop in self._detokenizer.stop), default=0)
        if piece := self.text[self._n_sent_chars : max(self._n_sent_chars, len(self.text) - n_held)]:
            self._detokenizer.on_text(piece)
            self._n_sent_chars += len(piece)
