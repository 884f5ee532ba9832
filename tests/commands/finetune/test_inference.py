"""Predictions of many rows: in order, and independent of what is packed in the same row."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from ssl_cli.commands.finetune import inference
from ssl_cli.data.labelled.packed_examples import PackedExamples, TokenizedSequences
from ssl_cli.methods.supervised.sequence_classification import SequenceClassificationHead
from ssl_cli.models.transformer import Transformer


def model_of(**options: Any) -> SequenceClassificationHead:
    torch.manual_seed(0)
    network = Transformer(50, 128, layers=2, width=32, heads=2, segments=2, norm="pre", **options)
    model = SequenceClassificationHead(network, 3, dropout=0.5)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return model.train()


def rows_of(n: int, parts: bool = False) -> PackedExamples:
    rng = np.random.default_rng(0)
    ids = [rng.integers(1, 50, rng.integers(1, 120)).tolist() for _ in range(n)]
    listed = {"ids": ids, "segment": [[0] * (len(one) // 2) + [1] * (len(one) - len(one) // 2) for one in ids]}
    bounds = np.array([0, *range(3, n, 2), n]) if parts else None
    number = np.arange(n if bounds is None else len(bounds) - 1)
    return PackedExamples(TokenizedSequences.from_lists(listed), {}, number, bounds)


@pytest.mark.parametrize("causal", [False, True])
def test_each_prediction_is_the_same_as_alone(causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "BATCH_TOKENS", 500)
    model, rows = model_of(causal=causal), rows_of(40)
    found = inference.predict_all(model, rows, "32-true")
    model.eval()
    with torch.no_grad():
        for k, logits in enumerate(found):
            one = slice(rows.sequence_starts[k], rows.sequence_starts[k] + rows.sequences.length[k])
            ids, segment = (rows.tokens[name][one][None].long() for name in ("ids", "segment"))
            hidden = model.network(ids, segment)[0]
            alone = model.decide(model.pool(hidden[-1 if causal else 0]).tanh())
            np.testing.assert_allclose(logits, alone.numpy(), atol=1e-4)
    assert len(found) == 40


def test_the_model_is_unchanged() -> None:
    model, rows = model_of(), rows_of(5)
    model.validation_metrics = lambda seen: {}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = inference.predict_all(model, rows, "bf16-true"), inference.predict_all(model, rows, "32-true")
    assert model.training and model.validation_metrics is not None
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(logits.dtype == np.float32 for logits in first)
    np.testing.assert_allclose(np.stack(first), np.stack(second), atol=0.5)
    assert not np.array_equal(np.stack(first), np.stack(second))


def test_batches_are_limited_in_tokens_but_have_an_example() -> None:
    rows = rows_of(30, parts=True)
    size = inference.tokens_per_example(rows)
    assert rows.example_offsets is not None
    assert size.tolist() == [int(rows.sequences.length[a:b].sum()) for a, b in pairwise(rows.example_offsets)]
    found = list(inference.batches(rows, 150))
    counts = [int(batch["example"].max()) + 1 for batch in found]
    assert sum(counts) == len(rows)
    for start, count in zip(np.cumsum([0, *counts[:-1]]), counts, strict=True):
        assert count == 1 or size[start : start + count].sum() <= 150
        assert start + count == len(rows) or size[start : start + count + 1].sum() > 150
