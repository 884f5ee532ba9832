"""What a model guesses of many examples, in their order: batches of about as many tokens, packed without padding."""

import copy
from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import torch

from ssl_cli.data.batches import ordered_loader
from ssl_cli.data.labelled.packed_examples import PackedExamples
from ssl_cli.methods.scoring import device_of
from ssl_cli.methods.supervised.head import RawPredictions, SupervisedHead
from ssl_cli.models.cpu import for_large_products
from ssl_cli.models.generation.packed_weights import Precision, chosen_type

HALVES = {"bf16-mixed": torch.bfloat16, "bf16-true": torch.bfloat16, "16-mixed": torch.float16}
TOKENS = 8192  # of a batch, so that memory doesn't grow with the rows; one example at least


def predict_all(model: SupervisedHead, rows: PackedExamples, precision: Precision = "auto") -> RawPredictions:
    """What `model.guess` gives for each of the rows, on the model's device; the model is left as it was."""
    return predict_ready(ready(model, precision), rows)


def predict_like_validation(model: SupervisedHead, rows: PackedExamples, precision: str) -> RawPredictions:
    """What a validation in training would have found: in the same batches and at Lightning's `precision`, so that the
    final figures are those by which the best weights were chosen."""
    device = device_of(model)
    kind = HALVES.get(precision)
    numbers = nullcontext() if kind is None else torch.autocast(device.type, kind)
    with torch.inference_mode(), for_large_products() if device.type == "cpu" else nullcontext(), numbers:
        return [
            one for batch in ordered_loader(rows.on(device), rows.eval_batch_size) for one in model.predict_batch(batch)
        ]


def ready(model: SupervisedHead, precision: Precision = "auto") -> SupervisedHead:
    """A copy for `guessed`. auto: in bfloat16 where the device has it.

    With 6 layers of 384 on a CPU that has it (one thread, 320 short texts) it takes 0.66 s, by autocast, which makes
    the weights anew for each batch, 0.72 s, and in float32 1.40 s.
    """
    judge, model.validation_metrics = model.validation_metrics, None  # it may hold on to all examples
    try:
        return copy.deepcopy(model).to(chosen_type(precision, device_of(model))).eval()
    finally:
        model.validation_metrics = judge


def predict_ready(model: SupervisedHead, rows: PackedExamples) -> RawPredictions:
    """What a model that is ready guesses of each of the rows."""
    with torch.inference_mode(), for_large_products():
        return [one for batch in batches(rows.on(device_of(model))) for one in model.predict_batch(batch)]


def batches(rows: PackedExamples, tokens: int = TOKENS) -> Iterator[dict]:
    """All rows once, in order."""
    ends = np.cumsum(tokens_of(rows))
    start = 0
    while start < len(rows):
        before = ends[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + tokens, side="right")))
        yield rows[0, slice(start, end), 1.0]
        start = end


def tokens_of(rows: PackedExamples) -> np.ndarray:
    """(E,): of each example, all its sequences together"""
    length = rows.sequences.length
    return length if rows.parts is None else np.diff(np.r_[0, np.cumsum(length)][rows.parts])
