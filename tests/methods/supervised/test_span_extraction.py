import numpy as np
import torch

from ssl_cli.data.labelled.packed_examples import IGNORED, PackedExamples, TokenizedSequences
from ssl_cli.methods.supervised.span_extraction import SpanExtractionHead
from ssl_cli.models.transformer import Transformer

LENGTHS = [12, 60, 31, 9, 100, 5]


def model() -> SpanExtractionHead:
    torch.manual_seed(0)
    network = Transformer(50, 128, layers=2, width=32, heads=2, positions="learned", segments=2, dropout=0.0)
    made = SpanExtractionHead(network, dropout=0.0).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return made


def rows() -> PackedExamples:
    """Windows in which the first token and those after the fourth may be chosen"""
    draw = np.random.default_rng(0)
    listed = {
        "ids": [draw.integers(1, 50, length).tolist() for length in LENGTHS],
        "segment": [[0] * 4 + [1] * (length - 4) for length in LENGTHS],
        "allowed": [[1, 0, 0, 0] + [1] * (length - 4) for length in LENGTHS],
    }
    start = np.array([5, 0, 8, IGNORED, 40, 4])
    end = np.array([6, 0, 30, IGNORED, 99, 4])
    return PackedExamples(TokenizedSequences.of(listed), {"start": start, "end": end}, np.arange(len(LENGTHS)))


def alone(made: SpanExtractionHead, some: PackedExamples, number: int) -> torch.Tensor:
    """A window by itself: start and end logits (2, length), as sec. 4.2 has it"""
    at = slice(int(some.starts[number]), int(some.starts[number]) + LENGTHS[number])
    hidden = made.network(some.tokens["ids"][at][None], some.tokens["segment"][at][None])[0]
    return (made.decide(hidden).T).masked_fill(some.tokens["allowed"][at] == 0, -torch.inf)


def test_loss_is_that_of_each_window_by_itself() -> None:
    made, some = model(), rows()
    found = made(some[0, np.arange(len(LENGTHS)), 1.0])
    losses = [
        -(alone(made, some, k).log_softmax(1)[side, some.targets[name][k]])
        for side, name in enumerate(("start", "end"))
        for k in range(len(LENGTHS))
        if some.targets[name][k] != IGNORED
    ]
    torch.testing.assert_close(found["loss"], torch.stack(losses).mean())
    torch.testing.assert_close((found["start_loss"] + found["end_loss"]) / 2, found["loss"].detach())


def test_guesses_are_in_order_and_cover_only_what_is_allowed() -> None:
    made, some = model(), rows()
    order = np.array([4, 0, 5, 2])
    for number, guess in zip(order, made.predict_batch(some[0, order, 1.0]), strict=True):
        expected = alone(made, some, number)
        torch.testing.assert_close(torch.from_numpy(guess), expected.detach(), atol=1e-5, rtol=1e-5)
        assert np.isinf(guess[:, 1:4]).all() and np.isfinite(guess[:, 4:]).all()


def test_a_batch_without_any_target_has_no_loss_and_no_gradient_that_is_not_a_number() -> None:
    made = model()
    loss = made(rows()[0, np.array([3]), 1.0])["loss"]
    loss.backward()
    assert loss.item() == 0
    assert all(torch.isfinite(weight.grad).all() for weight in made.parameters() if weight.grad is not None)
