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
    made = Transformer(50, causal=causal, segments=SEGMENTS, **shape | options)  # type: ignore[arg-type]
    with torch.no_grad():
        for weight in made.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return made


def rows(parts: list[int] | None = None) -> PackedExamples:
    draw = np.random.default_rng(0)
    ids = [draw.integers(1, 50, length).tolist() for length in LENGTHS]
    segment = [[0] * (length // 2) + [1] * (length - length // 2) for length in LENGTHS]
    n = len(LENGTHS) if parts is None else len(parts) - 1
    label = np.array([0, 2, 1, 0, 1, 2])[:n] if parts is None else np.array([1, 0, 0])
    sequences = TokenizedSequences.of({"ids": ids, "segment": segment})
    return PackedExamples(sequences, {"label": label}, np.arange(n), None if parts is None else np.array(parts))


def alone(model: SequenceClassificationHead, some: PackedExamples, number: int) -> torch.Tensor:
    """A sequence by itself through the network, as BERT's paper has it (n_labels,)"""
    begin = some.starts[number]
    ids, segment = (some.tokens[name][begin : begin + LENGTHS[number]][None] for name in ("ids", "segment"))
    hidden = model.network(ids, segment)[0]
    summary = hidden[-1] if model.network.causal else hidden[0]
    return model.decide(torch.tanh(model.pool(summary)))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_packed_examples_are_judged_as_each_alone(causal: bool, positions: str) -> None:
    model = SequenceClassificationHead(network(causal, positions=positions), 3, dropout=0.0).eval()
    some = rows()
    guesses = model.predict_batch(some[0, torch.tensor([3, 1, 0, 4]), 1.0])
    for guess, number in zip(guesses, (3, 1, 0, 4), strict=True):
        assert np.allclose(guess, alone(model, some, number).detach().numpy(), atol=1e-5)


def test_the_loss_is_the_mean_cross_entropy() -> None:
    model, some = SequenceClassificationHead(network(), 3, dropout=0.0).eval(), rows()
    expected = [functional.cross_entropy(alone(model, some, i), some.targets["label"][i]) for i in range(6)]
    assert model(some[0, slice(0, 6), 1.0])["loss"].item() == pytest.approx(sum(expected).item() / 6, abs=1e-5)


def test_a_number_is_learned_by_its_squared_error() -> None:
    model, some = SequenceClassificationHead(network(), 1, kind="regression", dropout=0.0).eval(), rows()
    some.targets["label"] = torch.tensor([0.0, 2.5, 1.0, 4.0, 5.0, 3.0], dtype=torch.float64)
    expected = [(alone(model, some, i).item() - float(some.targets["label"][i])) ** 2 for i in range(6)]
    assert model(some[0, slice(0, 6), 1.0])["loss"].item() == pytest.approx(sum(expected) / 6, rel=1e-4)


def test_options_compete_with_those_of_their_own_example_alone() -> None:
    model, some = (
        SequenceClassificationHead(network(), 1, kind="multiple_choice", dropout=0.0).eval(),
        rows(parts=[0, 2, 5, 6]),
    )
    batch = some[0, torch.tensor([1, 0, 2]), 1.0]
    scores = [alone(model, some, number) for number in range(6)]
    by_example = [torch.cat(scores[2:5]), torch.cat(scores[0:2]), torch.cat(scores[5:6])]
    labels = [0, 1, 0]  # of the examples 1, 0, 2
    expected = [-one.log_softmax(0)[label] for one, label in zip(by_example, labels, strict=True)]
    assert float(model(batch)["loss"]) == pytest.approx(sum(expected).item() / 3, abs=1e-5)
    for guess, wanted in zip(model.predict_batch(batch), by_example, strict=True):
        assert np.allclose(guess, wanted.detach().numpy(), atol=1e-5)


def test_the_judge_hears_all_guesses_of_evaluation_and_none_of_training() -> None:
    model, some = SequenceClassificationHead(network(), 3).train(), rows()
    heard: list[int] = []

    def judge(guesses: object) -> dict[str, float]:
        heard.append(len(guesses))  # type: ignore[arg-type]
        return {"accuracy": 0.5}

    model.validation_metrics = judge
    model(some[0, slice(0, 6), 1.0])
    assert model.epoch_metrics() == {}
    model.eval()
    with torch.no_grad():
        for batch in (some[0, slice(0, 4), 1.0], some[1, slice(4, 6), 1.0]):
            model(batch)
    assert model.epoch_metrics() == {"accuracy": 0.5} and heard == [6]
    assert model.epoch_metrics() == {}, "the next validation begins anew"


def test_no_gradient_leaks_between_packed_examples() -> None:
    model, some = SequenceClassificationHead(network(), 3, dropout=0.0), rows()
    batch = some[0, slice(0, 6), 1.0]
    embedded = model.network.token_table(batch["ids"]).detach().requires_grad_()
    model.network.token_table.forward = lambda _: embedded  # type: ignore[method-assign]
    logits = model.logits(model.hidden(batch), batch)
    logits[2].sum().backward()
    touched = embedded.grad.abs().sum(-1).flatten() > 0
    own = slice(int(batch["begin"][2]), int(batch["begin"][2] + batch["length"][2]))
    assert touched[own].all() and touched.sum() == LENGTHS[2]
