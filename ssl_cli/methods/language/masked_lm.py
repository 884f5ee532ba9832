"""Guess the tokens that are hidden in a text: BERT."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Natural, Range, Share
from ssl_cli.errors import InputError
from ssl_cli.methods.language import network_options as network
from ssl_cli.methods.language.masking import Unit, corrupt, select_masks
from ssl_cli.methods.language.sentence_pairs import Pair, framed, in_order_or_swapped, next_or_other, segment_ids
from ssl_cli.models.heads import MaskedHead, PairHead
from ssl_cli.models.losses import IGNORED, cross_entropy_and_hits
from ssl_cli.models.transformer import Transformer

Batch = Mapping[str, Tensor]
REPLACE = {"mask": 0.8, "random": 0.1, "keep": 0.1}
NEEDED = ("mask", "cls", "sep")  # of a tokenizer's special tokens


class MaskedLM(nn.Module):
    """Cross-entropy of a `share` of the tokens, hidden anew each time (Devlin et al., arXiv 1810.04805, sec. 3.1).

    Exactly round(share * tokens of text) are hidden in each row, and never a special token. With a `pair` the text is
    cut in two, and the model also says whether the second part follows the first; the two losses are added.
    Raises InputError for a tokenizer that lacks a special token, and for sizes that don't fit each other.
    """

    reads: tuple[str, ...] = ("ids",)
    is_matmul_bound: ClassVar[bool] = True
    no_decay_on_vectors: ClassVar[bool] = True
    is_special: Tensor
    ordinary: Tensor

    def __init__(
        self,
        vocab_size: network.Vocabulary,
        specials: Annotated[dict[str, int], "the tokenizer's special tokens, by what they are for"],
        mask_ratio: Annotated[float, Range(0, 1, open_low=True), "of the tokens that are hidden"] = 0.15,
        replace: Annotated[
            dict[str, Share], "shares of hidden tokens seen as [MASK], as another token, as is"
        ] = REPLACE,
        mask_unit: Annotated[
            Unit, "what is hidden as a whole; a span is some words in a row, as in SpanBERT"
        ] = "token",
        sentence_task: Annotated[
            Pair, "nsp: is the second text the next, or from elsewhere; sop: are they swapped"
        ] = "none",
        size: network.Size = "mini",
        context: network.Context = 128,
        positions: network.Positions = "rotary",
        norm: network.Norm = "pre",
        layers: network.Layers = None,
        width: network.Width = None,
        heads: network.Heads = None,
        feedforward: network.Feedforward = None,
        segments: Annotated[Natural | None, "kinds of segment; null: 2 for a pair, and otherwise none"] = None,
        activation: network.Activation = "gelu",
        dropout: network.Dropout = 0.0,
        attention_dropout: network.AttentionDropout = 0.0,
        norm_eps: network.NormEps = 1e-12,
    ):
        super().__init__()
        segments = (0 if sentence_task == "none" else 2) if segments is None else segments
        for fault in self.option_faults({"replace": replace, "pair": sentence_task, "segments": segments}):
            raise InputError(f"model.{fault}")
        refuse_lacking(specials, vocab_size)
        self.mask_ratio, self.replace, self.mask_unit, self.sentence_task = (
            mask_ratio,
            replace,
            mask_unit,
            sentence_task,
        )
        self.cls, self.sep, self.mask_token = (specials[name] for name in ("cls", "sep", "mask"))
        self.network = Transformer(
            vocab_size, context, size=size, layers=layers, width=width, heads=heads, feedforward=feedforward,
            positions=positions, norm=norm, causal=False, segments=segments, activation=activation, dropout=dropout,
            attention_dropout=attention_dropout, norm_eps=norm_eps,
        )  # fmt: skip
        self.head = MaskedHead(self.network)
        self.pair_head = None if sentence_task == "none" else PairHead(self.network)
        special = np.isin(np.arange(vocab_size), list(specials.values()))  # (V,)
        self.register_buffer("ordinary", torch.tensor(np.flatnonzero(~special)), persistent=False)
        self.register_buffer("is_special", torch.tensor(special), persistent=False)

        # What it reads of a text.
        self.row_length, self.target_offset = context - (1 if sentence_task == "none" else 3), 0
        self.split_at_documents = sentence_task != "none"
        self.reads = ("ids",) if mask_unit == "token" else ("ids", "starts")
        self.reads += {"none": (), "sop": ("sentence_ends",), "nsp": ("sentence_ends", "document_id")}[sentence_task]
        self.hidden_per_row = max(1, round(mask_ratio * self.row_length))

    @staticmethod
    def option_faults(options: Mapping[str, Any]) -> Iterator[str]:
        """What no single option's type can say; `check` asks before any data is read."""
        replace = dict(options.get("replace") or {})
        if set(replace) != set(REPLACE):
            yield f"replace must have the shares mask, random and keep, not {', '.join(map(str, replace)) or 'none'}."
        elif abs(sum(replace.values()) - 1) > 1e-6:
            yield f"replace must have shares that add up to 1, not {sum(replace.values()):g}."
        pair, segments = options.get("pair", "none"), options.get("segments")
        if pair != "none" and segments is not None and segments < 2:
            yield f"segments must be 2 with pair={pair}, not {segments}: or leave it null."

    # --- what it sees and must say ---

    def make_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """A batch of text, `ids` (B, row_length), as forward takes it, with the draws of the moment.

        `inputs` (B, T) with special tokens, some hidden; `positions` and `targets` (B, n), IGNORED where a row has too
        few to hide. Of a pair also `segment` (B, T) and `pair` (B,); `document` (B, T) where documents are kept apart.
        """
        given = self._whole(batch) if self.sentence_task == "none" else self._paired(batch)
        ids = given.pop("ids")
        choice = select_masks(~self.is_special[ids], self.hidden_per_row, self.mask_unit, given.pop("starts", None))
        targets = ids.gather(1, choice.positions).masked_fill(~choice.real, IGNORED)
        inputs = corrupt(ids, choice, self.replace, self.mask_token, self.ordinary)
        return {"inputs": inputs, "positions": choice.positions, "targets": targets, **given}

    def _whole(self, batch: Batch) -> dict[str, Tensor]:
        """[CLS] TEXT; the [CLS] is of the first document."""
        given = {"ids": functional.pad(batch["ids"], (1, 0), value=self.cls)}
        if "starts" in self.reads:
            given["starts"] = functional.pad(batch["starts"], (1, 0), value=True)
        if "document" in batch:
            given["document"] = torch.cat([batch["document"][:, :1], batch["document"]], dim=1)
        return given

    def _paired(self, batch: Batch) -> dict[str, Tensor]:
        """[CLS] FIRST [SEP] SECOND [SEP]"""
        ends = batch["sentence_ends"]
        pair = in_order_or_swapped(ends) if self.sentence_task == "sop" else next_or_other(ends, batch["document_id"])
        given = {"ids": framed(pair.of(batch["ids"]), pair.first, self.cls, self.sep)}
        if "starts" in self.reads:
            given["starts"] = framed(pair.of(batch["starts"]), pair.first, True, True)
        return given | {"segment": segment_ids(self.row_length, pair.first), "pair": pair.label}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """loss a hidden token in nats, and the share of them guessed; with pairs the two losses and shares apart too"""
        given = self.make_inputs(batch)
        hidden, at = self._at_masks(given)
        table, targets = self.network.token_table.weight, given["targets"].flatten()
        loss, hits = cross_entropy_and_hits(at, table, self.head.bias, targets)
        if self.pair_head is None:
            return {"loss": loss, "masked_accuracy": hits}
        logits = self.pair_head(hidden)  # (B, 2)
        pair_loss = functional.cross_entropy(logits, given["pair"])
        pair_hits = (logits.argmax(1) == given["pair"]).float().mean()
        parts = {"masked_loss": loss.detach(), "pair_loss": pair_loss.detach()}
        return {"loss": loss + pair_loss, **parts, "masked_accuracy": hits, "pair_accuracy": pair_hits}

    def _at_masks(self, given: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What stands for each token (B, T, C), and for the hidden ones, ready for the table: (B * n, C)"""
        hidden = self.network(given["inputs"], given.get("segment"), given.get("document"))  # (B, T, C)
        n_rows, length, width = hidden.shape
        flat = given["positions"] + length * torch.arange(n_rows, device=hidden.device)[:, None]  # (B, n)
        return hidden, self.head.transform(hidden.reshape(-1, width).index_select(0, flat.flatten()))

    def derived_metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        """Perplexity of the hidden tokens, from the mean losses"""
        return {"perplexity": float(torch.tensor(means.get("masked_loss", means["loss"])).exp())}

    # --- what it says of text ---

    def masked_predictions(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """A batch as `prepare` gives it, and the logits of what is hidden in it, (B, n, V)"""
        given = self.make_inputs(batch)
        _, at = self._at_masks(given)
        logits = functional.linear(at, self.network.token_table.weight, self.head.bias)
        return given, logits.view(*given["positions"].shape, -1)

    def mask_logits(self, ids: Tensor) -> Tensor:
        """Text with mask tokens (B, T), without [CLS] and [SEP] around it -> logits (M, V) of the masks, row by row"""
        whole = functional.pad(functional.pad(ids, (1, 0), value=self.cls), (0, 1), value=self.sep)
        hidden = self.network(whole)  # (B, T + 2, C)
        return self.head(hidden[whole == self.mask_token], self.network.token_table.weight)

    def embed(self, batch: Batch) -> Tensor:
        """(B, C): the mean of what stands for each token of `ids` (B, L), but for the special ones"""
        given = self._whole(batch)
        hidden = self.network(given["ids"], document=given.get("document"))  # (B, T, C)
        counts = ~self.is_special[given["ids"]]  # (B, T)
        return (hidden * counts[..., None]).sum(1) / counts.sum(1, keepdim=True).clamp(min=1)


def refuse_lacking(specials: Mapping[str, int], vocab_size: int) -> None:
    """Raise InputError for a tokenizer without the tokens that hide and frame a text, or without any others."""
    if lacking := [name for name in NEEDED if name not in specials]:
        raise InputError(
            f"The tokenizer has no {' and no '.join(lacking)} token, which a masked language model needs; it has "
            f"{', '.join(specials) or 'no special tokens'}. Train one on the text with tokenizer=wordpiece."
        )
    if vocab_size <= len(set(specials.values())):
        raise InputError(f"The tokenizer has {vocab_size} tokens, all of them special: it needs a larger vocab_size.")
