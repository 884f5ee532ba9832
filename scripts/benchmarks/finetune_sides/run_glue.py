"""Sentences and pairs as in transformers' example run_glue.py, with its metrics from scikit-learn and SciPy."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from transformers import AutoModelForSequenceClassification

METRICS: dict[str, Any] = {
    "accuracy": accuracy_score,
    "f1": f1_score,
    "matthews": matthews_corrcoef,
    "pearson": lambda labels, predictions: pearsonr(labels, predictions)[0],
    "spearman": lambda labels, predictions: spearmanr(labels, predictions)[0],
}


def model(checkpoint: Path, n_labels: int) -> Any:
    """Return the checkpoint with a new classification head."""
    return AutoModelForSequenceClassification.from_pretrained(checkpoint, num_labels=n_labels)


def rows(folder: Path, split: str, tokenizer: Any, max_length: int, padded: bool) -> Any:
    """Return a data set of `datasets`, with each row's length for the sampler that groups by length."""

    def tokenize(examples: dict[str, list]) -> dict[str, list]:
        texts = [examples[name] for name in ("text", "pair") if name in examples]
        encoding = tokenizer(*texts, padding="max_length" if padded else False, max_length=max_length, truncation=True)
        return {**encoding, "length": [len(ids) for ids in encoding["input_ids"]]}

    lines = datasets.load_dataset(
        "json", data_files=str(folder / f"{split}.jsonl"), split="train", cache_dir=str(folder / "datasets")
    )
    return lines.map(tokenize, batched=True)


def metrics(logits: np.ndarray, labels: list[float], names: tuple[str, ...]) -> dict[str, float]:
    """Return metrics by name of logits (N, n_labels), or (N, 1) for a regression."""
    predictions = logits[:, 0] if logits.shape[1] == 1 else logits.argmax(1)
    return {name: float(METRICS[name](labels, predictions)) for name in names}
