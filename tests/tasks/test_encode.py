"""Tokenization of examples: in batches, and cut around an option."""

import numpy as np
import pytest

from ssl_cli.tasks import encode
from ssl_cli.tasks.encode import fit_around
from ssl_cli.tasks.examples import LabelledExample
from tests.helpers.classification import template


def test_encoding_in_batches_gives_the_same_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [LabelledExample(k, "abc" * (k % 4), f"f{k % 3}") for k in range(20)]
    whole, is_cut = encode.encode_examples(examples, template(12), None)
    monkeypatch.setattr(encode, "ENCODE_BATCH", 3)
    pieces, _ = encode.encode_examples(examples, template(12), None)
    assert (pieces.tokens["ids"] == whole.tokens["ids"]).all() and is_cut.tolist() == [k % 4 == 3 for k in range(20)]
    segments = np.split(whole.tokens["segment"], np.cumsum(whole.length)[:-1])
    assert [one.tolist() for one in segments] == [[0] * (n - 3) + [1] * 3 for n in whole.length]


def test_fit_around_keeps_the_option_and_all_that_fits() -> None:
    for n_before, n_after, room in ((0, 9, 5), (9, 0, 5), (1, 9, 6), (9, 1, 6), (9, 9, 7), (2, 2, 9), (3, 3, 2)):
        before, after = list(range(n_before)), list(range(100, 100 + n_after))
        kept = fit_around(before, [50, 51, 52], after, room)
        assert len(kept) == min(room, n_before + 3 + n_after)
        assert kept == [token for token in [*before, 50, 51, 52, *after] if token in kept]
        assert {50, 51} <= set(kept)
