"""SpanExtractionHead: packed windows against each one alone."""

import numpy as np
import torch

from ssl_cli.data.labelled.packed_examples import IGNORE_INDEX, PackedExamples, TokenizedSequences
from ssl_cli.methods.supervised.span_extraction import SpanExtractionHead
from ssl_cli.models.transformer import Transformer

LENGTHS = [12, 60, 31, 9, 100, 5]


def model() -> SpanExtractionHead:
    torch.manual_seed(0)
    network = Transformer(50, 128, layers=2, width=32, heads=2, positions="learned", segments=2, dropout=0.0)
    head = SpanExtractionHead(network, dropout=0.0).eval()
    with torch.no_grad():
        for weight in head.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return head


def rows() -> PackedExamples:
    """Return windows in which the first token and those after the fourth are allowed."""
    draw = np.random.default_rng(0)
    lists = {
        "ids": [draw.integers(1, 50, length).tolist() for length in LENGTHS],
        "segment": [[0] * 4 + [1] * (length - 4) for length in LENGTHS],
        "allowed": [[1, 0, 0, 0] + [1] * (length - 4) for length in LENGTHS],
    }
    start = np.array([5, 0, 8, IGNORE_INDEX, 40, 4])
    end = np.array([6, 0, 30, IGNORE_INDEX, 99, 4])
    return PackedExamples(TokenizedSequences.from_lists(lists), {"start": start, "end": end}, np.arange(len(LENGTHS)))


def alone(head: SpanExtractionHead, windows: PackedExamples, k: int) -> torch.Tensor:
    """Return the start and end scores (2, length) of a window alone, as in sec. 4.2."""
    at = slice(int(windows.sequence_starts[k]), int(windows.sequence_starts[k]) + LENGTHS[k])
    hidden = head.network(windows.tokens["ids"][at][None], windows.tokens["segment"][at][None])[0]
    return (head.decide(hidden).T).masked_fill(windows.tokens["allowed"][at] == 0, -torch.inf)


def test_loss_is_that_of_each_window_alone() -> None:
    head, windows = model(), rows()
    losses_of_batch = head(windows[0, np.arange(len(LENGTHS)), 1.0])
    losses = [
        -(alone(head, windows, k).log_softmax(1)[side, windows.targets[name][k]])
        for side, name in enumerate(("start", "end"))
        for k in range(len(LENGTHS))
        if windows.targets[name][k] != IGNORE_INDEX
    ]
    torch.testing.assert_close(losses_of_batch["loss"], torch.stack(losses).mean())
    torch.testing.assert_close(
        (losses_of_batch["start_loss"] + losses_of_batch["end_loss"]) / 2, losses_of_batch["loss"].detach()
    )


def test_predictions_are_in_order_and_only_where_allowed() -> None:
    head, windows = model(), rows()
    order = np.array([4, 0, 5, 2])
    for k, prediction in zip(order, head.predict_batch(windows[0, order, 1.0]), strict=True):
        expected = alone(head, windows, k)
        torch.testing.assert_close(torch.from_numpy(prediction), expected.detach(), atol=1e-5, rtol=1e-5)
        assert np.isinf(prediction[:, 1:4]).all() and np.isfinite(prediction[:, 4:]).all()


def test_a_batch_without_targets_has_no_loss_and_finite_gradients() -> None:
    head = model()
    loss = head(rows()[0, np.array([3]), 1.0])["loss"]
    loss.backward()
    assert loss.item() == 0
    assert all(torch.isfinite(weight.grad).all() for weight in head.parameters() if weight.grad is not None)
