"""Evaluate a language model on held-out text."""

from contextlib import nullcontext
from typing import Any

import torch

from ssl_cli.data.batches import ArrayDataset, ordered_loader
from ssl_cli.methods.scoring import device_of
from ssl_cli.methods.training_protocols import DerivedMetrics
from ssl_cli.models.cpu import tuned_for_large_matmuls
from ssl_cli.training.seeding import reseed

MEANINGS = {  # in the order of the report; all are of the held-out text that was evaluated
    "loss": "the training loss, in nats per predicted token; with sentence pairs, the sum of both losses",
    "masked_loss": "nats per masked token",
    "perplexity": "number of equally likely tokens that would be as hard to choose from",
    "bits_per_byte": "bits per byte of text: compares across tokenizers; only of those that lose nothing of it",
    "masked_accuracy": "share of masked tokens predicted",
    "accuracy": "share of the tokens to write that are predicted, given the right ones before each",
    "pair_loss": "nats per sentence pair",
    "pair_accuracy": "share of sentence pairs predicted; chance is a half",
}
TOKENS_PER_S = "train/tokens_per_s"


def evaluate(model: Any, rows: ArrayDataset, seed: int) -> dict[str, float]:
    """Return val/loss, val/perplexity, ...: means over all rows.

    Random draws follow from the seed and the index of the batch.
    """
    totals: dict[str, float] = {}
    device = device_of(model)
    tuned = tuned_for_large_matmuls() if device.type == "cpu" else nullcontext()
    with torch.inference_mode(), tuned:
        for batch in ordered_loader(rows.on(device), rows.eval_batch_size):
            arrays = {name: array for name, array in batch.items() if isinstance(array, torch.Tensor)}
            reseed(seed, batch["k"], 0, device)
            for name, value in model({name: array.to(device) for name, array in arrays.items()}).items():
                totals[name] = totals.get(name, 0.0) + float(value) * batch["weight"]
    means = {name: total / len(rows) for name, total in totals.items()}
    derived = model.derived_metrics(means) if isinstance(model, DerivedMetrics) else {}
    return {f"val/{name}": value for name, value in {**means, **derived}.items()}


def median_throughput(history: list[dict[str, float]], name: str = TOKENS_PER_S) -> dict[str, float]:
    """Return the median of a throughput over the rows of history.csv, by its name; empty if it has none."""
    values = sorted(row[name] for row in history if row.get(name))
    return {name: values[len(values) // 2]} if values else {}
