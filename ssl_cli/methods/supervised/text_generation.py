"""Text generation: an encoder-decoder that learns to write a target from a source."""

from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from ssl_cli.config.types import Count, LengthPenalty, Natural
from ssl_cli.data.tokenizers.seq2seq_template import Seq2SeqTemplate, Style
from ssl_cli.errors import InputError
from ssl_cli.methods.supervised.head import Batch, RawPredictions, SupervisedMethod
from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.generation.packed_weights import Precision
from ssl_cli.models.generation.request import GenerationRequest, check_beams
from ssl_cli.models.generation.sampling import Sampling
from ssl_cli.models.generation.seq2seq import generate_from_sources
from ssl_cli.models.losses import chunked_cross_entropy

TEXTS_AT_A_TIME = 64  # that are written together


class TextGenerator(SupervisedMethod):
    """Cross-entropy of the target's tokens, each predicted from the source and the tokens before it.

    A batch is one of `data.labelled.packed_pairs`. A text of at most `max_target` tokens is written greedily, each
    token the likeliest, or by beam search; at validations always greedily, which takes a fraction of the time. Raises
    InputError if the decoder has fewer positions, or the tokenizer lacks a special token.
    """

    reads: tuple[str, ...] = ("source", "source_document", "inputs", "document", "targets", "begin", "length")
    is_matmul_bound: ClassVar[bool] = True

    def __init__(
        self,
        network: Annotated[EncoderDecoder, "the network that reads the source and writes the target"],
        specials: Annotated[dict[str, int], "ids of the tokenizer's special tokens, by role"],
        style: Annotated[Style, "special tokens around the texts, as in BART or in T5"],
        max_target: Annotated[Count, "most tokens of a target, special ones included"],
        beams: Annotated[Count, "beginnings of a text that a beam search goes on with; 1: no search"] = 1,
        length_penalty: Annotated[
            LengthPenalty, "power of its length that a beam's log-probability is divided by"
        ] = 1.0,
        no_repeat_ngram: Annotated[Natural, "tokens in a row that a text has only once; 0: no limit"] = 0,
    ):
        super().__init__(network)
        if max_target > network.context:
            raise InputError(
                f"task.max_target={max_target}: the decoder has {network.context} positions: make it smaller."
            )
        check_beams(beams, network.vocab_size, "task.beams")
        self.style, self.specials, self.max_target = style, dict(specials), max_target
        lengths = {"max_tokens": max_target - len(Seq2SeqTemplate.for_style(style, specials).target_prefix)}
        self._greedy = GenerationRequest(**lengths, batch_size=TEXTS_AT_A_TIME, no_repeat_ngram=no_repeat_ngram)
        self._search = replace(self._greedy, beams=beams, length_penalty=length_penalty)
        self._template = Seq2SeqTemplate.for_style(style, specials)

    @property
    def template(self) -> Seq2SeqTemplate:
        """The special tokens around source and target."""
        return self._template

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss in nats per token of the targets."""
        documents = (batch["source_document"], batch["document"])
        hidden = self.network(batch["source"], batch["inputs"], *documents)  # (R, T, C)
        targets = batch["targets"].flatten()
        loss = chunked_cross_entropy(hidden.flatten(0, 1), self.network.output_weight, None, targets)
        if self.collects_predictions:
            self.collect(self.write(_sources(batch), self._greedy))
        return {"loss": loss}

    def predict_batch(self, batch: Batch) -> RawPredictions:
        """Return the tokens of the text that is written for each pair of a batch, without special ones."""
        return self.write(_sources(batch))

    def write(self, sources: list[list[int]], request: GenerationRequest | None = None) -> RawPredictions:
        """Return the tokens of the text that is written for each source, which has its special tokens already.

        They are computed in bfloat16 under autocast, otherwise in float32.
        """
        device, template = self.network.token_table.weight.device.type, self.template
        precision: Precision = "bf16-true" if torch.is_autocast_enabled(device) else "32-true"
        banned = sorted(set(self.specials.values()) - {template.end})
        args = (template, request or self._search, Sampling(temperature=0.0), precision)
        with torch.autocast(device, enabled=False):
            written = generate_from_sources(self.network, sources, *args, banned=banned)
        return [np.array(completion.tokens, np.int64) for (completion,) in written]


def _sources(batch: Batch) -> list[list[int]]:
    """Return the sources of a batch of packed pairs, each with its special tokens."""
    tokens, places = batch["source"].flatten().tolist(), zip(batch["begin"], batch["length"], strict=True)
    return [tokens[begin : begin + length] for begin, length in places]
