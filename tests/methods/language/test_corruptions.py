"""Corruptions of BART, MASS and T5: against naive transcriptions, and in exact and expected shares and lengths."""

import math
import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_cli.methods.language.corruptions import (
    MARKER,
    Noise,
    Rows,
    Words,
    delete_tokens,
    infill_spans,
    mask_fragment,
    mask_tokens,
    permute_sentences,
    replace_spans_by_sentinels,
    rotate_documents,
    size_after,
)
from ssl_cli.methods.language.span_noise import Spans, poisson_spans, random_subset, replace_spans, segmented_spans

SPECIALS = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4, "end": 3}
END, MASK, STOP, FIRST, N_TOKENS = 3, 4, 20, 20, 60  # ids from 20 on are ordinary, 20 is the full stop
SENTINELS = list(range(5, 20))
WORDS = Words(N_TOKENS, SPECIALS, SENTINELS)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def text(n_rows: int = 300, length: int = 60, ends: float = 0.05) -> Tensor:
    """Return ids; a share `ends` of them separates documents."""
    ids = torch.randint(STOP + 1, N_TOKENS, (n_rows, length))
    return ids.masked_fill(torch.rand(ids.shape) < ends, END)


def documents(ids: list[int]) -> list[list[int]]:
    """Return the tokens of each document of a row."""
    found: list[list[int]] = [[]]
    for token in ids:
        if token == END:
            found.append([])
        else:
            found[-1].append(token)
    return found


def sentences(ids: list[int]) -> list[tuple[int, ...]]:
    """Return the sentences of a document."""
    found: list[list[int]] = [[]]
    for k, token in enumerate(ids):
        if k and ids[k - 1] == STOP and token != STOP:
            found.append([])
        found[-1].append(token)
    return [tuple(sentence) for sentence in found if sentence]


# --- tokens ---


def test_masking_replaces_exactly_a_share_of_the_ordinary_tokens() -> None:
    ids = text()
    rows = mask_tokens(Rows.of_text(ids), WORDS, Noise(0.3))
    changed = rows.ids != ids
    assert changed.sum(1).tolist() == [18] * 300 and bool((rows.ids[changed] == MASK).all())
    assert not bool((ids[changed] < FIRST).any())


def test_deletion_keeps_the_order_of_the_others() -> None:
    ids = text()
    rows = delete_tokens(Rows.of_text(ids), WORDS, Noise(0.3))
    assert rows.ids.shape == (300, 42)
    assert torch.equal(rows.ids, ids.gather(1, rows.origin)) and bool((rows.origin.diff(dim=1) > 0).all())
    assert (rows.ids == END).sum(1).tolist() == (ids == END).sum(1).tolist()


@pytest.mark.parametrize("corrupt", [mask_tokens, delete_tokens])
def test_all_tokens_are_equally_likely(corrupt) -> None:
    ids = torch.arange(FIRST, FIRST + 20).expand(20_000, 20)
    left = torch.bincount(corrupt(Rows.of_text(ids), WORDS, Noise(0.15)).ids.flatten(), minlength=N_TOKENS)[FIRST:40]
    torch.testing.assert_close(left / 20_000, torch.full((20,), 0.85), atol=0.011, rtol=0)  # four standard errors


# --- spans ---


def replaced_naively(ids: list[int], starts: list[int], lengths: list[int], markers: list[int]) -> list[int]:
    """Return a row with spans of its ordinary tokens replaced, token by token."""
    out, n_ordinary, remaining = list[int](), 0, list(zip(starts, lengths, markers, strict=True))
    hidden = 0
    for token in ids:
        while token >= FIRST and remaining and remaining[0][0] == n_ordinary:
            _, hidden, marker = remaining.pop(0)
            out.append(marker)
        if token < FIRST:
            out.append(token)
            continue
        n_ordinary += 1
        if hidden:
            hidden -= 1
        else:
            out.append(token)
    return out + [marker for _, _, marker in remaining]


@pytest.mark.parametrize("draw", [poisson_spans, segmented_spans])
@pytest.mark.parametrize(("n", "k"), [(18, 6), (1, 1), (20, 1), (9, 8)])
def test_spans_are_replaced_as_a_loop_over_tokens_does(draw, n: int, k: int) -> None:
    ids = text(100, 40)
    free = ids >= FIRST
    spans: Spans = draw(free, n, k)
    replaced = replace_spans(free, spans, n)
    markers = [100 + j for j in range(k)]
    assert spans.length.sum(1).tolist() == [n] * 100
    for row in range(100):
        tokens, starts, lengths = ids[row].tolist(), spans.start[row].tolist(), spans.length[row].tolist()
        seen = [-1 if column < 0 else tokens[column] for column in replaced.column[row].tolist()]
        for marker, column in zip(markers, replaced.marker[row].tolist(), strict=True):
            assert seen[column] == -1
            seen[column] = marker
        assert seen == replaced_naively(tokens, starts, lengths, markers)
        ordinary = [column for column, token in enumerate(tokens) if token >= FIRST]
        inside = [ordinary[start + i] for start, n_in in zip(starts, lengths, strict=True) for i in range(n_in)]
        assert replaced.removed[row].tolist() == inside
        by_span = [j for j, n_in in enumerate(lengths) for _ in range(n_in)]
        assert draw is poisson_spans or replaced.span[row].tolist() == by_span


def test_infilled_spans_are_poisson_given_their_sum() -> None:
    """Against Poisson variables of mean 3 that are drawn again until they sum to n; and the tokens by their place."""
    n, k, length = 36, 12, 120
    free = torch.ones(4000, length, dtype=torch.bool)
    lengths = torch.bincount(poisson_spans(free, n, k).length.flatten(), minlength=8)[:8] / (4000 * k)
    draws = np.random.default_rng(0).poisson(3, (60_000, k))
    fitting = draws[draws.sum(1) == n]
    naive = torch.tensor(np.bincount(fitting.ravel(), minlength=8)[:8] / fitting.size).float()
    torch.testing.assert_close(lengths, naive, atol=0.012, rtol=0)
    poisson = torch.tensor([math.exp(-3) * 3**i / math.factorial(i) for i in range(8)])
    torch.testing.assert_close(lengths, poisson, atol=0.025, rtol=0)  # 12 spans are nearly independent
    rows = infill_spans(Rows.of_text(torch.full((4000, length), FIRST)), WORDS, Noise(0.3))
    kept = torch.bincount(rows.origin[rows.origin != MARKER], minlength=length)[10:-10] / 4000
    # Spans don't reach over either end of a row, so they cover its first and last tokens less often.
    torch.testing.assert_close(kept, torch.full_like(kept, float(kept.mean())), atol=0.03, rtol=0)
    assert 0.68 < float(kept.mean()) < 0.7


def test_infilling_hides_exactly_n_tokens_and_keeps_the_ends_of_documents() -> None:
    ids = text()
    rows = infill_spans(Rows.of_text(ids), WORDS, Noise(0.3))
    assert rows.ids.shape == (300, 60 - 18 + 6) and (rows.ids == MASK).sum(1).tolist() == [6] * 300
    assert (rows.ids == END).sum(1).tolist() == (ids == END).sum(1).tolist()
    kept = rows.origin != MARKER
    assert torch.equal(rows.ids[kept], ids.gather(1, rows.origin.clamp(min=0))[kept])


def random_spans_noise_mask(length: int, n_noise: int, n_spans: int, draw: random.Random) -> tuple[bool, ...]:
    """T5's function of this name (text-to-text-transfer-transformer, preprocessors.py), in plain Python."""

    def segmentation(n_items: int, n_segments: int) -> list[int]:
        first = [k < n_segments - 1 for k in range(n_items - 1)]
        draw.shuffle(first)
        starts = [0, *(k + 1 for k, is_first in enumerate(first) if is_first), n_items]
        return [stop - start for start, stop in pairwise(starts)]

    noise, others = segmentation(n_noise, n_spans), segmentation(length - n_noise, n_spans)
    mask = list[bool]()
    for n_others, n in zip(others, noise, strict=True):
        mask += [False] * n_others + [True] * n
    return tuple(mask)


def test_t5s_spans_are_distributed_as_random_spans_noise_mask() -> None:
    spans = segmented_spans(torch.ones(8000, 9, dtype=torch.bool), 4, 2)
    found = Counter(
        tuple(any(start <= i < start + n for start, n in zip(starts, lengths, strict=True)) for i in range(9))
        for starts, lengths in zip(spans.start.tolist(), spans.length.tolist(), strict=True)
    )
    draw = random.Random(0)
    naive = Counter(random_spans_noise_mask(9, 4, 2, draw) for _ in range(8000))
    assert set(found) == set(naive) and len(found) == 12
    assert all(abs(found[mask] - naive[mask]) < 5 * math.sqrt(2 * 8000 / 12) for mask in naive)


def test_sentinels_and_their_spans_make_the_text_again() -> None:
    """Source and target of T5's example, and of random rows with documents in them."""
    noise, ids = Noise(0.15, 3.0), text(200, 100, ends=0.03)
    rows = replace_spans_by_sentinels(Rows.of_text(ids), WORDS, noise)
    assert rows.target is not None
    assert (noise.tokens(100), noise.spans(100)) == (15, 5)
    assert rows.ids.shape == (200, 100 - 15 + 5) and rows.target.shape == (200, 15 + 5)
    for source, target, whole in zip(rows.ids.tolist(), rows.target.tolist(), ids.tolist(), strict=True):
        assert [token for token in source if token in SENTINELS] == SENTINELS[:5]
        spans = dict[int, list[int]]()
        for token in target:
            if token in SENTINELS:
                spans[token] = []
            else:
                spans[list(spans)[-1]].append(token)
        assert list(spans) == SENTINELS[:5] and all(spans.values())
        ordinary = [part for token in source if token != END for part in spans.get(token, [token])]
        assert ordinary == [token for token in whole if token != END] and source[0] not in SENTINELS
        assert source.count(END) == whole.count(END)


def test_every_subset_is_equally_likely_and_below_the_rows_count() -> None:
    found = Counter(map(tuple, random_subset(torch.full((6000,), 4), 2, 7).tolist()))
    assert set(found) == {(a, b) for b in range(4) for a in range(b)}
    assert all(abs(n - 1000) < 4 * math.sqrt(1000) for n in found.values())


# --- sentences, documents and fragments ---


def test_sentences_are_shuffled_within_their_document() -> None:
    ids = text(400, 60, ends=0)
    ids[:, 4::5] = STOP
    ids[:, 5::15] = torch.where(torch.rand(400, 4) < 0.5, END, STOP + 1)
    shuffled = permute_sentences(Rows.of_text(ids), WORDS, ids == STOP)
    assert torch.equal(shuffled.ids, ids.gather(1, shuffled.origin))
    for before, after in zip(ids.tolist(), shuffled.ids.tolist(), strict=True):
        assert [k for k, token in enumerate(before) if token == END] == [k for k, t in enumerate(after) if t == END]
        for old, new in zip(documents(before), documents(after), strict=True):
            assert Counter(sentences(old)) == Counter(sentences(new))


def test_every_order_of_sentences_is_equally_likely() -> None:
    row = [21, STOP, 22, 23, STOP, STOP, 24, STOP]
    ids = torch.tensor(row).expand(6000, 8)
    found = Counter(map(tuple, permute_sentences(Rows.of_text(ids), WORDS, ids == STOP).ids.tolist()))
    assert len(found) == 6 and all(abs(n - 1000) < 4 * math.sqrt(1000) for n in found.values())


def test_each_document_is_rotated_to_begin_with_any_of_its_tokens() -> None:
    ids = torch.tensor([21, 22, 23, END, END, 24, END, 25, 26]).expand(6000, 9)
    rows = rotate_documents(Rows.of_text(ids), WORDS)
    found = Counter(map(tuple, rows.ids.tolist()))
    rotations = ((21, 22, 23), (22, 23, 21), (23, 21, 22)), ((25, 26), (26, 25))
    assert set(found) == {(*a, END, END, 24, END, *b) for a in rotations[0] for b in rotations[1]}
    assert all(abs(n - 1000) < 4 * math.sqrt(1000) for n in found.values())
    assert torch.equal(rows.ids, ids.gather(1, rows.origin))


def test_a_fragment_is_masked_as_in_bert_and_is_the_target() -> None:
    ids = text(4000, 20)
    rows = mask_fragment(Rows.of_text(ids), WORDS, Noise(0.5))
    assert rows.target is not None and rows.place is not None
    assert bool((rows.place.diff(dim=1) == 1).all()) and torch.equal(rows.target, ids.gather(1, rows.place))
    outside = torch.ones_like(ids, dtype=torch.bool).scatter(1, rows.place, False)
    assert torch.equal(rows.ids[outside], ids[outside])
    seen, ordinary = rows.ids.gather(1, rows.place), rows.target >= FIRST
    assert torch.equal(seen[~ordinary], rows.target[~ordinary])
    shares = [float(part[ordinary].float().mean()) for part in (seen == MASK, seen == rows.target)]
    assert shares == pytest.approx([0.8, 0.1 + 0.1 / (N_TOKENS - FIRST)], abs=0.01)
    starts = torch.bincount(rows.place[:, 0], minlength=11) / 4000
    torch.testing.assert_close(starts, torch.full((11,), 1 / 11), atol=0.02, rtol=0)


# --- together ---


ALL = {
    "mask": lambda rows, ends: mask_tokens(rows, WORDS, Noise(0.2)),
    "delete": lambda rows, ends: delete_tokens(rows, WORDS, Noise(0.2)),
    "infill": lambda rows, ends: infill_spans(rows, WORDS, Noise(0.2)),
    "permute": lambda rows, ends: permute_sentences(rows, WORDS, ends),
    "rotate": lambda rows, ends: rotate_documents(rows, WORDS),
    "fragment": lambda rows, ends: mask_fragment(rows, WORDS, Noise(0.2)),
    "spans": lambda rows, ends: replace_spans_by_sentinels(rows, WORDS, Noise(0.2)),
}


@pytest.mark.parametrize("first", ALL)
@pytest.mark.parametrize("second", ALL)
def test_corruptions_compose_in_any_order(first, second) -> None:
    """What stood in a column of the text is known after both, and the sizes are those that are announced."""
    ids = text(50, 60)
    rows, size = Rows.of_text(ids), 60
    for name in (first, second):
        rows, size = ALL[name](rows, ids == STOP), size_after(name, Noise(0.2), size)
    assert rows.ids.shape == rows.origin.shape == (50, size)
    known = (rows.origin != MARKER) & (rows.ids >= FIRST)
    same = rows.ids[known] == ids.gather(1, rows.origin.clamp(min=0))[known]
    assert bool(same.all()) or "fragment" in (first, second)  # some of its tokens become others
    assert (rows.ids == END).sum(1).tolist() == (ids == END).sum(1).tolist()


@pytest.mark.parametrize("name", ALL)
def test_rows_of_nothing_but_special_tokens_keep_their_shape(name) -> None:
    ids = torch.full((3, 20), END)
    ids[1, :3] = 21
    ids[2] = torch.arange(20) + FIRST
    rows = ALL[name](Rows.of_text(ids), ids == STOP)
    assert rows.ids.shape == (3, size_after(name, Noise(0.2), 20))
    assert bool((rows.origin < 20).all() and (rows.origin >= MARKER).all())


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_makes_the_same_draw(name) -> None:
    ids, draws = text(20), []
    for _ in range(2):
        torch.manual_seed(3)
        draws.append(ALL[name](Rows.of_text(ids), ids == STOP).ids)
    assert torch.equal(*draws)
