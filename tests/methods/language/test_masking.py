"""Masking: selected tokens and their replacements, against naive transcriptions of the papers, over many draws."""

import math
import random
from collections import Counter
from itertools import groupby, pairwise

import pytest
import torch
from torch import Tensor

from ssl_cli.methods.language.masking import MaskSelection, MaskUnit, corrupt, select_masks, span_lengths

MASK, SPECIAL, N_TOKENS = 4, 5, 50  # ids below SPECIAL are special
ORDINARY = torch.arange(SPECIAL, N_TOKENS)
SPLIT = {"mask": 0.8, "random": 0.1, "keep": 0.1}
UNITS: list[MaskUnit] = ["token", "whole_word", "span"]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def text(n_rows: int = 400, length: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids, which of them may be masked, and which start a word; 5 % of the ids are special."""
    ids = torch.randint(SPECIAL, N_TOKENS, (n_rows, length))
    ids[torch.rand(ids.shape) < 0.05] = 3
    return ids, ids >= SPECIAL, torch.rand(ids.shape) < 0.6


def words(allowed: list[bool], starts: list[bool]) -> list[list[int]]:
    """Return the positions of each word of a row; a token that may not be masked is in none, and separates words."""
    by_word: list[list[int]] = []
    for position, (is_free, is_start) in enumerate(zip(allowed, starts, strict=True)):
        if is_free and (is_start or position == 0 or not allowed[position - 1]):
            by_word.append([position])
        elif is_free:
            by_word[-1].append(position)
    return by_word


# --- selection ---


@pytest.mark.parametrize("unit", UNITS)
def test_every_row_has_exactly_n_and_no_special_token(unit: MaskUnit) -> None:
    _, allowed, starts = text()
    for n in (1, 9, 40):
        selection = select_masks(allowed, n, unit, starts)
        assert selection.positions.shape == (400, n) and bool(selection.valid.all())
        assert bool(allowed.gather(1, selection.positions).all())
        assert bool((selection.positions.diff(dim=1) > 0).all())  # each once, in order


@pytest.mark.parametrize("unit", UNITS)
def test_rows_with_too_few_tokens_are_masked_completely(unit: MaskUnit) -> None:
    ids, allowed, starts = (
        torch.full((3, 8), 3),
        torch.zeros(3, 8, dtype=torch.bool),
        torch.ones(3, 8, dtype=torch.bool),
    )
    allowed[1, [2, 6]], allowed[2] = True, True
    selection = select_masks(allowed, 4, unit, starts)
    assert selection.valid.sum(1).tolist() == [0, 2, 4]
    assert selection.positions[1][selection.valid[1]].tolist() == [2, 6]
    seen = corrupt(ids, selection, {"mask": 1.0, "random": 0.0, "keep": 0.0}, MASK, ORDINARY)
    assert ((seen == MASK).sum(1)).tolist() == [0, 2, 4]  # invalid positions are unchanged


def test_all_tokens_are_equally_likely() -> None:
    selection = select_masks(torch.ones(20_000, 20, dtype=torch.bool), 3)
    share = torch.bincount(selection.positions.flatten(), minlength=20) / 20_000
    torch.testing.assert_close(share, torch.full((20,), 0.15), atol=0.011, rtol=0)  # four standard errors


@pytest.mark.parametrize("unit", UNITS)
def test_the_same_seed_makes_the_same_draw(unit: MaskUnit) -> None:
    ids, allowed, starts = text(20)

    def draw(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return corrupt(ids, select_masks(allowed, 9, unit, starts), SPLIT, MASK, ORDINARY)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_words_are_masked_whole_except_one_if_none_fits() -> None:
    _, allowed, starts = text()
    n, rows_cut = 9, 0
    for row, positions in enumerate(select_masks(allowed, n, "whole_word", starts).positions.tolist()):
        of = words(allowed[row].tolist(), starts[row].tolist())
        hidden = [sum(place in positions for place in word) for word in of]
        cut = [part for part, word in zip(hidden, of, strict=True) if 0 < part < len(word)]
        assert len(cut) <= 1
        if cut:  # then no other word would have filled the gap
            assert all(len(word) != cut[0] for part, word in zip(hidden, of, strict=True) if part == 0)
        rows_cut += len(cut)
    assert rows_cut < 40  # of 400


def test_a_word_of_more_than_n_tokens_is_cut() -> None:
    allowed, starts = torch.ones(1, 12, dtype=torch.bool), torch.zeros(1, 12, dtype=torch.bool)
    assert select_masks(allowed, 3, "whole_word", starts).positions.tolist() == [[0, 1, 2]]


def test_words_of_one_length_are_equally_likely_everywhere() -> None:
    starts = torch.tensor([1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1]).bool().expand(8000, 12)
    selection = select_masks(torch.ones_like(starts), 4, "whole_word", starts)
    share = torch.bincount(selection.positions.flatten(), minlength=12) / 8000
    assert share.sum().item() == pytest.approx(4)
    singles, doubles = share[[2, 5, 8, 11]], share[[0, 1, 3, 4, 6, 7, 9, 10]]
    for same in (singles, doubles):
        torch.testing.assert_close(same, same.mean().expand_as(same), atol=0.02, rtol=0)


# --- spans ---


def test_span_lengths_are_geometric_up_to_ten() -> None:
    lengths = span_lengths(torch.Size([200_000]))
    weight = torch.tensor([0.2 * 0.8 ** (length - 1) for length in range(1, 11)])
    share = torch.bincount(lengths, minlength=11)[1:] / len(lengths)
    torch.testing.assert_close(share, weight / weight.sum(), atol=0.005, rtol=0)
    assert lengths.float().mean().item() == pytest.approx(3.8, abs=0.03)  # as the paper has it


def spanbert(n_words: int, n: int, rng: random.Random) -> set[int]:
    """Return masked words of one token each, as SpanBERT's code selects them: spans from words that are not masked yet,
    until there are n."""
    lengths = range(1, 11)
    hidden: set[int] = set()
    while len(hidden) < n:
        length = rng.choices(lengths, [0.2 * 0.8 ** (length - 1) for length in lengths])[0]
        anchor = rng.randrange(n_words)
        if anchor not in hidden:
            for place in range(anchor, min(anchor + length, n_words)):
                if len(hidden) < n:
                    hidden.add(place)
    return hidden


def runs(positions: list[int]) -> list[int]:
    """Return the lengths of the runs of consecutive numbers in a sorted list."""
    return [len(list(run)) for _, run in groupby(enumerate(positions), lambda pair: pair[1] - pair[0])]


@pytest.mark.parametrize(("length", "n"), [(127, 19), (60, 30)])
def test_spans_are_distributed_as_in_spanbert(length: int, n: int) -> None:
    rng, n_rows = random.Random(1), 3000
    everything = torch.ones(n_rows, length, dtype=torch.bool)
    ours = select_masks(everything, n, "span", everything).positions.tolist()
    theirs = [sorted(spanbert(length, n, rng)) for _ in range(n_rows)]
    counts = [Counter(run for row in rows for run in runs(row)) for rows in (ours, theirs)]
    mine, naive = ({run: count / total.total() for run, count in total.items()} for total in counts)
    apart = sum(abs(mine.get(run, 0) - naive.get(run, 0)) for run in range(1, n + 1)) / 2
    assert apart < 0.03, f"{apart:.3f} of the runs have another length"
    places = [torch.bincount(torch.tensor(rows).flatten(), minlength=length) / n_rows for rows in (ours, theirs)]
    assert (places[0] - places[1]).abs().max() < 0.06
    assert (places[0] - places[1]).abs().mean() < 0.016  # sampling noise alone gives 0.01


def test_spans_start_with_a_word_and_keep_words_whole_except_one() -> None:
    _, allowed, starts = text()
    selection = select_masks(allowed, 9, "span", starts)
    for row, positions in enumerate(selection.positions.tolist()):
        of = words(allowed[row].tolist(), starts[row].tolist())
        hidden = [[place for place in word if place in positions] for word in of]
        assert sum(0 < len(part) < len(word) for part, word in zip(hidden, of, strict=True)) <= 1
        assert all(part == word[: len(part)] for part, word in zip(hidden, of, strict=True))  # the end is cut
        for (here, group), (there, other) in pairwise(zip(positions, selection.group[row].tolist(), strict=True)):
            if group == other:  # a span contains no special token
                assert bool(allowed[row, here:there].all())


# --- replacements ---


@pytest.mark.parametrize("unit", UNITS)
def test_the_shares_of_replacements(unit: MaskUnit) -> None:
    ids, allowed, starts = text(4000)
    selection = select_masks(allowed, 9, unit, starts)
    seen = corrupt(ids, selection, SPLIT, MASK, ORDINARY)
    hidden = torch.zeros_like(allowed).scatter(1, selection.positions, True)
    assert torch.equal(seen[~hidden], ids[~hidden])
    masked, kept = seen[hidden] == MASK, seen[hidden] == ids[hidden]
    others = seen[hidden][~masked & ~kept]
    assert masked.float().mean().item() == pytest.approx(0.8, abs=0.015)
    by_chance = 0.1 / len(ORDINARY)
    assert kept.float().mean().item() == pytest.approx(0.1 + by_chance, abs=0.012)
    counts = torch.bincount(others, minlength=N_TOKENS)
    assert counts[:SPECIAL].sum() == 0
    expected = len(others) / len(ORDINARY)
    assert (counts[SPECIAL:] - expected).abs().max() < 5 * math.sqrt(expected)


def test_a_span_is_replaced_as_a_whole_and_other_tokens_independently() -> None:
    everything = torch.ones(2000, 60, dtype=torch.bool)
    ids = torch.full((2000, 60), 7)
    replace = {"mask": 0.5, "random": 0.0, "keep": 0.5}

    def alike(unit: MaskUnit) -> tuple[MaskSelection, float]:
        """Return the share of neighbours in one group that are both masked or both kept."""
        selection = select_masks(everything, 20, unit, everything)
        masked = (corrupt(ids, selection, replace, MASK, ORDINARY) == MASK).gather(1, selection.positions)
        beside = selection.positions.diff(dim=1) == 1
        if unit == "span":
            beside &= selection.group.diff(dim=1) == 0
        return selection, (masked[:, 1:] == masked[:, :-1])[beside].float().mean().item()

    selection, share = alike("span")
    assert share == 1
    assert selection.group.amax(1).float().mean() > 3  # several spans a row
    for unit in UNITS[:2]:
        assert alike(unit)[1] == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("unit", UNITS)
def test_targets_do_not_affect_the_corrupted_ids(unit: MaskUnit) -> None:
    ids, allowed, starts = text(50)
    selection = select_masks(allowed, 9, unit, starts)
    other = ids.scatter(1, selection.positions, torch.randint(SPECIAL, N_TOKENS, selection.positions.shape))
    replace = {"mask": 0.8, "random": 0.2, "keep": 0.0}
    torch.manual_seed(3)
    seen = corrupt(ids, selection, replace, MASK, ORDINARY)
    torch.manual_seed(3)
    assert torch.equal(corrupt(other, selection, replace, MASK, ORDINARY), seen)
