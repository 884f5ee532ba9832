"""Texts with gaps, which an encoder-decoder fills: what all of them share, and those that write the whole text.

What one writes depends on how its run corrupted texts: BART writes the whole text, T5 what each sentinel stands for,
and MASS the masked fragment (`gap_kinds`). In a text of the user, [MASK] is a gap for each of them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

from ssl_cli.data.tokenizers.seq2seq_template import Seq2SeqTemplate
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.models.generation.detokenize import Completion, Detokenizer
from ssl_cli.models.generation.packed_weights import Precision, Seq2SeqInferenceModel
from ssl_cli.models.generation.phrases import Gap, Phrase, likeliest_phrases
from ssl_cli.models.generation.request import GenerationRequest
from ssl_cli.models.generation.sampling import Sampling
from ssl_cli.models.generation.seq2seq import generate_from_sources

MASK = "[MASK]"  # in a text with gaps, whatever the name of the tokenizer's mask token
MAX_QUOTED_CHARS = 60
MAX_PHRASE_TOKENS = 16
TOKENS_AFTER = 4  # that a whole text must go on with after a phrase

Run = tuple[int, int]  # first and last + 1 of consecutive tokens that stand for a gap


@dataclass(frozen=True)
class MaskCandidate:
    """A token for a mask, or a phrase for a gap, and its probability."""

    token: str
    probability: float


@dataclass(frozen=True)
class Writing:
    """How a decoder writes the target of a text: its special tokens, its length, and where its positions begin."""

    template: Seq2SeqTemplate
    request: GenerationRequest
    other_ends: tuple[int, ...] = ()
    first_position: int = 0


class GapFiller:
    """A model that writes the whole text, as BART, and its tokenizer. `model` provides WritesText.

    The source and the target of a text end as a document of the run's text did. `writes_text`: whether a target is the
    restored text itself.
    """

    writes_text: ClassVar[bool] = True

    def __init__(self, model: Any, tokenizer: Tokenizer, precision: Precision = "auto"):
        self.tokenizer, self.template = tokenizer, model.template
        self.corruption: list[str] = list(getattr(model, "corruption", ()))
        self.context, self.end = model.network.context, model.template.end
        self.mask: int | None = tokenizer.specials.get("mask")
        self.network, self.precision = model.network, precision
        end_of_text = tokenizer.specials.get("end", self.end)
        self.end_of_text = () if end_of_text == self.end else (end_of_text,)

    # --- what the encoder reads ---

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without the template's. Raises InputError if it is too long for the model."""
        ids = [*self.tokenizer.encode(self._with_gaps(text)), *self.end_of_text]
        room = self.context - len(self.template.source_prefix) - len(self.template.source_suffix)
        if len(ids) > room:
            raise InputError(
                f"{quoted(text)} has {len(ids):,} tokens, but the model reads at most {room:,}: shorten it."
            )
        return ids

    def _with_gaps(self, text: str) -> str:
        return text if self.mask is None else text.replace(MASK, self.tokenizer.token(self.mask))

    def is_gap(self, token: int) -> bool:
        """Return whether a token stands for a gap."""
        return token == self.mask

    def runs(self, ids: list[int]) -> list[Run]:
        """Return the runs of tokens that stand for gaps."""
        places = groupby(range(len(ids)), key=lambda place: self.is_gap(ids[place]))
        runs = [list(group) for is_gap, group in places if is_gap]
        return [(run[0], run[-1] + 1) for run in runs]

    # --- restored texts ---

    def generate(
        self,
        prompts: Sequence[str],
        request: GenerationRequest,
        sampling: Sampling,
        stop: Sequence[str] = (),
        on_text: Callable[[str], None] | None = None,
    ) -> list[list[Completion]]:
        """Return `request.n` restored texts of each prompt; `on_text` gets the pieces of a target."""
        model, encoded = Seq2SeqInferenceModel(self.network, self.precision), [self.prompt(text) for text in prompts]
        by_writing: dict[Writing, list[int]] = {}
        for index, ids in enumerate(encoded):
            by_writing.setdefault(self.writing(ids, request), []).append(index)
        completions: list[list[Completion]] = [[] for _ in prompts]
        detokenizer = Detokenizer(self.tokenizer.decode, None, tuple(stop), on_text)
        for writing, numbers in by_writing.items():
            sources = [self.template.source(encoded[k], self.context) for k in numbers]
            written = generate_from_sources(
                model.at(writing.first_position),
                *(sources, writing.template, writing.request, sampling),
                detokenizer=detokenizer,
                banned=self.banned(writing.other_ends),
                other_ends=writing.other_ends,
                numbers=numbers,
            )
            for k, of_prompt in zip(numbers, written, strict=True):
                completions[k] = [self.completed(encoded[k], completion) for completion in of_prompt]
        return completions

    def prompt(self, text: str) -> list[int]:
        """Return the tokens of a text to restore. Raises InputError if it is empty or can't be read."""
        if not text.strip():
            raise InputError(f'There is no text to restore: set prompt="Birds can {MASK}."')
        return self.encode(text)

    def check(self, text: str, request: GenerationRequest, stop: Sequence[str]) -> None:
        """Raise InputError if a text can't be restored, or not as requested."""
        if stop and not self.writes_text:
            raise InputError(
                f"stop={stop[0]!r} ends a text that is written from its beginning, but a run with model.corruption="
                f"[{','.join(self.corruption)}] writes only what is missing: leave it out."
            )
        self.writing(self.prompt(text), request)

    def writing(self, ids: list[int], request: GenerationRequest) -> Writing:
        """Return how the target of a text is written."""
        return Writing(self.template, request, self.end_of_text)

    def banned(self, other_ends: Sequence[int]) -> list[int]:
        """Return the tokens that no target has."""
        special = {*self.tokenizer.special_ids_except_end, self.tokenizer.specials.get("end", self.end)}
        return sorted(special - {self.end, *other_ends})

    def completed(self, ids: list[int], completion: Completion) -> Completion:
        """Return the completion of a text with these tokens, its `text` being the restored one."""
        return completion

    # --- candidates for each gap ---

    def fill(self, text: str, n: int) -> list[list[MaskCandidate]]:
        """Return the `n` likeliest phrases for each gap of a text, best first, by beam search.

        Gaps are filled from left to right: the best phrase of a gap is read before the next one is filled. Raises
        InputError if the text has no gap or gaps of a kind that the model has not learned, or if it is too long.
        """
        ids = self.encode(text)
        runs = self.runs(ids)
        if not runs:
            raise InputError(f"{quoted(text)} has no {MASK}: write it in place of words, as in Birds can {MASK}.")
        self.check_runs(text, runs)
        source = self.template.source(ids, self.context)
        model = Seq2SeqInferenceModel(self.network, self.precision).at(self._first_position(runs))
        written, candidates = self._first_tokens(), []
        for number, (start, stop) in enumerate(runs):
            written += self._tokens_before(ids, runs, number)
            following = ids[stop : runs[number + 1][0] if number + 1 < len(runs) else None]
            phrases = likeliest_phrases(model, source, self._gap(written, following, number, stop - start), n)
            candidates.append(self._candidates(phrases)[:n])
            written += phrases[0].tokens
        return candidates

    def check_runs(self, text: str, runs: list[Run]) -> None:
        """Raise InputError if the model has not learned to fill such gaps."""
        if not {"mask", "infill"} & set(self.corruption):
            raise InputError(
                f"The run learned with model.corruption=[{','.join(self.corruption)}], which masks nothing, so it "
                "can't fill a mask; `ssl generate prompt=...` restores a text."
            )
        if "infill" in self.corruption and any(stop - start > 1 for start, stop in runs):
            raise InputError(f"{quoted(text)} has {MASK} twice in a row: one stands for any number of words.")

    def _first_position(self, runs: list[Run]) -> int:
        return 0

    def _first_tokens(self) -> list[int]:
        return [self.template.start, *self.template.target_prefix]

    def _tokens_before(self, ids: list[int], runs: list[Run], number: int) -> list[int]:
        """Return what the decoder writes between the phrase before and that of the gap."""
        return ids[runs[number - 1][1] if number else 0 : runs[number][0]]

    def _gap(self, written: list[int], following: list[int], number: int, length: int) -> Gap:
        """Return a gap of `length` masks after the tokens written so far and before the `following` ones."""
        after = [*following, self.end][:TOKENS_AFTER]
        lengths = (0, MAX_PHRASE_TOKENS) if "infill" in self.corruption else (length, length)
        return Gap(written, after[:1], after[1:], [*self.banned(()), self.end], *lengths)

    def _candidates(self, phrases: list[Phrase]) -> list[MaskCandidate]:
        """Return phrases as texts with their probabilities, those of the same text added up, best first.

        The model may change the words around a gap, so that a probability is a phrase's share among those found.
        """
        total = sum(math.exp(phrase.log_probability - phrases[0].log_probability) for phrase in phrases)
        return self._as_texts(phrases, phrases[0].log_probability + math.log(total))

    def _as_texts(self, phrases: list[Phrase], log_total: float) -> list[MaskCandidate]:
        by_text: dict[str, float] = {}
        for phrase in phrases:
            decoded = self.tokenizer.decode(phrase.tokens)
            text = decoded.strip() or decoded  # a blank is not nothing
            by_text[text] = by_text.get(text, 0.0) + math.exp(phrase.log_probability - log_total)
        return [MaskCandidate(*item) for item in sorted(by_text.items(), key=lambda item: -item[1])]


def quoted(text: str) -> str:
    """Return a text as a message quotes it: shortened if it is long."""
    return repr(text if len(text) <= MAX_QUOTED_CHARS else f"{text[: MAX_QUOTED_CHARS - 3]}...")
