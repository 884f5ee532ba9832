"""Rows of text: no padding, every token once an epoch, a batch follows from (seed, k)."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_cli.data.batches import InfiniteSampler
from ssl_cli.data.text.packing import PackedTokenDataset, document_chunks
from ssl_cli.data.text.tokens import TextData, TokenStream
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import CharLevel
from ssl_cli.errors import InputError
from tests.helpers.pretrain_runs import tokenizer_of
from tests.helpers.text_data import encode_each

END = 3


@dataclass
class Model:
    row_length: int = 8
    target_offset: int = 0
    split_at_documents: bool = False
    reads: list[str] = field(default_factory=lambda: ["ids"])


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return CharLevel(vocab_size=100, sample_bytes=1000).train(["abc de. 中文"])


def data(tokenizer: Tokenizer, ids: np.ndarray, isolate: bool = False) -> TextData:
    stream = TokenStream(ids, None, 2 * len(ids), END)
    return TextData(tokenizer, {"train": stream, "val": stream}, "", [], isolate)


def numbered(n: int, dtype: type = np.uint16) -> np.ndarray:
    """(n,) that differ; none of them ends a document"""
    return (np.arange(n) + 10).astype(dtype)


@pytest.mark.parametrize("n", [64, 67])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_every_token_comes_once_an_epoch_and_the_rest_differs(tokenizer: Tokenizer, n: int, dtype: type) -> None:
    rows = data(tokenizer, numbered(n, dtype)).rows("train", Model(), seed=1, batch_size=3)
    stream = InfiniteSampler(len(rows), 3, seed=1)
    left_out = []
    for epoch in range(3):
        batches = range(epoch * stream.batches_per_epoch, (epoch + 1) * stream.batches_per_epoch)
        seen = torch.cat([rows[k, stream.batch(k), 1.0]["ids"].flatten() for k in batches]).tolist()
        assert len(seen) == len(set(seen)) == n // 8 * 8
        left_out.append(set(numbered(n).tolist()) - set(seen))
    assert n == 64 or len(set(map(frozenset, left_out))) > 1


def test_large_numbers_keep_their_value(tokenizer: Tokenizer) -> None:
    ids = np.array([65534, 40000, 5, 3] * 4, np.uint16)
    assert (
        data(tokenizer, ids).rows("val", Model(), 0, 2)[0, slice(0, 2), 1.0]["ids"].flatten().tolist() == ids.tolist()
    )


def test_a_batch_is_a_function_of_seed_and_k(tokenizer: Tokenizer) -> None:
    def batch(seed: int, k: int) -> list[int]:
        rows = data(tokenizer, numbered(1000)).rows("train", Model(), seed, batch_size=4)
        return rows[k, torch.tensor([2, 5]), 1.0]["ids"].flatten().tolist()

    assert batch(1, 70) == batch(1, 70)
    assert len({tuple(batch(seed, k)) for seed in (1, 2) for k in (0, 40, 70)}) == 6  # epochs 0, 1 and 2


def test_target_offset_wraps_around(tokenizer: Tokenizer) -> None:
    rows = data(tokenizer, numbered(16)).rows("val", Model(target_offset=1), 0, 4)
    ids = rows[0, slice(0, 2), 1.0]["ids"]  # (2, 9)
    assert ids[0].tolist() == list(range(10, 19))
    assert ids[1].tolist() == [*range(18, 26), 10]


@pytest.mark.parametrize(
    ("kind", "token", "known"), [("bpe", 9, True), ("char", 9, True), ("char", 1, False), ("wordpiece", 9, False)]
)
def test_bytes_per_token_are_known_if_nothing_of_the_text_is_lost(kind: str, token: int, known: bool) -> None:
    """1 is [UNK]"""
    stream = TokenStream(np.array([7, 8, token, END], np.uint16), None, 10, END)
    facts = TextData(tokenizer_of(kind), {"train": stream}, "").facts
    assert facts["bytes_per_token"] == (2.5 if known else None)


def test_documents_within_a_row_are_counted(tokenizer: Tokenizer) -> None:
    ids = np.array([10, 11, END, 12, 13, END, END, 14, 15, 16], np.uint16)
    rows = data(tokenizer, ids, isolate=True).rows("val", Model(row_length=10), 0, 1)
    assert rows[0, slice(0, 1), 1.0]["document"].tolist() == [[0, 0, 0, 1, 1, 1, 2, 3, 3, 3]]
    assert "document" not in data(tokenizer, ids).rows("val", Model(row_length=10), 0, 1)[0, slice(0, 1), 1.0]


def test_words_and_sentences_of_a_row(tokenizer: Tokenizer) -> None:
    (ids,) = encode_each(tokenizer, ["ab de. 中文a"])
    model = Model(row_length=len(ids), reads=["ids", "starts", "sentence_ends"])
    batch = data(tokenizer, ids.astype(np.uint16)).rows("val", model, 0, 1)[0, slice(0, 1), 1.0]
    # The row before the first is the last one: its `a` goes on.
    assert batch["starts"][0].int().tolist() == [0, 0, 1, 1, 0, 1, 1, 1, 1, 1]
    assert batch["sentence_ends"][0].nonzero().flatten().tolist() == [5]


def test_word_start_bits_of_phrases(tokenizer: Tokenizer) -> None:
    starts = np.random.default_rng(0).random(37) < 0.5
    stream = TokenStream(numbered(37), np.packbits(starts), 37, END)
    rows = TextData(tokenizer, {"train": stream}, "").rows("train", Model(reads=["ids", "starts"]), 3, 2)
    batch = rows[0, torch.arange(4), 1.0]
    assert torch.equal(batch["starts"], torch.from_numpy(starts)[batch["ids"] - 10])


# --- within documents ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_rows_within_documents(seed: int) -> None:
    """Against the definition: no row leaves its (joined) documents nor contains their end, and as few
    as possible cover all tokens."""
    draw = np.random.default_rng(seed)
    length = int(draw.integers(1, 12))
    ends = np.cumsum(draw.integers(1, 40, int(draw.integers(1, 30))))
    if ends[-1] <= length:
        ends = np.r_[ends, ends[-1] + length + 1]
    start, document = document_chunks(ends, length)
    groups, begin = [], 0
    for end in ends:  # joined until a row is full
        if end - 1 - begin >= length:
            groups.append([begin, end - 1])
            begin = end
    groups[-1][1] = ends[-1] - 1
    for index, (first, last) in enumerate(groups):
        starts = start[document == index]
        assert len(starts) == -(-(last - first) // length)
        assert starts[0] == first and starts[-1] == last - length
        assert (np.diff(starts) <= length).all() and (np.diff(starts) > 0).all()
    assert document.max() == len(groups) - 1


def test_within_documents_rows_stay_where_they_are(tokenizer: Tokenizer) -> None:
    ids = numbered(40)
    ids[[19, 39]] = END
    rows = data(tokenizer, ids).rows("train", Model(split_at_documents=True, reads=["ids", "document_id"]), 5, 2)
    first, later = (rows[k, torch.arange(len(rows)), 1.0] for k in (0, 50))
    assert first["document_id"].tolist() == [0, 0, 0, 1, 1, 1]
    assert END not in first["ids"]
    assert torch.equal(first["ids"], later["ids"])


def test_what_is_evaluated_is_in_a_fixed_order_that_mixes_documents(tokenizer: Tokenizer) -> None:
    """Whole batches of one document would have no false successor for a pair."""
    ids = numbered(4000)
    ids[499::500] = END
    model = Model(split_at_documents=True, reads=["ids", "document_id"])
    rows = data(tokenizer, ids).rows("val", model, 5, 2)
    batches = [rows[k, slice(start, start + 16), 1.0] for k, start in enumerate(range(0, len(rows), 16))]
    assert rows.n_documents == 8
    assert min(len(batch["document_id"].unique()) for batch in batches[:-1]) > 3
    assert len(rows.take(rows.row_ids[::4])[0, slice(0, 16), 1.0]["document_id"].unique()) > 3
    again = data(tokenizer, ids).rows("val", model, 6, 2)
    assert all(torch.equal(again[0, slice(0, 99), 1.0][name], rows[0, slice(0, 99), 1.0][name]) for name in model.reads)
    training = data(tokenizer, ids).rows("train", model, 5, 2)  # the same rows
    first, second = (part[0, slice(0, 9999), 1.0]["ids"][:, 0].sort().values for part in (rows, training))
    assert torch.equal(first, second)


def test_sentence_pairs_with_isolated_documents_are_rejected(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match=r"set data\.isolate_documents=false"):
        data(tokenizer, numbered(80), isolate=True).rows("train", Model(split_at_documents=True), 0, 4)


# --- subsets, devices, short texts --------------------------------------------------------------------------------


def test_some_rows(tokenizer: Tokenizer) -> None:
    rows = data(tokenizer, numbered(80)).rows("val", Model(), 0, 4)
    subset = rows.take(np.array([1, 4]))
    assert isinstance(subset, PackedTokenDataset)
    assert (len(subset), subset.row_ids.tolist(), subset.tokens_per_row) == (2, [1, 4], 8)
    everything = rows[0, slice(0, 99), 1.0]["ids"]
    assert torch.equal(subset[0, slice(0, 4096), 1.0]["ids"], everything[[1, 4]])
    assert torch.equal(rows[0, np.array([1, 4]), 1.0]["ids"], everything[[1, 4]])
    by_mask = rows.take(np.isin(np.arange(10), [1, 4])).take(np.array([1]))
    assert torch.equal(by_mask[0, slice(0, 9), 1.0]["ids"], everything[[4]])
    assert rows.eval_batch_size == 1024


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_rows_on_a_device(tokenizer: Tokenizer) -> None:
    rows = data(tokenizer, numbered(80) % 12, isolate=True).rows("train", Model(reads=["ids", "starts"]), 0, 4)
    there = rows.on(torch.device("cuda"))
    for name, mine in rows[3, torch.arange(4), 1.0].items():
        theirs = there[3, torch.arange(4, device="cuda"), 1.0][name]
        assert torch.equal(mine, theirs.cpu()) if isinstance(mine, torch.Tensor) else mine == theirs


def test_less_text_than_a_row(tokenizer: Tokenizer, tmp_path: Path) -> None:
    text = data(tokenizer, numbered(8))
    assert len(text.rows("train", Model(), 0, 4)) == 1
    with pytest.raises(
        InputError, match=r"The train text has 8 tokens, fewer than the 9 of one row: .* smaller model.network.context"
    ):
        text.rows("train", Model(target_offset=1), 0, 4)
    del text.splits["val"]
    with pytest.raises(InputError, match=r"No text is held out for validation: set data\.val=0\.05"):
        text.rows("val", Model(), 0, 4)
