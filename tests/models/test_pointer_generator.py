"""The pointer-generator: the mixture of See et al. written out, causality, padding, and its cache."""

import pytest
import torch

from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.pointer_generator import PointerGenerator, ReadSource

V, PREFIX = 11, (0, 2)
SOURCE = torch.tensor([[5, 6, 5, 7], [8, 9, 0, 0]])
LENGTH = torch.tensor([4, 2])
TARGETS = torch.tensor([[5, 7, 1], [9, 10, 3]])


@pytest.fixture(scope="module")
def pointer() -> PointerGenerator:
    torch.manual_seed(0)
    network = EncoderDecoder(V, 16, layers=2, width=32, heads=2, positions="rotary", norm="pre", dropout=0.0)
    return PointerGenerator(network).eval()


@pytest.fixture(scope="module")
def source(pointer: PointerGenerator) -> ReadSource:
    return pointer.read(SOURCE, LENGTH)


def naive(pointer: PointerGenerator, row: int) -> torch.Tensor:
    """Return p(w) of each token at each place of a row's targets, by eq. 8 and 9: (T, V)."""
    tokens = SOURCE[row, : LENGTH[row]]
    memory = pointer.network.encode(tokens[None])[0]
    rows = []
    for step in range(TARGETS.shape[1]):
        read = torch.tensor([*PREFIX, *TARGETS[row, :step].tolist()])
        hidden = pointer.network.decode(read[None], memory[None])[0, -1]
        x = torch.cat([hidden, pointer.network.token_table.weight[read[-1]]])
        attention = torch.stack([pointer.query(x) @ pointer.key(vector) / 32**0.5 for vector in memory]).softmax(0)
        copy = pointer.copy(x).sigmoid()
        p = (1 - copy) * pointer.network.logits(hidden).softmax(0)
        for place, token in enumerate(tokens):
            p[token] += copy[0] * attention[place]
        rows.append(p)
    return torch.stack(rows)


def test_it_is_the_mixture_written_out(pointer: PointerGenerator, source: ReadSource) -> None:
    expected = torch.stack([naive(pointer, row) for row in range(2)]).log()
    found = pointer.log_distribution(source, TARGETS, PREFIX)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.exp().sum(2), torch.ones(2, 3))
    of_targets = pointer.log_probability(source, TARGETS, PREFIX)
    torch.testing.assert_close(of_targets, expected.gather(2, TARGETS[..., None])[..., 0], atol=1e-5, rtol=1e-4)


def test_a_token_does_not_depend_on_later_ones(pointer: PointerGenerator, source: ReadSource) -> None:
    other = torch.tensor([[5, 7, 4], [9, 10, 4]])
    one, two = (pointer.log_distribution(source, targets, PREFIX) for targets in (TARGETS, other))
    torch.testing.assert_close(one, two)  # the last token is predicted, and read by none
    first = pointer.log_distribution(source, torch.tensor([[5, 1, 1], [9, 1, 1]]), PREFIX)
    torch.testing.assert_close(one[:, :2], first[:, :2])
    assert not torch.allclose(one[:, 2], first[:, 2])


def test_the_cache_gives_the_same(pointer: PointerGenerator, source: ReadSource) -> None:
    whole = pointer.log_distribution(source, TARGETS, PREFIX)
    cache = pointer.new_cache(source, 4)
    found = [pointer.next_log_probabilities(source, torch.tensor(PREFIX).expand(2, -1), cache)]
    found += [pointer.next_log_probabilities(source, TARGETS[:, step, None], cache) for step in range(2)]
    torch.testing.assert_close(torch.stack(found, 1), whole, atol=1e-5, rtol=1e-4)


def test_one_hot_choices_are_the_tokens_themselves(pointer: PointerGenerator, source: ReadSource) -> None:
    choices = torch.nn.functional.one_hot(SOURCE, V).float().requires_grad_()
    found = pointer.log_probability(pointer.read(SOURCE, LENGTH, choices), TARGETS, PREFIX)
    torch.testing.assert_close(found, pointer.log_probability(source, TARGETS, PREFIX), atol=1e-5, rtol=1e-4)
    found.sum().backward()
    assert choices.grad is not None
    assert choices.grad[0].abs().sum() > 0
    torch.testing.assert_close(choices.grad[1, 2:], torch.zeros(2, V))  # padding


def test_a_source_can_be_repeated(pointer: PointerGenerator, source: ReadSource) -> None:
    twice = pointer.log_probability(source.repeat(2), TARGETS.repeat_interleave(2, 0), PREFIX)
    once = pointer.log_probability(source, TARGETS, PREFIX)
    torch.testing.assert_close(twice, once.repeat_interleave(2, 0), atol=1e-5, rtol=1e-4)
