"""Gaps in a text, which an encoder-decoder fills: [MASK] for BART, which writes the whole text, sentinels for T5, which
writes only what is missing."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ssl_cli.data.tokenizers.tokenizer import SENTINEL, Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.models.generation.detokenize import Completion, Detokenizer
from ssl_cli.models.generation.packed_weights import Precision, Seq2SeqInferenceModel
from ssl_cli.models.generation.phrases import Gap, likeliest_phrases
from ssl_cli.models.generation.request import GenerationRequest
from ssl_cli.models.generation.sampling import Sampling
from ssl_cli.models.generation.seq2seq import generate_from_sources

MASK = "[MASK]"  # in a text with gaps, whatever the name of the tokenizer's mask token
MAX_QUOTED_CHARS = 60
MAX_PHRASE_TOKENS = 16
CONTEXT_AFTER = 4  # tokens after a gap that a whole text must go on with


@dataclass(frozen=True)
class MaskCandidate:
    """A token for a mask, or a phrase for a gap, and its probability."""

    token: str
    probability: float


class GapFiller:
    """An encoder-decoder and its tokenizer, which restore texts with gaps. `model` provides WritesText."""

    def __init__(self, model: Any, tokenizer: Tokenizer, precision: Precision = "auto"):
        self.tokenizer, self.template, self.context = tokenizer, model.template, model.network.context
        self.writes_spans = "spans" in model.corruption
        self._network, self._precision = model.network, precision
        self._mask = tokenizer.specials.get("mask")
        self._sentinels = {token: number for number, token in enumerate(tokenizer.sentinels)}

    # --- from a text to what the encoder reads ---

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text with gaps, without those around it. Raises InputError if it can't be read.

        For a model that writes spans, each [MASK] is the next sentinel.
        """
        ids = self.tokenizer.encode(self._with_sentinels(text) if self.writes_spans else self._with_masks(text))
        room = self.context - len(self.template.source_prefix) - len(self.template.source_suffix)
        if len(ids) > room:
            raise InputError(f"{quoted(text)} has {len(ids):,} tokens, but the model reads at most {room:,}: shorten it.")
        return ids

    def _with_masks(self, text: str) -> str:
        return text if self._mask is None else text.replace(MASK, self.tokenizer.token(self._mask))

    def _with_sentinels(self, text: str) -> str:
        names = {MASK, *([] if self._mask is None else [self.tokenizer.token(self._mask)])}
        parts = [text]
        for name in names:
            parts = [piece for part in parts for piece in part.split(name)]
        n_gaps, n_sentinels = len(parts) - 1, len(self._sentinels)
        if n_gaps > n_sentinels:
            raise InputError(
                f"{quoted(text)} has {n_gaps:,} gaps, but the run's tokenizer has {n_sentinels:,} sentinels: split it."
            )
        if n_gaps and any(name in text for name in map(self.tokenizer.token, self._sentinels)):
            raise InputError(
                f"{quoted(text)} has both {MASK} and {SENTINEL.format(0)}: write all of its gaps in the same way."
            )
        return parts[0] + "".join(f"{SENTINEL.format(k)}{part}" for k, part in enumerate(parts[1:]))

    def is_gap(self, token: int) -> bool:
        """Return whether a token stands for a gap."""
        return token in self._sentinels if self.writes_spans else token == self._mask

    # --- whole texts ---

    def generate(
        self,
        prompts: Sequence[str],
        request: GenerationRequest,
        sampling: Sampling,
        stop: Sequence[str] = (),
        on_text: Callable[[str], None] | None = None,
    ) -> list[list[Completion]]:
        """Return `request.n` restored texts of each prompt.

        A model that writes spans continues a text without a gap. Its `target` is what it wrote, and its text the prompt
        with the gaps filled; it is not passed to `on_text`.
        """
        encoded = [self.prompt_tokens(prompt) for prompt in prompts]
        sources = [self.template.source(ids, self.context) for ids in encoded]
        written = {token for token in self._sentinels if self.writes_spans}
        banned = [token for token in self.tokenizer.special_ids if token not in {*written, self.template.end}]
        end = Detokenizer(self.tokenizer.decode, None, tuple(stop), None if self.writes_spans else on_text)
        completions = generate_from_sources(
            self._network, sources, self.template, request, sampling, self._precision, end, banned
        )
        if self.writes_spans:
            for ids, of_prompt in zip(encoded, completions, strict=True):
                for completion in of_prompt:
                    completion.target = completion.text
                    completion.text = self.tokenizer.decode(self.fill_spans(ids, completion.tokens))
        return completions

    def prompt_tokens(self, prompt: str) -> list[int]:
        """Return the tokens of a text to restore. Raises InputError if it is empty."""
        ids = self.encode(prompt)
        if not ids:
            raise InputError(f"prompt is empty: give a text to restore, as in Birds can {MASK}.")
        if self.writes_spans and not any(map(self.is_gap, ids)):
            return self.encode(prompt + SENTINEL.format(0))
        return ids

    def fill_spans(self, ids: list[int], target: list[int]) -> list[int]:
        """Return tokens with each sentinel replaced by what follows it in a target. One not in the target remains."""
        spans: dict[int, list[int]] = {}
        span: list[int] = []  # what precedes the first sentinel belongs nowhere
        for token in target:
            if token in self._sentinels:
                span = []
                spans.setdefault(token, span)
            else:
                span.append(token)
        return [token for place in ids for token in spans.get(place, [place])]

    # --- candidates for each gap ---

    def fill(self, text: str, n: int) -> list[list[MaskCandidate]]:
        """Return the `n` likeliest phrases for each gap of a text, best first, by beam search.

        Gaps are filled from left to right: the best phrase of a gap is read before the next one is filled. Raises
        InputError if the text has no gap, if two are side by side, or if it is too long.
        """
        ids = self.encode(text)
        places = [place for place, token in enumerate(ids) if self.is_gap(token)]
        if not places:
            raise InputError(f"{quoted(text)} has no {MASK}: write it in place of words, as in Birds can {MASK}.")
        if any(place + 1 == following for place, following in zip(places, places[1:], strict=False)):
            raise InputError(f"{quoted(text)} has {MASK} twice in a row: one stands for any number of words.")
        source, model = self.template.source(ids, self.context), Seq2SeqInferenceModel(self._network, self._precision)
        before, candidates = [self.template.start, *self.template.target_prefix], []
        for number, place in enumerate(places):
            start = places[number - 1] + 1 if number else 0
            before += [ids[place]] if self.writes_spans else ids[start:place]
            following = ids[place + 1 : places[number + 1] if number + 1 < len(places) else None]
            phrases = likeliest_phrases(model, source, self._gap(before, following, number), n, MAX_PHRASE_TOKENS)
            candidates.append(self._candidates(before, phrases)[:n])
            before = [*before, *phrases[0][0]]
        return candidates

    def _gap(self, before: list[int], following: list[int], number: int) -> Gap:
        """Return the gap after tokens that the decoder has written; `following` is the text up to the next gap."""
        end = self.template.end
        banned = [token for token in self.tokenizer.special_ids if token != end]
        if self.writes_spans:  # any later sentinel, or the end
            later = [token for token, other in self._sentinels.items() if other > number]
            return Gap(before, [end, *later], [], banned, end)
        after = [*following, end][:CONTEXT_AFTER]
        return Gap(before, after[:1], after[1:], banned, end)

    def _candidates(self, before: list[int], phrases: list[tuple[list[int], float]]) -> list[MaskCandidate]:
        """Return phrases as texts with their probabilities, those of the same text added up, best first.

        A model that writes whole texts may change the words around the gap: its probabilities are shares among the
        phrases found.
        """
        total = 1.0 if self.writes_spans else sum(math.exp(log_p - phrases[0][1]) for _, log_p in phrases)
        offset = 0.0 if self.writes_spans else phrases[0][1]
        by_text: dict[str, float] = {}
        for tokens, log_p in phrases:
            text = self.tokenizer.decode(tokens).strip()
            by_text[text] = by_text.get(text, 0.0) + math.exp(log_p - offset) / total
        ranked = sorted(by_text.items(), key=lambda item: -item[1])
        return [MaskCandidate(text, probability) for text, probability in ranked]


def quoted(text: str) -> str:
    """Return a text as a message quotes it: shortened if it is long."""
    return repr(text if len(text) <= MAX_QUOTED_CHARS else f"{text[: MAX_QUOTED_CHARS - 3]}...")
