"""Texts of a pointer-generator: their hard limit, their end, what is banned, and that they are drawn from the model."""

import pytest
import torch

from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.generation.constraints import Constraints
from ssl_cli.models.generation.pointer_writing import Written, constrained, write
from ssl_cli.models.pointer_generator import PointerGenerator

V, END = 9, 1
RULES = Constraints.of((0, 2), END, torch.device("cpu"), min_tokens=1)
SOURCE, LENGTH = torch.tensor([[5, 6, 5], [8, 7, 0], [4, 0, 0]]), torch.tensor([3, 2, 1])


@pytest.fixture(scope="module")
def pointer() -> PointerGenerator:
    torch.manual_seed(1)
    network = EncoderDecoder(V, 16, layers=1, width=16, heads=1, positions="rotary", norm="pre", dropout=0.0)
    return PointerGenerator(network).eval()


def texts(written: Written) -> list[list[int]]:
    return [ids[:n].tolist() for ids, n in zip(written.ids, written.length, strict=True)]


@pytest.mark.parametrize("sampled", [False, True])
def test_texts_keep_the_limit_and_what_is_banned(pointer: PointerGenerator, sampled: bool) -> None:
    torch.manual_seed(0)
    source = pointer.read(SOURCE, LENGTH).repeat(50)
    written = write(pointer, source, (0,), RULES, 4, sampled)
    assert written.ids.shape == (150, 4) and 1 <= written.length.min() <= written.length.max() <= 4
    assert all(not {0, 1, 2} & set(text) for text in texts(written))
    assert not written.ids[~written.is_real].any()


def test_the_likeliest_text_is_that_of_a_loop(pointer: PointerGenerator) -> None:
    written = texts(write(pointer, pointer.read(SOURCE, LENGTH), (0,), RULES, 5, sampled=False))
    for row in range(3):
        source, text = pointer.read(SOURCE[row : row + 1, : LENGTH[row]], LENGTH[row : row + 1]), list[int]()
        while len(text) < 5:
            scores = pointer.log_distribution(source, torch.tensor([[*text, 0]]), (0,))[0, -1].detach()
            scores[[0, 2, END]] = torch.tensor([-torch.inf, -torch.inf, float(scores[END]) if text else -torch.inf])
            if (token := int(scores.argmax())) == END:
                break
            text.append(token)
        assert written[row] == text


def test_draws_follow_the_model(pointer: PointerGenerator) -> None:
    torch.manual_seed(0)
    source = pointer.read(SOURCE[:1], LENGTH[:1]).repeat(4000)
    first = write(pointer, source, (0,), RULES, 1, sampled=True, keep_noise=True)
    p = pointer.log_distribution(pointer.read(SOURCE[:1], LENGTH[:1]), torch.zeros(1, 1, dtype=torch.int64), (0,))
    p = p[0, 0].exp()
    p[[0, 2, END]] = 0
    shares = torch.bincount(first.ids[:, 0], minlength=V) / 4000
    torch.testing.assert_close(shares, p / p.sum(), atol=0.03, rtol=0)
    assert first.noise is not None and first.noise.shape == (4000, 1, V)


def test_an_end_follows_each_text() -> None:
    ids, is_real = Written(torch.tensor([[3, 4], [5, 0]]), torch.tensor([2, 1])).with_end(END)
    assert ids.tolist() == [[3, 4, END], [5, END, 0]]
    assert is_real.tolist() == [[True, True, True], [True, True, False]]


def test_the_constrained_distribution_is_the_one_that_is_drawn_from() -> None:
    scores, ids = torch.randn(1, 3, V, generator=torch.Generator().manual_seed(0)), torch.tensor([[5, 7, 0]])
    once = Constraints.of((0, 2), END, torch.device("cpu"), min_tokens=1, no_repeat_ngram=1)
    p = constrained(scores, ids, once)[0].exp()
    for step, forbidden in enumerate([{0, 1, 2}, {0, 2, 5}, {0, 2, 5, 7}]):
        allowed = [token for token in range(V) if token not in forbidden]
        expected = torch.zeros(V)
        expected[allowed] = scores[0, step, allowed].softmax(0)
        torch.testing.assert_close(p[step], expected)


def test_no_token_comes_twice(pointer: PointerGenerator) -> None:
    torch.manual_seed(0)
    once = Constraints.of((0, 2), END, torch.device("cpu"), min_tokens=1, no_repeat_ngram=1)
    written = texts(write(pointer, pointer.read(SOURCE, LENGTH).repeat(30), (0,), once, 6, sampled=True))
    assert all(len(set(text)) == len(text) for text in written) and max(map(len, written)) == 6
