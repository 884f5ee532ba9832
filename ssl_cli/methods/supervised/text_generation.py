"""Text generation: an encoder-decoder that learns to write a target from a source."""

from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from ssl_cli.config.types import Count
from ssl_cli.data.tokenizers.seq2seq_template import Seq2SeqTemplate, Style
from ssl_cli.errors import InputError
from ssl_cli.methods.supervised.head import Batch, RawPredictions, SupervisedMethod
from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.generation.request import GenerationRequest
from ssl_cli.models.generation.sampling import Sampling
from ssl_cli.models.generation.seq2seq import generate_from_sources
from ssl_cli.models.losses import chunked_cross_entropy

TEXTS_AT_A_TIME = 64  # that are written together


class TextGenerator(SupervisedMethod):
    """Cross-entropy of the target's tokens, each predicted from the source and the tokens before it.

    A batch is one of `data.labelled.packed_pairs`. Texts are written greedily, each token the likeliest, up to
    `max_target` tokens. Raises InputError if the decoder has fewer positions, or the tokenizer lacks a special token.
    """

    reads: tuple[str, ...] = ("source", "source_document", "inputs", "document", "targets", "begin", "length")

    def __init__(
        self,
        network: Annotated[EncoderDecoder, "the network that reads the source and writes the target"],
        specials: Annotated[dict[str, int], "ids of the tokenizer's special tokens, by role"],
        style: Annotated[Style, "special tokens around the texts, as in BART or in T5"],
        max_target: Annotated[Count, "most tokens of a target, special ones included"],
    ):
        super().__init__(network)
        if max_target > network.context:
            raise InputError(
                f"task.max_target={max_target}: the decoder has {network.context} positions: make it smaller."
            )
        self.style, self.specials, self.max_target = style, dict(specials), max_target
        self._template = Seq2SeqTemplate.for_style(style, specials)

    @property
    def template(self) -> Seq2SeqTemplate:
        """The special tokens around source and target."""
        return self._template

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss in nats per token of the targets."""
        hidden = self.network(
            batch["source"], batch["inputs"], batch["source_document"], batch["document"]
        )  # (R, T, C)
        targets = batch["targets"].flatten()
        loss = chunked_cross_entropy(hidden.flatten(0, 1), self.network.output_weight, None, targets)
        if self.collects_predictions:
            self.collect(self.predict_batch(batch))
        return {"loss": loss}

    def predict_batch(self, batch: Batch) -> RawPredictions:
        """Return the tokens of the text that is written for each pair of a batch, without special ones."""
        tokens, places = batch["source"].flatten().tolist(), zip(batch["begin"], batch["length"], strict=True)
        return self.write([tokens[begin : begin + length] for begin, length in places])

    def write(self, sources: list[list[int]]) -> RawPredictions:
        """Return the tokens of the text that is written for each source, which has its special tokens already.

        They are computed in bfloat16 under autocast, otherwise in float32.
        """
        device = self.network.token_table.weight.device.type
        precision = "bf16-true" if torch.is_autocast_enabled(device) else "32-true"
        template = self.template
        request = GenerationRequest(
            max_tokens=self.max_target - len(template.target_prefix), batch_size=TEXTS_AT_A_TIME
        )
        banned = sorted(set(self.specials.values()) - {template.end})
        with torch.autocast(device, enabled=False):
            written = generate_from_sources(
                self.network, sources, template, request, Sampling(temperature=0.0), precision, banned=banned
            )
        return [np.array(completion.tokens, np.int64) for (completion,) in written]
