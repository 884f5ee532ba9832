"""Sequence to sequence: restore a corrupted text (BART, MASS, T5)."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Positive, Range
from ssl_cli.data.tokenizers.seq2seq_template import Seq2SeqTemplate, Style
from ssl_cli.errors import InputError
from ssl_cli.methods.language import corruptions
from ssl_cli.methods.language.corruptions import Corruption, Noise, Rows, Words, size_after
from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.losses import cross_entropy_and_accuracy

Batch = Mapping[str, Tensor]
CHOOSE_TARGETS = ("fragment", "spans")  # corruptions whose target is not the text itself
NEEDS_MASK = ("mask", "infill", "fragment")
INFILL: list[Corruption] = ["infill"]


class Seq2SeqLM(nn.Module):
    """Cross-entropy of a text given its corrupted form, which the encoder reads (BART: arXiv 1910.13461).

    The corruptions are applied in their order, and drawn again for each batch. With `fragment` (MASS: 1905.02450) and
    `spans` (T5: 1910.10683) only what they take from the text is to be written. All rows of a batch have the same
    number of tokens on both sides, so nothing is padded; a row of text is the longest for which both fit the network's
    context. Raises InputError if the tokenizer lacks a token, or if options contradict each other.
    """

    reads: tuple[str, ...] = ("ids",)
    is_matmul_bound: ClassVar[bool] = True
    no_decay_on_vectors: ClassVar[bool] = True
    target_offset: ClassVar[int] = 0
    split_at_documents: ClassVar[bool] = False
    n_sentinels: ClassVar[int] = 100  # that a tokenizer which is trained for it has: the same for all corruptions

    def __init__(
        self,
        network: Annotated[EncoderDecoder, "a transformer of an encoder and a decoder"],
        specials: Annotated[dict[str, int], "ids of the tokenizer's special tokens, by role"],
        sentinels: Annotated[list[int], "ids of the tokenizer's sentinels, <extra_id_0> and so on"],
        style: Annotated[Style, "whose special tokens are around source and target"] = "bart",
        corruption: Annotated[list[Corruption], "what is done to the text, in this order"] = INFILL,
        mask_ratio: Annotated[
            float, Range(0, 1, open_low=True, open_high=True), "share of the tokens that a corruption takes"
        ] = 0.3,
        mean_span: Annotated[Positive, "mean tokens of a span, of infill and spans"] = 3.0,
    ):
        super().__init__()
        for fault in self.option_faults({"corruption": corruption, "mean_span": mean_span}):
            raise InputError(f"model.{fault}")
        self.network, self.style, self.corruption = network, style, list(corruption)
        self.noise, self.words = Noise(mask_ratio, mean_span), Words(network.vocab_size, specials, sentinels)
        self._template = Seq2SeqTemplate.for_style(style, specials)
        self._check_tokens(specials)
        self.row_length = self._longest_row()
        self.reads = ("ids", "sentence_ends") if "permute" in corruption else ("ids",)
        self._check_sentinels()

    @property
    def template(self) -> Seq2SeqTemplate:
        """The special tokens around source and target."""
        return self._template

    @staticmethod
    def option_faults(options: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is wrong with options together; `check` calls it before any data is read."""
        chosen = list(options.get("corruption") or [])
        if not chosen:
            yield "corruption must name one or more of mask, delete, infill, permute, rotate, fragment and spans."
        if len(set(chosen)) < len(chosen):
            yield f"corruption must name each corruption once, not {', '.join(chosen)}."
        if set(CHOOSE_TARGETS) <= set(chosen):
            yield "corruption can't have both fragment and spans: each of them chooses what is to be written."
        if "spans" in chosen and (mean_span := options.get("mean_span", 3.0)) < 1:
            yield f"mean_span={mean_span:g} is below 1, and each span of model.corruption=spans has at least one token."

    # --- sizes ---

    def sizes(self, row_length: int) -> tuple[int, int]:
        """Return the tokens of a source and of a target for a row of text; 0 if a corruption leaves nothing of it."""
        size, n_around = row_length, len(self.template.target_prefix) + 1
        n_target = row_length + n_around
        for corruption in self.corruption:
            if corruption == "fragment":
                n_target = self.noise.tokens(size)
            elif corruption == "spans":
                n_target = self.noise.tokens(size) + self.noise.spans(size) + n_around
            size = size_after(corruption, self.noise, size)
            if size < 1:
                return 0, 0
        return len(self.template.source_prefix) + size + len(self.template.source_suffix), n_target

    def _longest_row(self) -> int:
        """Return the tokens of the longest row of text whose source and target fit the context."""
        # With half of a row in one span, a row of twice the context fits; longer ones are not looked for.
        for row_length in range(2 * self.network.context, 1, -1):
            source, target = self.sizes(row_length)
            if 0 < source <= self.network.context and target <= self.network.context:
                return row_length
        raise InputError(
            f"model.mask_ratio={self.noise.ratio:g} leaves nothing of a row of text that model.corruption="
            f"[{','.join(self.corruption)}] corrupts: set a smaller one."
        )

    def _check_tokens(self, specials: Mapping[str, int]) -> None:
        """Raise InputError if a corruption needs a mask token that the tokenizer lacks, or it has no text to learn."""
        needing = [name for name in self.corruption if name in NEEDS_MASK]
        if needing and "mask" not in specials:
            raise InputError(
                f"model.corruption={needing[0]} needs a mask token, and the tokenizer has {', '.join(specials)}: use "
                "model.corruption=[spans] or [delete], or train a tokenizer on the text with tokenizer=unigram."
            )
        if not len(self.words.ordinary):
            raise InputError(
                f"The tokenizer has {self.network.vocab_size} tokens, all of them special: it needs a larger "
                "vocab_size, or a text with letters, not only spaces and control characters."
            )

    def _check_sentinels(self) -> None:
        """Raise InputError if there are fewer sentinels than spans in a row."""
        if "spans" not in self.corruption:
            return
        size = self.row_length
        for corruption in self.corruption[: self.corruption.index("spans")]:
            size = size_after(corruption, self.noise, size)
        if (needed := self.noise.spans(size)) > (n := len(self.words.sentinels)):
            has = f"only {n} sentinels" if n else "no sentinels (<extra_id_0>, <extra_id_1>, ...)"
            raise InputError(
                f"The tokenizer has {has}, and model.corruption=spans puts {needed} in the place of a row's spans: "
                f"train a tokenizer with tokenizer.sentinels={needed} or more, or use another corruption."
            )

    # --- inputs ---

    def make_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the inputs of `forward` for a batch of text, `ids` (B, row_length), newly corrupted.

        `source` (B, S) is what the encoder reads, `inputs` and `targets` (B, T) what the decoder reads and predicts,
        and `missing` (B, T) which targets the source does not show. For a fragment `position` (B, T) are the positions
        of the decoder's input.
        """
        rows = Rows.of_text(batch["ids"])
        for corruption in self.corruption:
            rows = self._corrupt(corruption, rows, batch)
        template = self.template
        source = _surrounded(template.source_prefix, rows.ids, template.source_suffix)
        written = batch["ids"] if rows.target is None else rows.target
        missing = ~(rows.shown(written) if rows.target is None else self.words.is_special[written])
        targets, n_before = written, len(template.target_prefix)
        if rows.place is None:  # a fragment has neither a beginning nor an end
            targets = _surrounded(template.target_prefix, written, (template.end,))
            missing = functional.pad(missing, (n_before, 1), value=False)
        inputs = {"source": source, "inputs": _surrounded((template.start,), targets[:, :-1], ()), "targets": targets}
        inputs["missing"] = missing
        if rows.place is not None:  # where a decoder that wrote the whole text would be
            inputs["position"] = rows.place + n_before
        return inputs

    def _corrupt(self, corruption: Corruption, rows: Rows, batch: Batch) -> Rows:
        match corruption:
            case "mask":
                return corruptions.mask_tokens(rows, self.words, self.noise)
            case "delete":
                return corruptions.delete_tokens(rows, self.words, self.noise)
            case "infill":
                return corruptions.infill_spans(rows, self.words, self.noise)
            case "permute":
                return corruptions.permute_sentences(rows, self.words, batch["sentence_ends"])
            case "rotate":
                return corruptions.rotate_documents(rows, self.words)
            case "fragment":
                return corruptions.mask_fragment(rows, self.words, self.noise)
            case "spans":
                return corruptions.replace_spans_by_sentinels(rows, self.words, self.noise)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss in nats per token of the target, and the share of them that is predicted."""
        inputs = self.make_inputs(batch)
        hidden = self.network(inputs["source"], inputs["inputs"], position=inputs.get("position"))  # (B, T, C)
        targets, weight = inputs["targets"].flatten(), self.network.output_weight
        loss, accuracy = cross_entropy_and_accuracy(hidden.flatten(0, 1), weight, None, targets)
        return {"loss": loss, "accuracy": accuracy}

    def embed_text(self, batch: Batch) -> Tensor:
        """Return the encoder's mean hidden state (B, C) of texts `ids` (B, L), without special tokens."""
        before, after = self.template.source_prefix, self.template.source_suffix
        hidden = self.network.encode(_surrounded(before, batch["ids"], after))
        return hidden[:, len(before) : -len(after)].mean(1)

    def derived_metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        """Return the perplexity of the targets, given the mean of each loss."""
        return {"perplexity": float(torch.tensor(means["loss"]).exp())}


def _surrounded(before: tuple[int, ...], ids: Tensor, after: tuple[int, ...]) -> Tensor:
    """Return ids (B, L) with the same tokens before and after each row."""
    start, stop = (ids.new_tensor(tokens).expand(len(ids), -1) for tokens in (before, after))
    return torch.cat([start, ids, stop], 1)
