"""Gap fillers of models that write only what is missing in a text: T5 its spans, and MASS its fragment."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from ssl_cli.commands.pretrain.gaps import (
    MASK,
    MAX_PHRASE_TOKENS,
    GapFiller,
    MaskCandidate,
    Run,
    Writing,
    quoted,
)
from ssl_cli.data.tokenizers.tokenizer import SENTINEL, Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.models.generation.detokenize import Completion
from ssl_cli.models.generation.packed_weights import Precision
from ssl_cli.models.generation.phrases import Gap, Phrase
from ssl_cli.models.generation.request import GenerationRequest

WRITTEN_SENTINEL = re.compile(SENTINEL.replace("{}", r"\d+"))


class SpanFiller(GapFiller):
    """A model that writes what each sentinel stands for, as T5: <extra_id_0> FIRST SPAN <extra_id_1> SECOND SPAN."""

    writes_text = False

    def __init__(self, model: Any, tokenizer: Tokenizer, precision: Precision = "auto"):
        super().__init__(model, tokenizer, precision)
        self.sentinels = tokenizer.sentinels
        self._is_sentinel = set(self.sentinels)

    def _with_gaps(self, text: str) -> str:
        """Return the text with a sentinel for each mask.

        Raises InputError if it has more masks than there are sentinels, or both, or a sentinel twice or an unknown one.
        """
        parts = super()._with_gaps(text).split(MASK if self.mask is None else self.tokenizer.token(self.mask))
        n_gaps, n_sentinels = len(parts) - 1, len(self.sentinels)
        if n_gaps > n_sentinels:
            raise InputError(
                f"{quoted(text)} has {n_gaps:,} gaps, but the run's tokenizer has {n_sentinels:,} sentinels: split it."
            )
        written = WRITTEN_SENTINEL.findall(text)
        if unknown := [name for name in written if name not in map(SENTINEL.format, range(n_sentinels))]:
            raise InputError(
                f"{quoted(text)} has {unknown[0]}, but the sentinels of the run's tokenizer are "
                f"{SENTINEL.format(0)} to {SENTINEL.format(n_sentinels - 1)}."
            )
        if len(set(written)) < len(written):
            raise InputError(f"{quoted(text)} has the same sentinel twice: each gap needs its own.")
        if n_gaps and written:
            raise InputError(
                f"{quoted(text)} has both {MASK} and {written[0]}: write all of its gaps in the same way."
            )
        return parts[0] + "".join(f"{SENTINEL.format(k)}{part}" for k, part in enumerate(parts[1:]))

    def is_gap(self, token: int) -> bool:
        """Return whether a token is a sentinel."""
        return token in self._is_sentinel

    def runs(self, ids: list[int]) -> list[Run]:
        """Return the places of the sentinels."""
        return [(place, place + 1) for place, token in enumerate(ids) if self.is_gap(token)]

    def prompt(self, text: str) -> list[int]:
        """Return the tokens of a text to restore; one without a gap is to be continued, so it gets one at its end."""
        ids = super().prompt(text)
        return ids if self.runs(ids) else self.encode(text + SENTINEL.format(0))

    def writing(self, ids: list[int], request: GenerationRequest) -> Writing:
        """Return how the target is written: a sentinel that the text does not have ends it."""
        return Writing(self.template, request, tuple(token for token in self.sentinels if token not in ids))

    def banned(self, other_ends: Sequence[int]) -> list[int]:
        """Return the tokens that no target has."""
        return [token for token in super().banned(other_ends) if not self.is_gap(token)]

    def completed(self, ids: list[int], completion: Completion) -> Completion:
        """Set the text of a completion: the prompt with its sentinels replaced. One not in the target remains."""
        spans: dict[int, list[int]] = {}
        span: list[int] = []  # what precedes the first sentinel belongs nowhere
        for token in completion.tokens:
            if self.is_gap(token):
                span = []
                spans.setdefault(token, span)
            else:
                span.append(token)
        filled = [token for place in ids for token in spans.get(place, [place])]
        completion.target, completion.text = completion.text, self.tokenizer.decode(filled)
        return completion

    def check_runs(self, text: str, runs: list[Run]) -> None:
        """Raise InputError if two gaps have nothing between them."""
        if any(stop == start for (_, stop), (start, _) in pairwise(runs)):
            raise InputError(f"{quoted(text)} has {MASK} twice in a row: one stands for any number of words.")

    def _tokens_before(self, ids: list[int], runs: list[Run], number: int) -> list[int]:
        return [ids[runs[number][0]]]

    def _gap(self, written: list[int], following: list[int], number: int, length: int) -> Gap:
        """Return a gap that any other sentinel closes, or the end."""
        closers = [self.end, *(token for token in self.sentinels if token != written[-1])]
        return Gap(written, closers, [], [*super().banned(()), self.end], 0, MAX_PHRASE_TOKENS)

    def _candidates(self, phrases: list[Phrase]) -> list[MaskCandidate]:
        return self._as_texts(phrases, 0.0)


class FragmentFiller(GapFiller):
    """A model that writes the masked fragment of a text, as MASS: as many tokens as there are masks, all in a row."""

    writes_text = False

    def __init__(self, model: Any, tokenizer: Tokenizer, precision: Precision = "auto"):
        super().__init__(model, tokenizer, precision)
        self._of_fragment = replace(self.template, target_prefix=())

    def prompt(self, text: str) -> list[int]:
        """Return the tokens of a text to restore. Raises InputError if its masks are not one run."""
        ids = super().prompt(text)
        self.check_runs(text, self.runs(ids))
        return ids

    def check_runs(self, text: str, runs: list[Run]) -> None:
        """Raise InputError if the masks are not one run."""
        if len(runs) != 1:
            raise InputError(
                f"{quoted(text)} has {len(runs)} stretches of {MASK}, but a run with model.corruption=[fragment] "
                f"writes exactly one: one {MASK} for each token, all in a row."
            )

    def writing(self, ids: list[int], request: GenerationRequest) -> Writing:
        """Return how the target is written: a token for each mask, where those are.

        Raises InputError if other lengths are requested.
        """
        ((start, stop),) = self.runs(ids)
        n_masks = stop - start
        if not request.min_tokens <= n_masks <= request.max_tokens:
            raise InputError(
                f"A run with model.corruption=[fragment] writes one token for each {MASK}, here {n_masks}, which "
                f"min_tokens={request.min_tokens} and max_tokens={request.max_tokens} do not allow."
            )
        of_fragment = replace(request, min_tokens=n_masks, max_tokens=n_masks)
        return Writing(self._of_fragment, of_fragment, (), self._first_position([(start, stop)]))

    def completed(self, ids: list[int], completion: Completion) -> Completion:
        """Set the text of a completion: the prompt with its masks replaced."""
        ((start, stop),) = self.runs(ids)
        filled = [*ids[:start], *completion.tokens, *ids[stop : len(ids) - len(self.end_of_text)]]
        completion.target, completion.text = completion.text, self.tokenizer.decode(filled)
        return completion

    def _first_position(self, runs: list[Run]) -> int:
        return runs[0][0] + len(self.template.target_prefix)

    def _first_tokens(self) -> list[int]:
        return [self.template.start]

    def _tokens_before(self, ids: list[int], runs: list[Run], number: int) -> list[int]:
        return []

    def _gap(self, written: list[int], following: list[int], number: int, length: int) -> Gap:
        """Return a gap that is closed after a token for each mask."""
        return Gap(written, [], [], [*self.banned(()), self.end], length, length)

    def _candidates(self, phrases: list[Phrase]) -> list[MaskCandidate]:
        return self._as_texts(phrases, 0.0)


def gap_filler(model: Any, tokenizer: Tokenizer, precision: Precision = "auto") -> GapFiller:
    """Return the gap filler of a run's model, by how its run corrupted texts."""
    fillers = {"spans": SpanFiller, "fragment": FragmentFiller}
    kind = next((fillers[name] for name in getattr(model, "corruption", ()) if name in fillers), GapFiller)
    return kind(model, tokenizer, precision)
