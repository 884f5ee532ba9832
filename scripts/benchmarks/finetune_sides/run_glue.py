"""Sentences and pairs as transformers' example run_glue.py reads them, and its metrics by scikit-learn and SciPy."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from transformers import AutoModelForSequenceClassification

MEASURES: dict[str, Any] = {
    "accuracy": accuracy_score,
    "f1": f1_score,
    "matthews": matthews_corrcoef,
    "pearson": lambda truth, given: pearsonr(truth, given)[0],
    "spearman": lambda truth, given: spearmanr(truth, given)[0],
}


def model(checkpoint: Path, n_labels: int) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(checkpoint, num_labels=n_labels)


def rows(folder: Path, split: str, tokenizer: Any, max_length: int, padded: bool) -> Any:
    """A data set of `datasets`, with each row's length for the sampler that groups by it."""

    def tokenize(examples: dict[str, list]) -> dict[str, list]:
        texts = [examples[name] for name in ("text", "pair") if name in examples]
        found = tokenizer(*texts, padding="max_length" if padded else False, max_length=max_length, truncation=True)
        return {**found, "length": [len(ids) for ids in found["input_ids"]]}

    lines = datasets.load_dataset(
        "json", data_files=str(folder / f"{split}.jsonl"), split="train", cache_dir=str(folder / "datasets")
    )
    return lines.map(tokenize, batched=True)


def metrics(logits: np.ndarray, labels: list[float], names: tuple[str, ...]) -> dict[str, float]:
    given = logits[:, 0] if logits.shape[1] == 1 else logits.argmax(1)
    return {name: float(MEASURES[name](labels, given)) for name in names}
