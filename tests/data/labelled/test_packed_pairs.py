"""Packing of pairs: each whole, on both sides of the same row, and little left empty."""

import numpy as np
import pytest
import torch

from ssl_cli.data.labelled.packed_pairs import IGNORE_INDEX, NO_DOCUMENT, PackedPairs, first_fit_pairs, pack_pairs
from ssl_cli.data.labelled.pair_template import PairTemplate
from ssl_cli.errors import InputError
from tests.helpers.pretrain_runs import tokenizer_of

SOURCES, TARGETS = [70, 3, 90, 58, 120, 5], [4, 60, 5, 6, 40, 3]


def template(style: str = "t5", max_source: int = 128, max_target: int = 64, context: int = 128) -> PairTemplate:
    return PairTemplate.for_network(tokenizer_of("wordpiece"), style, max_source, max_target, context)  # type: ignore[arg-type]


def pairs(sources: list[int] = SOURCES, targets: list[int] = TARGETS, style: str = "t5") -> PackedPairs:
    """Return pairs in which token t of pair p is 1000 p + t + 10 in the source, and 500 more in the target."""
    texts = (
        [[1000 * p + t + first for t in range(n)] for p, n in enumerate(lengths)]
        for lengths, first in ((sources, 10), (targets, 510))
    )
    return PackedPairs(*texts, template(style))


@pytest.mark.parametrize("style", ["t5", "bart"])
def test_a_batch_has_each_pair_whole_and_nothing_else(style: str) -> None:
    rows, chosen = pairs(style=style), [4, 0, 3, 1]
    special, batch = rows.template.special, rows[0, torch.tensor([4, 0, 3, 1]), 1.0]
    assert batch["source"].shape[1] <= 128 and batch["inputs"].shape[1] <= 128
    for place, pair in enumerate(chosen):
        source = special.source([1000 * pair + t + 10 for t in range(SOURCES[pair])], 10**6)
        target = special.target([1000 * pair + t + 510 for t in range(TARGETS[pair])], 10**6)
        at, within = batch["source_document"] == place, batch["document"] == place
        assert batch["source"][at].tolist() == source
        begin, length = int(batch["begin"][place]), int(batch["length"][place])
        assert batch["source"].flatten()[begin : begin + length].tolist() == source
        counts = within & (batch["targets"] != IGNORE_INDEX)
        assert batch["targets"][counts].tolist() == target
        assert batch["inputs"][counts].tolist() == [special.start, *target[:-1]]
        assert at.any(1).tolist() == within.any(1).tolist(), "both sides are in the same row"
    empty = batch["source_document"] == NO_DOCUMENT
    assert int((~empty).sum()) == int(batch["length"].sum()) and (batch["source"][empty] == 0).all()
    n_targets = sum(len(special.target([0] * TARGETS[pair], 10**6)) for pair in chosen)
    assert int((batch["targets"] != IGNORE_INDEX).sum()) == n_targets


def test_padding_of_a_decoder_follows_the_last_target_of_its_row() -> None:
    batch = pairs()[0, slice(0, 6), 6.0]
    for targets, document in zip(batch["targets"], batch["document"], strict=True):
        n = int((targets != IGNORE_INDEX).sum())
        assert (targets[n:] == IGNORE_INDEX).all() and (document[n:] == document[n - 1]).all()


def test_an_unknown_target_is_empty() -> None:
    rows = PackedPairs([[7, 8], [9]], [None, [6]], template())
    batch, start = rows[0, slice(0, 2), 2.0], rows.template.special.start
    assert batch["inputs"][batch["document"] == 0].tolist() == [start]
    assert (batch["targets"] != IGNORE_INDEX).sum() == 2, "the known one, and its end"


def test_texts_that_are_too_long_are_cut() -> None:
    rows = PackedPairs([list(range(10, 300))], [list(range(10, 300))], template())
    batch, end = rows[0, slice(0, 1), 1.0], rows.template.special.end
    assert batch["source"].flatten()[:128].tolist() == [*range(10, 137), end]
    assert batch["targets"][batch["targets"] != IGNORE_INDEX].tolist() == [*range(10, 73), end]
    assert rows.template.n_cut_sources([[0] * 127, [0] * 128]) == 1
    assert rows.template.n_cut_targets([[0] * 63, [0] * 64, None]) == 1


def test_rows_have_room_for_both_sides() -> None:
    rng = np.random.default_rng(0)
    source, target = rng.integers(1, 100, 80), rng.integers(1, 50, 80)
    for packing in (first_fit_pairs(source, target, 128, 60), pack_pairs(source[:40], target[:40], 256, 60)):
        n = len(packing.row)
        for row in range(packing.n_rows):
            of_row = packing.row == row
            for begin, length, room in (
                (packing.source_begin, source[:n], packing.source_tokens),
                (packing.target_begin, target[:n], packing.target_tokens),
            ):
                order = np.argsort(begin[of_row], kind="stable")
                begins, lengths = begin[of_row][order], length[of_row][order]
                assert (begins == np.cumsum(lengths) - lengths).all() and lengths.sum() <= room <= 256


def test_little_of_a_batch_of_articles_and_titles_is_empty() -> None:
    rng = np.random.default_rng(0)
    sources = rng.lognormal(4.6, 0.8, 600).clip(20, 380).astype(int).tolist()
    texts = ([[7] * int(n) for n in lengths] for lengths in (sources, rng.integers(4, 20, 600)))
    assert PackedPairs(*texts, template("t5", 384, 64, 512)).used_share(32, seed=0) > 0.85


@pytest.mark.parametrize(("option", "lengths"), [("max_length", (1, 64)), ("task.max_target", (64, 1))])
def test_a_length_without_room_for_text(option: str, lengths: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"{option}=1 leaves no room"):
        template("t5", *lengths)
