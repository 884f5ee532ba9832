"""Request for generated texts: how many, how long, by draws or by beam search; and the draws of each text."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from ssl_cli.config.types import Count, LengthPenalty, Natural, Seed
from ssl_cli.errors import InputError


@dataclass(frozen=True)
class GenerationRequest:
    """How many texts to generate, how long, and how they are searched for."""

    n: Annotated[Count, "texts for each prompt; of a beam search, the best"] = 1
    max_tokens: Annotated[Count, "largest number of tokens to generate for a text, its end included"] = 200
    seed: Annotated[Seed, "seed of all random draws"] = 0
    batch_size: Annotated[Count, "texts generated at a time"] = 16
    min_tokens: Annotated[Natural, "smallest number of tokens of a text"] = 0
    beams: Annotated[Count, "beginnings of a text that a beam search goes on with; 1: no search"] = 1
    length_penalty: Annotated[LengthPenalty, "power of its length that a text's log-probability is divided by"] = 1.0
    no_repeat_ngram: Annotated[Natural, "tokens in a row that must not occur twice in a text; 0: all may"] = 0

    @property
    def constraints(self) -> dict[str, Any]:
        """Return the request's arguments of Constraints."""
        return {"no_repeat_ngram": self.no_repeat_ngram, "min_tokens": self.min_tokens}

    @property
    def prompts_at_a_time(self) -> int:
        """Return how many prompts are read together: a beam search needs a row for each beam."""
        return max(1, self.batch_size // self.beams)


def uniform_draws(request: GenerationRequest, prompt: int, sample: int) -> Tensor:
    """Return the uniform draws of one text, (max_tokens,) in [0, 1).

    They depend only on the seed and the indices of prompt and sample. A smaller `max_tokens` gives a prefix of them.
    """
    rng = np.random.default_rng([request.seed, prompt, sample])
    return torch.from_numpy(rng.random(request.max_tokens))


def check_beams(beams: int, vocab_size: int, option: str = "beams") -> None:
    """Raise InputError, which names the option, if a search can't go on with so many beginnings of a text."""
    if beams > vocab_size // 2:
        raise InputError(f"{option}={beams} is too many for a vocabulary of {vocab_size:,} tokens: set fewer.")
