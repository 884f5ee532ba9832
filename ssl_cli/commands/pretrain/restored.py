"""Restored texts: what an encoder-decoder writes for held-out sources, beside what is right."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby, pairwise
from typing import Any

import torch
from torch import Tensor

from ssl_cli.commands.pretrain.predicted_text import PredictedText, TextPiece, visible_breaks
from ssl_cli.data.tokenizers.seq2seq_template import Seq2SeqTemplate
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.methods.scoring import device_of
from ssl_cli.training.seeding import reseed

NOTHING = "-"  # where a token is missing in what was written, or one too many


@dataclass(frozen=True)
class RestoredText(PredictedText):
    """What was written for a source, in pieces: those that the source does not show, and those that are wrong, are
    predictions. Beside it are the source as the model reads it, and the right target."""

    source: str = ""
    right: str = ""

    def __str__(self) -> str:
        return f"source: {self.source}\nwrote: {super().__str__()}\nright: {self.right}"


def restore_rows(model: Any, tokenizer: Tokenizer, batch: Mapping[str, Tensor], seed: int) -> list[RestoredText]:
    """Return each row of text as it is corrupted, and what the model writes for it."""
    device = device_of(model)
    reseed(seed, 0, 0, device)
    with torch.inference_mode():
        inputs = model.make_inputs({name: part.to(device) for name, part in batch.items() if isinstance(part, Tensor)})
        written = write_greedily(model, inputs)
    columns = [inputs[name].tolist() for name in ("source", "targets", "missing")]
    return [
        restored_text(tokenizer, model.template, source, target, missing, tokens)
        for source, target, missing, tokens in zip(*columns, written.tolist(), strict=True)
    ]


def restored_text(
    tokenizer: Tokenizer,
    template: Seq2SeqTemplate,
    source: list[int],
    target: list[int],
    missing: list[bool],
    written: list[int],
) -> RestoredText:
    """Return one row without the template's special tokens; a fragment has none around its target."""
    first, last = len(template.source_prefix), len(source) - len(template.source_suffix)
    if target[-1] == template.end:
        prefix = len(template.target_prefix)
        written = cut_at_end(written, target, template.end)[prefix:]
        target, missing = target[prefix:-1], missing[prefix:-1]
    spans = set(target) & set(tokenizer.sentinels)
    pieces = compare_spans(tokenizer, written, target) if spans else compare(tokenizer, written, target, missing)
    shown = visible_text(tokenizer, source[first:last])
    return RestoredText(list(pieces)[:-1], shown, visible_text(tokenizer, target))


def write_greedily(model: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the likeliest token, one after another, as many as the targets have: (B, T).

    The template's first tokens are given.
    """
    network, n_given = model.network, 1
    targets, position = inputs["targets"], inputs.get("position")
    if position is None:
        n_given += len(model.template.target_prefix)
    memory = network.encode(inputs["source"])
    cache = network.new_cache(memory, None, targets.shape[1])
    read, written = inputs["inputs"][:, :n_given], [targets[:, : n_given - 1]]
    while cache.length < targets.shape[1]:
        place = None if position is None else position[:, cache.length : cache.length + read.shape[1]]
        hidden = network.decode(read, None, position=place, cache=cache)
        read = network.logits(hidden[:, -1:]).argmax(-1)  # (B, 1)
        written.append(read)
    return torch.cat(written, 1)


def cut_at_end(written: list[int], target: Sequence[int], end: int) -> list[int]:
    """Return what was written up to its end: a target may have the same token between documents, too."""
    ends = [k for k, token in enumerate(written) if token == end]
    n_ends = target.count(end)
    return written[: ends[n_ends - 1]] if n_ends <= len(ends) else written


def compare_spans(tokenizer: Tokenizer, written: list[int], target: list[int]) -> Iterator[TextPiece]:
    """Yield each sentinel of the target, and the span that was written after it."""
    own, right = (spans_by_sentinel(tokenizer, ids) for ids in (written, target))
    for sentinel, span in right.items():
        yield TextPiece(f"{tokenizer.token(sentinel)} ")
        yield TextPiece(prediction=own.get(sentinel) or NOTHING, target=span)
        yield TextPiece(" ")


def spans_by_sentinel(tokenizer: Tokenizer, ids: list[int]) -> dict[int, str]:
    """Return the text after the first occurrence of each sentinel, up to the next one."""
    places = [k for k, token in enumerate(ids) if token in tokenizer.sentinels]
    spans = dict[int, str]()
    for start, stop in pairwise([*places, len(ids)]):
        spans.setdefault(ids[start], visible_text(tokenizer, ids[start + 1 : stop]))
    return spans


def compare(tokenizer: Tokenizer, tokens: list[int], target: list[int], missing: list[bool]) -> Iterator[TextPiece]:
    """Yield what was written, in pieces, aligned with the target; `missing` are the targets that no source shows."""
    for kind, start, stop, first, last in SequenceMatcher(None, tokens, target, autojunk=False).get_opcodes():
        if kind != "equal":
            own, right = (visible_text(tokenizer, ids) for ids in (tokens[start:stop], target[first:last]))
            yield from (TextPiece(prediction=own or NOTHING, target=right or NOTHING), TextPiece(" "))
            continue
        for is_missing, places in groupby(range(first, last), missing.__getitem__):
            text = visible_text(tokenizer, [target[place] for place in places])
            yield from (TextPiece(prediction=text, target=text) if is_missing else TextPiece(text), TextPiece(" "))


def visible_text(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Return a text on one line, with special tokens by name, between spaces."""
    special = {*tokenizer.specials.values(), *tokenizer.sentinels}
    parts = []
    for is_special, group in groupby(ids, special.__contains__):
        tokens = list(group)
        parts += [tokenizer.token(token) for token in tokens] if is_special else [tokenizer.decode(tokens).strip()]
    return visible_breaks(" ".join(part for part in parts if part))
