"""SequenceClassificationHead: packed examples against each one alone."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from ssl_cli.data.labelled.packed_examples import PackedExamples, TokenizedSequences
from ssl_cli.methods.supervised.sequence_classification import SequenceClassificationHead
from ssl_cli.models.transformer import Transformer

LENGTHS = [5, 60, 31, 9, 80, 3]
SEGMENTS = 2


def network(causal: bool = False, **options: object) -> Transformer:
    torch.manual_seed(0)
    shape = {"layers": 2, "width": 32, "heads": 2, "context": 128, "dropout": 0.0, "positions": "learned"}
    transformer = Transformer(50, causal=causal, segments=SEGMENTS, **shape | options)  # type: ignore[arg-type]
    with torch.no_grad():
        for weight in transformer.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return transformer


def rows(parts: list[int] | None = None) -> PackedExamples:
    draw = np.random.default_rng(0)
    ids = [draw.integers(1, 50, length).tolist() for length in LENGTHS]
    segment = [[0] * (length // 2) + [1] * (length - length // 2) for length in LENGTHS]
    n = len(LENGTHS) if parts is None else len(parts) - 1
    label = np.array([0, 2, 1, 0, 1, 2])[:n] if parts is None else np.array([1, 0, 0])
    sequences = TokenizedSequences.from_lists({"ids": ids, "segment": segment})
    return PackedExamples(sequences, {"label": label}, np.arange(n), None if parts is None else np.array(parts))


def alone(model: SequenceClassificationHead, examples: PackedExamples, k: int) -> torch.Tensor:
    """Return the scores (n_labels,) of a sequence alone, as in BERT's paper."""
    begin = examples.sequence_starts[k]
    ids, segment = (examples.tokens[name][begin : begin + LENGTHS[k]][None] for name in ("ids", "segment"))
    hidden = model.network(ids, segment)[0]
    summary = hidden[-1] if model.network.causal else hidden[0]
    return model.decide(torch.tanh(model.pool(summary)))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_packed_examples_are_predicted_as_each_alone(causal: bool, positions: str) -> None:
    model = SequenceClassificationHead(network(causal, positions=positions), 3, dropout=0.0).eval()
    examples = rows()
    predictions = model.predict_batch(examples[0, torch.tensor([3, 1, 0, 4]), 1.0])
    for prediction, k in zip(predictions, (3, 1, 0, 4), strict=True):
        assert np.allclose(prediction, alone(model, examples, k).detach().numpy(), atol=1e-5)


def test_the_loss_is_the_mean_cross_entropy() -> None:
    model, examples = SequenceClassificationHead(network(), 3, dropout=0.0).eval(), rows()
    expected = [functional.cross_entropy(alone(model, examples, i), examples.targets["label"][i]) for i in range(6)]
    assert model(examples[0, slice(0, 6), 1.0])["loss"].item() == pytest.approx(sum(expected).item() / 6, abs=1e-5)


def test_regression_has_the_squared_error() -> None:
    model, examples = SequenceClassificationHead(network(), 1, kind="regression", dropout=0.0).eval(), rows()
    examples.targets["label"] = torch.tensor([0.0, 2.5, 1.0, 4.0, 5.0, 3.0], dtype=torch.float64)
    expected = [(alone(model, examples, i).item() - float(examples.targets["label"][i])) ** 2 for i in range(6)]
    assert model(examples[0, slice(0, 6), 1.0])["loss"].item() == pytest.approx(sum(expected) / 6, rel=1e-4)


def test_multiple_choice_is_over_the_options_of_an_example() -> None:
    model, examples = (
        SequenceClassificationHead(network(), 1, kind="multiple_choice", dropout=0.0).eval(),
        rows(parts=[0, 2, 5, 6]),
    )
    batch = examples[0, torch.tensor([1, 0, 2]), 1.0]
    scores = [alone(model, examples, k) for k in range(6)]
    by_example = [torch.cat(scores[2:5]), torch.cat(scores[0:2]), torch.cat(scores[5:6])]
    labels = [0, 1, 0]  # of the examples 1, 0, 2
    expected = [-one.log_softmax(0)[label] for one, label in zip(by_example, labels, strict=True)]
    assert float(model(batch)["loss"]) == pytest.approx(sum(expected).item() / 3, abs=1e-5)
    for prediction, wanted in zip(model.predict_batch(batch), by_example, strict=True):
        assert np.allclose(prediction, wanted.detach().numpy(), atol=1e-5)


def test_validation_metrics_get_all_predictions_of_evaluation_and_none_of_training() -> None:
    model, examples = SequenceClassificationHead(network(), 3).train(), rows()
    counts: list[int] = []

    def validation_metrics(predictions: object) -> dict[str, float]:
        counts.append(len(predictions))  # type: ignore[arg-type]
        return {"accuracy": 0.5}

    model.validation_metrics = validation_metrics
    model(examples[0, slice(0, 6), 1.0])
    assert model.epoch_metrics() == {}
    model.eval()
    with torch.no_grad():
        for batch in (examples[0, slice(0, 4), 1.0], examples[1, slice(4, 6), 1.0]):
            model(batch)
    assert model.epoch_metrics() == {"accuracy": 0.5} and counts == [6]
    assert model.epoch_metrics() == {}, "the next validation starts again"


def test_no_gradient_leaks_between_packed_examples() -> None:
    model, examples = SequenceClassificationHead(network(), 3, dropout=0.0), rows()
    batch = examples[0, slice(0, 6), 1.0]
    embedded = model.network.token_table(batch["ids"]).detach().requires_grad_()
    model.network.token_table.forward = lambda _: embedded  # type: ignore[method-assign]
    logits = model.logits(model.hidden(batch), batch)
    logits[2].sum().backward()
    touched = embedded.grad.abs().sum(-1).flatten() > 0
    own = slice(int(batch["begin"][2]), int(batch["begin"][2] + batch["length"][2]))
    assert touched[own].all() and touched.sum() == LENGTHS[2]
