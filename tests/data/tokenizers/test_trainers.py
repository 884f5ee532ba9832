"""Tokenizers: the same file from the same text, exact encoding, and classes of tokens."""

import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer as Library

from ssl_cli.data.tokenizers.fast_encode import (
    cut_between_words,
    id_map,
    piece_pattern,
    without_special_tokens,
)
from ssl_cli.data.tokenizers.pretrained import PretrainedTokenizer
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import ByteLevelBPE, CharLevel, TrainedTokenizer, Unigram, WordLevel, WordPiece
from ssl_cli.errors import InputError
from tests.helpers.processes import run
from tests.helpers.text_data import encode_each

TEXTS = [
    "Birds can fly. Most birds, that is! Can penguins fly?\n\nNo: they swim, and they walk.",
    "The café's naïve owner outputs: don't — 3.14 of the birds walked.",
    "鸟会飞。企鹅不会飞，但它们会游泳！鸟会走吗？",
    "walking walked walks walker swimming swimmer swims flying flier flies " * 3,
]
TRAINERS: dict[str, tuple[type[TrainedTokenizer], dict[str, Any]]] = {
    "wordpiece": (WordPiece, {"lowercase": True}),
    "cased": (WordPiece, {"lowercase": False}),
    "bpe": (ByteLevelBPE, {}),
    "unigram": (Unigram, {}),
    "char": (CharLevel, {}),
    "word": (WordLevel, {"lowercase": True}),
}
UNUSUAL = [*"aAbéñ 中文国。，.!?'\"1 \n\t\r\u0301\u3000\xa0\u200b▁Ġ①ﬁ가か\u2028\x1c\x85\x00\ufffd¨ẞİ😀\u200dΣ_-"]
UNUSUAL += ["[MASK]", "<|endoftext|>", "  ", " \n", "'s", "n't", "[UNK]", "fly", " the"]


def trained(name: str, size: int = 400, texts: list[str] = TEXTS, sample_bytes: int = 10**6) -> Tokenizer:
    kind, options = TRAINERS[name]
    return kind(vocab_size=size, sample_bytes=sample_bytes, **options).train(texts)


@pytest.mark.parametrize("name", TRAINERS)
def test_special_tokens_come_first_and_the_vocabulary_is_no_larger_than_asked(name: str) -> None:
    for size in (300, 400):
        tokenizer = trained(name, size)
        assert [tokenizer.token(k) for k in range(5)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        assert 6 < tokenizer.vocab_size <= size
        end = 5 if name == "bpe" else 3
        assert tokenizer.specials == {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4, "end": end}


@pytest.mark.parametrize("name", TRAINERS)
def test_cached_pieces_give_the_same_tokens_as_the_library(name: str) -> None:
    """Cached pieces of unusual texts, against the library on the whole text."""
    draw = random.Random(0)
    texts = ["".join(draw.choices(UNUSUAL, k=draw.randrange(30))) for _ in range(1500)]
    tokenizer = trained(name, texts=[*TEXTS, "".join(UNUSUAL) * 3])
    assert piece_pattern(json.loads(tokenizer.to_json())) is not None
    whole = without_special_tokens(tokenizer.library).encode_batch(texts, add_special_tokens=False)
    allowed = id_map(tokenizer.library)
    for text, mine, theirs in zip(texts, encode_each(tokenizer, texts), whole, strict=True):
        assert mine.tolist() == allowed[theirs.ids].tolist(), repr(text)
    joined = " ".join(texts)
    assert np.array_equal(
        np.concatenate(encode_each(tokenizer, list(cut_between_words(joined, max_chars=100)))),
        encode_each(tokenizer, [joined])[0],
    )


@pytest.mark.parametrize("name", TRAINERS)
def test_special_token_names_are_text_in_a_corpus_and_tokens_in_a_prompt(name: str) -> None:
    tokenizer = trained(name)
    (tokens,) = encode_each(tokenizer, ["Birds [MASK] fly[SEP] <|endoftext|>"])
    assert not set(tokens.tolist()) & (set(tokenizer.specials.values()) - {tokenizer.specials["unk"]})
    assert tokenizer.specials["mask"] in tokenizer.encode("Birds can [MASK].")


@pytest.mark.parametrize("name", TRAINERS)
def test_sentinels_follow_the_special_tokens(name: str) -> None:
    kind, options = TRAINERS[name]
    tokenizer = kind(vocab_size=400, sample_bytes=10**6, sentinels=12, **options).train(TEXTS)
    first = 6 if name == "bpe" else 5
    assert tokenizer.sentinels == list(range(first, first + 12))
    assert tokenizer.vocab_size <= 400 and Tokenizer.from_json(tokenizer.to_json()).sentinels == tokenizer.sentinels
    ids = tokenizer.encode("the birds <extra_id_11> fly")
    assert ids.count(first + 11) == 1 and set(tokenizer.sentinels) <= set(tokenizer.special_ids_except_end)
    assert (len(ids) == len(tokenizer.encode("the birds<extra_id_11> fly"))) == (name != "char")
    (text,) = encode_each(tokenizer, ["the birds <extra_id_11> fly"])
    assert not set(text.tolist()) & set(tokenizer.sentinels)  # in a corpus it is text
    assert trained(name).sentinels == []


def test_sentinels_are_in_the_order_of_their_names() -> None:
    """T5 numbers them downwards from the end of its vocabulary."""
    library = trained("word").library
    n = library.get_vocab_size()
    library.add_special_tokens([f"<extra_id_{k}>" for k in (2, 1, 0)])
    assert Tokenizer(library).sentinels == [n + 2, n + 1, n]


@pytest.mark.parametrize("name", ["bpe", "unigram"])
def test_a_mask_includes_the_space_before_it(name: str) -> None:
    """As a word does; text directly after the mask begins no word."""
    tokenizer = trained(name)
    mask = tokenizer.specials["mask"]
    for text, beside in (("fly [MASK].", "fly[MASK]."), ("fly, [MASK] [MASK]s", "fly,[MASK][MASK]s")):
        ids = tokenizer.encode(text)
        assert mask in ids and ids == tokenizer.encode(beside)
    assert tokenizer.encode("[MASK].") == [mask, *tokenizer.encode("fly.")[-1:]]


@pytest.mark.parametrize("name", TRAINERS)
def test_a_pair_of_texts_follows_berts_template(name: str) -> None:
    tokenizer = trained(name)
    found, a, b = tokenizer.library.encode("fly", "the birds"), tokenizer.encode("fly"), tokenizer.encode("the birds")
    assert found.ids == [2, *a, 3, *b, 3]
    assert found.type_ids == [0] * (len(a) + 2) + [1] * (len(b) + 1)


@pytest.mark.parametrize("name", ["bpe", "char"])
def test_decoding_gives_back_the_text(name: str) -> None:
    tokenizer = trained(name, 2000)
    for text in [*TEXTS, " two  spaces\n\n\tand a tab ", "\r\n"][: None if name == "bpe" else 4]:
        (ids,) = encode_each(tokenizer, [text])
        assert tokenizer.decode(ids) == text == tokenizer.decode(tokenizer.encode(text))


ANOTHER_PROCESS = """
import hashlib, sys
from tests.data.tokenizers.test_trainers import TRAINERS, trained
texts = [" ".join(f"{a}{b}{c}é中{a}" for a in "abcdefg" for b in "hijkl" for c in "mnop"), "aa bb cc dd ee ff"]
for name in TRAINERS:
    print(name, hashlib.sha256(trained(name, 300, texts).to_json().encode()).hexdigest())
"""


def test_the_same_text_makes_the_same_file_in_any_process() -> None:
    """With ties everywhere: hash maps of the library have another order in each process."""
    outputs = set()
    for threads in ("1", "2", "2"):
        environment = os.environ | {"RAYON_NUM_THREADS": threads}
        command = [sys.executable, "-c", ANOTHER_PROCESS]
        ended = run(command, env=environment, cwd=Path(__file__).parents[3])
        assert not ended.returncode, ended.stderr
        outputs.add(ended.stdout)
    assert len(outputs) == 1


def test_only_the_beginning_is_learned_from() -> None:
    short, whole = trained("word", sample_bytes=200), trained("word")
    assert whole.library.token_to_id("walking") is not None
    assert short.library.token_to_id("walking") is None


def test_a_word_that_is_too_long_is_learned_in_pieces() -> None:
    draw = random.Random(0)
    word = "".join(draw.choice("abcd") for _ in range(300))
    trainer = WordPiece(vocab_size=60, sample_bytes=10_000, lowercase=True)
    pieces = " ".join(word[k : k + 100] for k in (0, 100, 200))
    assert trainer.train([word]).to_json() == trainer.train([pieces]).to_json()


def test_rare_characters_are_dropped_for_words() -> None:
    texts = ["the birds fly " * 20, "".join(chr(0x4E00 + k) for k in range(3000))]
    tokenizer = trained("wordpiece", 100, texts)
    assert tokenizer.vocab_size <= 100
    assert tokenizer.library.token_to_id("birds") is not None


def test_a_character_vocabulary_keeps_the_frequent_ones() -> None:
    tokenizer = trained("char", 8, ["aaaa bbb cc d"])
    assert [tokenizer.token(k) for k in range(5, 8)] == ["a", " ", "b"]


# --- classes of tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("wordpiece", "Walked, walkers 鸟会", ["walked", ",", "walkers", "鸟", "会"]),
        ("bpe", "(Walked, walkers\nthe)", ["(", "Walked", ",", " walkers", "\n", "the", ")"]),
        ("unigram", "Walked, walkers", ["Walked", ",", "walkers"]),
        ("char", "Walked, the 鸟会a", ["Walked", ",", " ", "the", " ", "鸟", "会", "a"]),
        ("word", "Walked unheard the", ["walked", "[UNK]", "the"]),
    ],
)
def test_where_words_begin(name: str, text: str, words: list[str]) -> None:
    tokenizer = trained(name, texts=[*TEXTS, text * 2] if name != "word" else TEXTS)
    (ids,) = encode_each(tokenizer, [text])
    parts = np.split(ids, np.flatnonzero(tokenizer.find_word_starts(ids)))[1:]
    found = [tokenizer.decode(part) for part in parts]
    assert [one.strip(" ") or one for one in found] == [one.strip(" ") or one for one in words]


def test_chinese_characters_begin_words_in_bytes_too() -> None:
    tokenizer = trained("bpe", 262)  # nothing but bytes
    (ids,) = encode_each(tokenizer, ["鸟飞"])
    assert tokenizer.find_word_starts(ids).tolist() == [True, False, False] * 2


@pytest.mark.parametrize("name", ["wordpiece", "bpe", "char"])
def test_which_tokens_end_sentences(name: str) -> None:
    tokenizer = trained(name, 1000)
    (ids,) = encode_each(tokenizer, ["Fly. No! Can they? 3, 飞。"])
    shown = [tokenizer.decode([token]).strip() for token in ids[tokenizer.sentence_ends[ids]]]
    assert shown[:3] == [".", "!", "?"]
    if name != "bpe":  # where it is several bytes
        assert shown[3:] == ["。"]
    assert not tokenizer.sentence_ends[list(tokenizer.specials.values())].any()


# --- files --------------------------------------------------------------------------------------------------


def test_transformers_reads_the_file(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = trained("wordpiece")
    tokenizer.save(tmp_path / "tokenizer.json")
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    assert theirs(TEXTS[0])["input_ids"] == [2, *tokenizer.encode(TEXTS[0]), 3]
    again = Tokenizer.load(tmp_path / "tokenizer.json")
    assert again.to_json() == tokenizer.to_json()
    assert again.specials == tokenizer.specials


def test_a_file_that_is_no_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="can't be read as a tokenizer"):
        Tokenizer.load(tmp_path / "tokenizer.json")


def test_berts_vocabulary_is_read(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    vocabulary = trained("wordpiece").library.get_vocab()
    (tmp_path / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)) + "\n")
    tokenizer = PretrainedTokenizer(str(tmp_path)).train()
    theirs = transformers.BertTokenizerFast(vocab=str(tmp_path / "vocab.txt"))
    for text in TEXTS:
        assert tokenizer.encode(text) == theirs(text, add_special_tokens=False)["input_ids"]
        assert encode_each(tokenizer, [text])[0].tolist() == tokenizer.encode(text)
    assert tokenizer.specials == {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4, "end": 3}


def test_gpt2s_files_are_read(tmp_path: Path) -> None:
    trained("bpe").library.model.save(str(tmp_path))
    tokenizer = PretrainedTokenizer(str(tmp_path)).train()
    assert tokenizer.specials["end"] == 5
    assert tokenizer.encode(TEXTS[1]) == trained("bpe").encode(TEXTS[1])
    assert PretrainedTokenizer(str(tmp_path)).cache_key() == PretrainedTokenizer(str(tmp_path)).cache_key()


def test_a_tokenizer_without_a_mask_has_no_mask_among_its_specials(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "b": 1, "<|endoftext|>": 2}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    assert PretrainedTokenizer(str(tmp_path)).train().specials == {"end": 2}


def test_padding_and_truncation_of_a_file_are_disabled(tmp_path: Path) -> None:
    library = Library.from_str(trained("wordpiece").to_json())
    library.enable_truncation(4)
    library.enable_padding(length=64)
    library.save(str(tmp_path / "tokenizer.json"))
    assert PretrainedTokenizer(str(tmp_path)).train().encode(TEXTS[0]) == trained("wordpiece").encode(TEXTS[0])


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no tokenizer"):
        PretrainedTokenizer(str(tmp_path)).train()
    (tmp_path / "vocab.json").write_text("[]")
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(InputError, match="can't be read as a tokenizer"):
        PretrainedTokenizer(str(tmp_path)).train()


# --- rejected -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "size", "minimum"), [("bpe", 261, 262), ("wordpiece", 4, 8), ("char", 5, 8)])
def test_a_vocabulary_smaller_than_its_special_tokens(name: str, size: int, minimum: int) -> None:
    with pytest.raises(InputError, match=rf"vocab_size={size} is too small.* must be at least {minimum}"):
        trained(name, size)


def test_a_vocabulary_smaller_than_its_sentinels() -> None:
    with pytest.raises(InputError, match=r"first, and tokenizer.sentinels=100, so it must be at least 362"):
        ByteLevelBPE(vocab_size=300, sample_bytes=100, sentinels=100)


@pytest.mark.parametrize("texts", [[], ["", " \n\t"]])
def test_an_empty_corpus(texts: list[str]) -> None:
    with pytest.raises(InputError, match="The training text is empty"):
        trained("wordpiece", texts=texts)


@pytest.mark.parametrize("name", TRAINERS)
def test_the_smallest_vocabularies_work(name: str) -> None:
    tokenizer = trained(name, 262 if name == "bpe" else 8)
    assert len(encode_each(tokenizer, TEXTS)[0])


def test_cache_keys_differ_by_options() -> None:
    keys = {
        json.dumps(kind(vocab_size=size, sample_bytes=9, **options).cache_key())
        for kind, options in TRAINERS.values()
        for size in (300, 301)
    }
    assert len(keys) == 2 * len(TRAINERS)
