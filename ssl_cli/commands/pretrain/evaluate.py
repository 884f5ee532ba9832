"""How well a model guesses text that it hasn't seen."""

from contextlib import nullcontext
from typing import Any

import torch

from ssl_cli.data.batches import ArrayDataset, ordered_loader
from ssl_cli.methods.protocols import DerivedMetrics
from ssl_cli.methods.scoring import device_of
from ssl_cli.models.cpu import for_large_products
from ssl_cli.training.seeding import reseed

MEANINGS = {  # in the order they are told; all of held-out text, of as much as was measured
    "loss": "what was minimised: nats a guess; of a pair the two losses added",
    "masked_loss": "nats a hidden token",
    "perplexity": "how many tokens, equally likely, would be as hard to guess among",
    "bits_per_byte": "bits a byte of text: compares across tokenizers; only of those that lose nothing of it",
    "masked_accuracy": "share of hidden tokens guessed",
    "pair_loss": "nats a pair",
    "pair_accuracy": "share of pairs told right; chance is a half",
}
SPEED = "train/tokens_per_s"


def measure(model: Any, rows: ArrayDataset, seed: int) -> dict[str, float]:
    """Means over all rows: val/loss, val/perplexity, ... Draws follow from the seed and each batch's number."""
    totals: dict[str, float] = {}
    device = device_of(model)
    fast = for_large_products() if device.type == "cpu" else nullcontext()
    with torch.inference_mode(), fast:
        for batch in ordered_loader(rows.on(device), rows.eval_batch_size):
            arrays = {name: array for name, array in batch.items() if isinstance(array, torch.Tensor)}
            reseed(seed, batch["k"], 0, device)
            for name, value in model({name: array.to(device) for name, array in arrays.items()}).items():
                totals[name] = totals.get(name, 0.0) + float(value) * batch["weight"]
    means = {name: total / len(rows) for name, total in totals.items()}
    derived = model.derived_metrics(means) if isinstance(model, DerivedMetrics) else {}
    return {f"val/{name}": value for name, value in {**means, **derived}.items()}


def pace(history: list[dict[str, float]], name: str = SPEED) -> dict[str, float]:
    """Training tokens a second, or what else is counted: the median over the rows of history.csv"""
    paces = sorted(row[name] for row in history if row.get(name))
    return {name: paces[len(paces) // 2]} if paces else {}
