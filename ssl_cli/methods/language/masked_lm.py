"""Masked language modelling: predict the masked tokens of a text (BERT)."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Range, Share
from ssl_cli.errors import InputError
from ssl_cli.methods.language.masking import MaskUnit, corrupt, select_masks
from ssl_cli.methods.language.sentence_pairs import (
    SentenceTask,
    add_special_tokens,
    next_sentence_pairs,
    segment_ids,
    sentence_order_pairs,
)
from ssl_cli.models.heads import MaskedLMHead, PairHead
from ssl_cli.models.losses import IGNORE_INDEX, chunked_cross_entropy, cross_entropy_and_accuracy
from ssl_cli.models.transformer import Transformer

Batch = Mapping[str, Tensor]
MaskRatio = Annotated[float, Range(0, 1, open_low=True)]
REPLACE = {"mask": 0.8, "random": 0.1, "keep": 0.1}
REQUIRED_SPECIALS = ("mask", "cls", "sep")


class MaskedLM(nn.Module):
    """Cross-entropy of the masked tokens, chosen again for each batch (BERT: arXiv 1810.04805, sec. 3.1).

    Exactly round(mask_ratio * tokens of text) tokens of each row are masked, and never a special token. In evaluation
    the share is another one, so that losses compare whatever share was trained on. With a
    `sentence_task` the text is cut in two, and the model also predicts whether the second part follows the first; the
    two losses are added. With a `causal_start`, training begins with the prediction of each next token from those
    before it, which teaches more in a step (arXiv 2507.00994). Raises InputError if the tokenizer lacks a special
    token, or if options contradict each other.
    """

    reads: tuple[str, ...] = ("ids",)
    is_matmul_bound: ClassVar[bool] = True
    no_decay_on_vectors: ClassVar[bool] = True
    is_special: Tensor
    ordinary: Tensor

    def __init__(
        self,
        network: Annotated[Transformer, "a transformer that sees each text from both sides"],
        specials: Annotated[dict[str, int], "ids of the tokenizer's special tokens, by role"],
        mask_ratio: Annotated[MaskRatio, "share of the tokens that are masked in training"] = 0.4,
        replace: Annotated[
            dict[str, Share], "shares of masked tokens that become [MASK], another token, or stay"
        ] = REPLACE,
        mask_unit: Annotated[MaskUnit, "what is masked as a whole; span: several words, as in SpanBERT"] = "token",
        sentence_task: Annotated[
            SentenceTask, "nsp: is the second text the next one, or a random one; sop: are the two swapped"
        ] = "none",
        causal_start: Annotated[
            float, Range(0, 1, open_high=True), "share of the run that predicts the next token first, before masking"
        ] = 0.0,
        eval_mask_ratio: Annotated[MaskRatio, "share that is masked in evaluation; 0.15 compares with BERT"] = 0.15,
    ):
        super().__init__()
        chosen = {"replace": replace, "sentence_task": sentence_task, "causal_start": causal_start}
        for fault in self.option_faults({**chosen, "network": network.options}):
            raise InputError(f"model.{fault}")
        check_special_tokens(specials, network.vocab_size)
        self.replace, self.causal_start = replace, causal_start
        self.mask_unit, self.sentence_task = mask_unit, sentence_task
        self.cls, self.sep, self.mask_token = (specials[name] for name in ("cls", "sep", "mask"))
        self.network = network
        self.head = MaskedLMHead(self.network)
        self.pair_head = None if sentence_task == "none" else PairHead(self.network)
        special = np.isin(np.arange(network.vocab_size), list(specials.values()))  # (V,)
        self.register_buffer("ordinary", torch.tensor(np.flatnonzero(~special)), persistent=False)
        self.register_buffer("is_special", torch.tensor(special), persistent=False)

        # What the data must give; the special tokens around the text take one or three positions of the context.
        self.row_length, self.target_offset = network.context - (1 if sentence_task == "none" else 3), 0
        self.split_at_documents = sentence_task != "none"
        self.reads = ("ids",) if mask_unit == "token" else ("ids", "starts")
        self.reads += {"none": (), "sop": ("sentence_ends",), "nsp": ("sentence_ends", "document_id")}[sentence_task]
        self.masks_per_row, self.eval_masks_per_row = (
            max(1, round(ratio * self.row_length)) for ratio in (mask_ratio, eval_mask_ratio)
        )

    @staticmethod
    def option_faults(options: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is wrong with options together; `check` calls it before any data is read."""
        replace = dict(options.get("replace") or {})
        if set(replace) != set(REPLACE):
            yield f"replace must have the shares mask, random and keep, not {', '.join(map(str, replace)) or 'none'}."
        elif abs(sum(replace.values()) - 1) > 1e-6:
            yield f"replace must have shares that add up to 1, not {sum(replace.values()):g}."
        task, network = options.get("sentence_task", "none"), options.get("network") or {}
        if task != "none" and isinstance(segments := network.get("segments"), int) and segments < 2:
            yield f"network.segments must be 2 with sentence_task={task}, not {segments}."
        if task != "none" and options.get("causal_start"):
            yield f"causal_start must be 0 with sentence_task={task}: a text is not seen as a pair from the left alone."
        if network.get("causal") is True:
            yield "network.causal must be false for this model: it sees each text from both sides."

    # --- inputs ---

    def make_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the inputs of `forward` for a batch of text, `ids` (B, row_length), with new random masks.

        `inputs` (B, T) contain special tokens, and masks; `positions` and `targets` (B, n) are those of the masked
        tokens, IGNORE_INDEX where a row has too few. A sentence pair also has `segment` (B, T) and `pair` (B,), its
        label; isolated documents have `document` (B, T).
        """
        inputs = self._single(batch) if self.sentence_task == "none" else self._pair(batch)
        ids = inputs.pop("ids")
        n = self.masks_per_row if self.training else self.eval_masks_per_row
        selection = select_masks(~self.is_special[ids], n, self.mask_unit, inputs.pop("starts", None))
        targets = ids.gather(1, selection.positions).masked_fill(~selection.valid, IGNORE_INDEX)
        corrupted = corrupt(ids, selection, self.replace, self.mask_token, self.ordinary)
        return {"inputs": corrupted, "positions": selection.positions, "targets": targets, **inputs}

    def _single(self, batch: Batch) -> dict[str, Tensor]:
        """Return [CLS] TEXT; the [CLS] belongs to the first document."""
        inputs = {"ids": functional.pad(batch["ids"], (1, 0), value=self.cls)}
        if "starts" in self.reads:
            inputs["starts"] = functional.pad(batch["starts"], (1, 0), value=True)
        if "document" in batch:
            inputs["document"] = torch.cat([batch["document"][:, :1], batch["document"]], dim=1)
        return inputs

    def _pair(self, batch: Batch) -> dict[str, Tensor]:
        """Return [CLS] FIRST [SEP] SECOND [SEP]."""
        ends = batch["sentence_ends"]
        if self.sentence_task == "sop":
            pair = sentence_order_pairs(ends)
        else:
            pair = next_sentence_pairs(ends, batch["document_id"])
        inputs = {"ids": add_special_tokens(pair.arrange(batch["ids"]), pair.first_length, self.cls, self.sep)}
        if "starts" in self.reads:
            inputs["starts"] = add_special_tokens(pair.arrange(batch["starts"]), pair.first_length, True, True)
        return inputs | {"segment": segment_ids(self.row_length, pair.first_length), "pair": pair.label}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss in nats per masked token, and the share of masked tokens predicted.

        With a sentence task the loss is the sum of `masked_loss` and `pair_loss`, and both accuracies are returned. In
        a causal start the loss is the `causal_loss`, in nats per token.
        """
        if self.training and batch.get("progress", 1.0) < self.causal_start:
            return self._next_token_losses(batch)
        inputs = self.make_inputs(batch)
        hidden, masked = self._encode_masks(inputs)
        token_table, targets = self.network.token_table.weight, inputs["targets"].flatten()
        loss, accuracy = cross_entropy_and_accuracy(masked, token_table, self.head.bias, targets)
        if self.pair_head is None:
            return {"loss": loss, "masked_accuracy": accuracy}
        logits = self.pair_head(hidden)  # (B, 2)
        pair_loss = functional.cross_entropy(logits, inputs["pair"])
        pair_accuracy = (logits.argmax(1) == inputs["pair"]).float().mean()
        parts = {"masked_loss": loss.detach(), "pair_loss": pair_loss.detach()}
        return {"loss": loss + pair_loss, **parts, "masked_accuracy": accuracy, "pair_accuracy": pair_accuracy}

    def _next_token_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of the next token of each one, by the same network and head, seeing only what is before."""
        inputs = self._single(batch)
        ids, document, targets = inputs["ids"], inputs.get("document"), inputs["ids"][:, 1:]
        if document is not None:
            targets = targets.masked_fill(document[:, 1:] != document[:, :-1], IGNORE_INDEX)
        with self.network.left_to_right():
            hidden = self.network(ids, document=document)[:, :-1].flatten(0, 1)  # (B * (T - 1), C)
        token_table = self.network.token_table.weight
        loss = chunked_cross_entropy(self.head.transform(hidden), token_table, self.head.bias, targets.flatten())
        return {"loss": loss, "causal_loss": loss.detach()}

    def _encode_masks(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return hidden states (B, T, C), and those of the masked tokens after the head's transform, (B * n, C)."""
        hidden = self.network(inputs["inputs"], inputs.get("segment"), inputs.get("document"))  # (B, T, C)
        n_rows, length, width = hidden.shape
        flat = inputs["positions"] + length * torch.arange(n_rows, device=hidden.device)[:, None]  # (B, n)
        return hidden, self.head.transform(hidden.reshape(-1, width).index_select(0, flat.flatten()))

    def derived_metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        """Return the perplexity of the masked tokens, given the mean of each loss."""
        return {"perplexity": float(torch.tensor(means.get("masked_loss", means["loss"])).exp())}

    # --- predictions ---

    def masked_predictions(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Return the result of `make_inputs`, and logits (B, n, V) of the masked tokens."""
        inputs = self.make_inputs(batch)
        _, masked = self._encode_masks(inputs)
        logits = functional.linear(masked, self.network.token_table.weight, self.head.bias)
        return inputs, logits.view(*inputs["positions"].shape, -1)

    def mask_logits(self, ids: Tensor) -> Tensor:
        """Return logits (M, V) of the M masks in ids (B, T), row by row; [CLS] and [SEP] are added around each text."""
        whole = self._framed(ids)
        hidden = self.network(whole)  # (B, T + 2, C)
        return self.head(hidden[whole == self.mask_token], self.network.token_table.weight)

    def embed_text(self, batch: Batch) -> Tensor:
        """Return the mean hidden state (B, C) of the tokens of `ids` (B, L), without special tokens."""
        whole = self._framed(batch["ids"])
        hidden = self.network(whole)  # (B, L + 2, C)
        counts = ~self.is_special[whole]
        return (hidden * counts[..., None]).sum(1) / counts.sum(1, keepdim=True).clamp(min=1)

    def _framed(self, ids: Tensor) -> Tensor:
        """Return [CLS] TEXT [SEP]."""
        return functional.pad(functional.pad(ids, (1, 0), value=self.cls), (0, 1), value=self.sep)


def check_special_tokens(specials: Mapping[str, int], vocab_size: int) -> None:
    """Raise InputError if a tokenizer lacks a special token of BERT, or has no other tokens."""
    if missing := [name for name in REQUIRED_SPECIALS if name not in specials]:
        raise InputError(
            f"The tokenizer has no {' and no '.join(missing)} token, which a masked language model needs; it has "
            f"{', '.join(specials) or 'no special tokens'}. Train one on the text with tokenizer=wordpiece."
        )
    if vocab_size <= len(set(specials.values())):
        raise InputError(
            f"The tokenizer has {vocab_size} tokens, all of them special: it needs a larger vocab_size, or a text with "
            "letters, not only spaces and control characters."
        )
