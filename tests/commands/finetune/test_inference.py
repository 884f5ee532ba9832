"""Predictions of many rows: in order, and independent of what is packed in the same row."""

from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

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
    return model.eval()


def rows_of(n: int) -> PackedExamples:
    rng = np.random.default_rng(0)
    ids = [rng.integers(1, 50, rng.integers(1, 120)).tolist() for _ in range(n)]
    listed = {"ids": ids, "segment": [[0] * (len(one) // 2) + [1] * (len(one) - len(one) // 2) for one in ids]}
    return PackedExamples(TokenizedSequences.from_lists(listed), {}, np.arange(n))


@pytest.mark.parametrize("causal", [False, True])
def test_each_prediction_is_the_same_as_alone(causal: bool) -> None:
    model, rows = model_of(causal=causal), rows_of(150)
    found = inference.predict_all(model, rows, "32-true")
    with torch.no_grad():
        for k, logits in enumerate(found):
            one = slice(rows.sequence_starts[k], rows.sequence_starts[k] + rows.sequences.length[k])
            ids, segment = (rows.tokens[name][one][None].long() for name in ("ids", "segment"))
            hidden = model.network(ids, segment)[0]
            alone = model.decide(model.pool(hidden[-1 if causal else 0]).tanh())
            np.testing.assert_allclose(logits, alone.numpy(), atol=1e-5)
    assert len(found) == 150


def test_half_precision_is_near_and_changes_no_weight() -> None:
    model, rows = model_of(), rows_of(5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = inference.predict_all(model, rows, "bf16-mixed"), inference.predict_all(model, rows, "32-true")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(logits.dtype == np.float32 for logits in first)
    np.testing.assert_allclose(np.stack(first), np.stack(second), atol=0.5)
    assert not np.array_equal(np.stack(first), np.stack(second))


@pytest.mark.parametrize(
    ("of_run", "has_bf16", "expected"),
    [("auto", True, "bf16-mixed"), ("auto", False, "32-true"), ("32-true", True, "32-true"), (None, False, "32-true")],
)
def test_the_precision_is_that_of_the_run(
    monkeypatch: pytest.MonkeyPatch, of_run: str | None, has_bf16: bool, expected: str
) -> None:
    monkeypatch.setattr(inference, "has_bf16", lambda device: has_bf16)
    cfg = OmegaConf.create({} if of_run is None else {"trainer": {"precision": of_run}})
    assert inference.precision_of(cfg, torch.device("cpu")) == expected
