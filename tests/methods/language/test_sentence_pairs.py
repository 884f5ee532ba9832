"""Sentence pairs: every label is true, over many draws. An id encodes its document and its place."""

import pytest
import torch
from torch import Tensor

from ssl_cli.methods.language.sentence_pairs import (
    SentencePair,
    add_special_tokens,
    cut_points,
    last_of_each_run,
    next_sentence_pairs,
    passage_bounds,
    segment_ids,
    sentence_order_pairs,
)

LENGTH, CLS, SEP = 40, -1, -2


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def rows(n: int, sentence_share: float = 0.15) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids (document * 1000 + place), sentence ends and document ids, for three rows per document."""
    document = torch.arange(n) // 3
    place = torch.arange(LENGTH) + 300 * (torch.arange(n) % 3)[:, None]
    return 1000 * document[:, None] + place, torch.rand(n, LENGTH) < sentence_share, document


def parts(ids: Tensor, pair: SentencePair, row: int) -> tuple[list[int], list[int]]:
    text, first = pair.arrange(ids)[row].tolist(), int(pair.first_length[row])
    return text[:first], text[first:]


def follows(second: list[int], first: list[int]) -> bool:
    return second[0] == first[-1] + 1


def is_run(piece: list[int]) -> bool:
    return piece == list(range(piece[0], piece[0] + len(piece)))


def test_rows_are_cut_after_a_sentence_of_the_middle_half() -> None:
    _, ends, _ = rows(2000, 0.05)
    for cut, row in zip(cut_points(ends).tolist(), ends.tolist(), strict=True):
        assert LENGTH // 4 <= cut <= 3 * LENGTH // 4
        if any(row[LENGTH // 4 - 1 : 3 * LENGTH // 4]):
            assert row[cut - 1]
    for without in (torch.zeros(4000, LENGTH), torch.ones(4000, LENGTH)):  # all places are equally likely
        counts = torch.bincount(cut_points(without.bool()), minlength=LENGTH)[10:31]
        assert counts.sum() == 4000 and counts.min() > 120 and counts.max() < 270


@pytest.mark.parametrize("length", [5, 6, 7, 8])
def test_the_shortest_rows_are_cut_in_two(length: int) -> None:
    cut = cut_points(torch.rand(500, length) < 0.5)
    assert cut.min() >= 1 and cut.max() < length


def test_a_second_text_is_the_next_one_or_of_another_document() -> None:
    ids, ends, document = rows(600)
    pair = next_sentence_pairs(ends, document)
    for row, label in enumerate(pair.label.tolist()):
        first, second = parts(ids, pair, row)
        assert is_run(first) and is_run(second) and len(first) + len(second) == LENGTH
        assert first == ids[row, : len(first)].tolist()
        if label:
            assert second[0] // 1000 != first[0] // 1000
        else:
            assert follows(second, first)
    assert pair.label.float().mean().item() == pytest.approx(0.5, abs=0.08)


def test_the_start_of_a_second_text_does_not_reveal_its_label() -> None:
    """A next text starts after a sentence, so a text of another document must do so too."""
    ids, ends, document = rows(300, 0.3)
    starts_sentence = ids.flatten()[ends.flatten()] + 1
    pair = next_sentence_pairs(ends, document)
    second = pair.arrange(ids).gather(1, pair.first_length[:, None]).flatten()
    for label in (0, 1):
        assert bool(torch.isin(second[pair.label == label], starts_sentence).all())
    last = pair.arrange(ids)[pair.label == 1][:, -1] % 1000 % 300
    assert bool((last == LENGTH - 1).all())  # nor does its end: with so many rows, one has a start at the cut


def test_a_second_text_starts_after_a_sentence_in_small_batches_too() -> None:
    ids, ends, document = rows(6, 0.0)
    ends[:, [5, 12]] = True  # except in the first row, which is cut where no other row has a start
    ends[0] = torch.arange(LENGTH) == 20
    for _ in range(20):
        pair = next_sentence_pairs(ends, document)
        first, second = parts(ids, pair, 0)
        assert len(first) == 21 and is_run(second)
        if pair.label[0]:
            assert second[0] % 300 % 100 == 13  # after the last sentence before the cut
            assert len(second) == LENGTH - 21


def test_all_other_documents_are_equally_likely() -> None:
    _, ends, document = rows(9, 0.0)  # without sentences all rows are equally good
    counts = torch.zeros(9)
    for _ in range(1500):
        pair = next_sentence_pairs(ends, document)
        counts[pair.row[0, -1]] += 1
    assert counts[1:3].sum() == 0
    assert counts[0].item() == pytest.approx(750, abs=90)
    torch.testing.assert_close(counts[3:], torch.full((6,), 125.0), atol=50, rtol=0)


def test_rows_of_a_single_document_are_unchanged() -> None:
    ids, ends, document = rows(3)
    for n in (1, 3):
        for _ in range(20):
            pair = next_sentence_pairs(ends[:n], document[:n])
            assert pair.label.sum() == 0
            assert torch.equal(pair.arrange(ids[:n]), ids[:n])


# --- sentence order ---


@pytest.mark.parametrize("sentence_share", [0.0, 0.05, 0.15, 0.6])
def test_passages_are_in_order_or_swapped(sentence_share: float) -> None:
    """Against a naive implementation, row by row, with the same draws."""
    ids, ends, _ = rows(600, sentence_share)
    torch.manual_seed(1)
    pair = sentence_order_pairs(ends)
    torch.manual_seed(1)
    lot, coin = torch.rand(600, LENGTH).tolist(), torch.rand(600).tolist()
    for row, (text, ends_here) in enumerate(zip(ids.tolist(), ends.tolist(), strict=True)):
        after = [place + 1 for place in range(LENGTH) if ends_here[place] and not any(ends_here[place + 1 : place + 2])]
        if len(after) < 3:
            after = sorted(sorted(range(1, LENGTH + 1), key=lambda cut: -lot[row][cut - 1])[:3])
        begin, end = after[0], after[-1]
        middle = max(after[1:-1], key=lambda cut: lot[row][cut - 1])
        passages = [text[begin:middle], text[middle:end]]
        label = int(coin[row] < 0.5)
        first, second = passages[::-1] if label else passages
        assert pair.label[row] == label
        assert parts(ids, pair, row) == (text[:begin] + first, second + text[end:])
    assert pair.label.float().mean().item() == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("length", [5, 6, 9])
def test_the_shortest_rows_have_two_passages(length: int) -> None:
    for share in (0.0, 0.5, 1.0):
        begin, middle, end = passage_bounds(torch.rand(500, length) < share).unbind(1)
        assert bool(((begin >= 1) & (begin < middle) & (middle < end) & (end <= length)).all())


def label_gap(feature: Tensor, label: Tensor) -> float:
    """Return the difference between the shares of pairs of each label that have a feature."""
    return abs((feature[label == 1].float().mean() - feature[label == 0].float().mean()).item())


def prose(n: int, longest: int, per_document: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids, sentence ends and document ids; rows begin and end anywhere. Sentences have 4 to `longest` tokens: 0
    begins one, 9 ends it."""
    documents = []
    for document in range(n // per_document):
        size = torch.randint(4, longest + 1, (per_document * LENGTH,)).tolist()
        stream = torch.cat([torch.tensor([0, *[5] * (one - 2), 9]) for one in size])
        start = int(torch.randint(longest, ()))
        documents.append(stream[start : start + per_document * LENGTH].view(per_document, LENGTH) + 10 * document)
    ids = torch.cat(documents)
    return ids % 10, ids % 10 == 9, ids[:, 0] // 10


@pytest.mark.parametrize("longest", [7, 30])  # many sentences per row, or often fewer than three
@pytest.mark.parametrize("kind", ["sop", "nsp"])
def test_surface_features_do_not_reveal_the_label(kind: str, longest: int) -> None:
    """Neither the ends of a text nor its length do. A row that is merely cut in two and swapped would reveal it."""
    ids, ends, document = prose(1500, longest, 3)
    pair = sentence_order_pairs(ends) if kind == "sop" else next_sentence_pairs(ends, document)
    text, first = pair.arrange(ids), pair.first_length[:, None]
    of_first, of_second = text.gather(1, first - 1)[:, 0], text.gather(1, first)[:, 0]
    for feature in (of_first == 9, of_second == 0, text[:, 0] == 0, text[:, -1] == 9, pair.first_length > LENGTH // 2):
        assert label_gap(feature, pair.label) < 0.08
    assert pair.label.float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_of_consecutive_sentence_ends_the_last_counts() -> None:
    ends = torch.tensor([[False, True, True, True, False, True, False, True, True]])
    assert last_of_each_run(ends).int().tolist() == [[0, 0, 0, 1, 0, 1, 0, 0, 1]]


# --- special tokens ---


def test_special_tokens_and_segments_are_berts() -> None:
    ids, ends, document = rows(60)
    pair = next_sentence_pairs(ends, document)
    whole, segment = (
        add_special_tokens(pair.arrange(ids), pair.first_length, CLS, SEP),
        segment_ids(LENGTH, pair.first_length),
    )
    assert whole.shape == segment.shape == (60, LENGTH + 3)
    for row in range(60):
        first, second = parts(ids, pair, row)
        assert whole[row].tolist() == [CLS, *first, SEP, *second, SEP]
        assert segment[row].tolist() == [0] * (len(first) + 2) + [1] * (len(second) + 1)
