"""Tokenizers: the same file from the same text, exact encoding, what each kind of token is."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer as Library

from ssl_cli.data.tokenizers.fast_encode import CachedEncoder, cut, id_map, pattern, without_special_tokens
from ssl_cli.data.tokenizers.pretrained import PretrainedTokenizer
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import ByteLevelBPE, CharLevel, TrainedTokenizer, Unigram, WordLevel, WordPiece
from ssl_cli.errors import InputError

TEXTS = [
    "Birds can fly. Most birds, that is! Can penguins fly?\n\nNo: they swim, and they walk.",
    "The café's naïve owner said: don't — 3.14 of the birds walked.",
    "鸟会飞。企鹅不会飞，但它们会游泳！鸟会走吗？",
    "walking walked walks walker swimming swimmer swims flying flier flies " * 3,
]
MAKERS: dict[str, tuple[type[TrainedTokenizer], dict[str, Any]]] = {
    "wordpiece": (WordPiece, {"lowercase": True}),
    "cased": (WordPiece, {"lowercase": False}),
    "bpe": (ByteLevelBPE, {}),
    "unigram": (Unigram, {}),
    "char": (CharLevel, {}),
    "word": (WordLevel, {"lowercase": True}),
}
STRANGE = [*"aAbéñ 中文国。，.!?'\"1 \n\t\r\u0301\u3000\xa0\u200b▁Ġ①ﬁ가か\u2028\x1c\x85\x00\ufffd¨ẞİ😀\u200dΣ_-"]
STRANGE += ["[MASK]", "<|endoftext|>", "  ", " \n", "'s", "n't", "[UNK]", "fly", " the"]


def trained(name: str, size: int = 400, texts: list[str] = TEXTS, sample_bytes: int = 10**6) -> Tokenizer:
    kind, options = MAKERS[name]
    return kind(vocab_size=size, sample_bytes=sample_bytes, **options).train(texts)


def in_pieces(tokenizer: Tokenizer, texts: list[str]) -> list[np.ndarray]:
    """The tokens of each text (n,), as a corpus is encoded"""
    tokens, length = CachedEncoder(tokenizer.library).encode(texts)
    return np.split(tokens, np.cumsum(length)[:-1])


@pytest.mark.parametrize("name", MAKERS)
def test_special_tokens_come_first_and_the_vocabulary_is_no_larger_than_asked(name: str) -> None:
    for size in (300, 400):
        tokenizer = trained(name, size)
        assert [tokenizer.token(k) for k in range(5)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        assert 6 < tokenizer.vocab_size <= size
        end = 5 if name == "bpe" else 3
        assert tokenizer.specials == {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4, "end": end}


@pytest.mark.parametrize("name", MAKERS)
def test_pieces_give_the_librarys_own_tokens(name: str) -> None:
    """Remembered pieces, of whatever text, against the library on the whole text."""
    draw = random.Random(0)
    texts = ["".join(draw.choices(STRANGE, k=draw.randrange(30))) for _ in range(1500)]
    tokenizer = trained(name, texts=[*TEXTS, "".join(STRANGE) * 3])
    assert pattern(json.loads(tokenizer.to_json())) is not None
    whole = without_special_tokens(tokenizer.library).encode_batch(texts, add_special_tokens=False)
    allowed = id_map(tokenizer.library)
    for text, mine, theirs in zip(texts, in_pieces(tokenizer, texts), whole, strict=True):
        assert mine.tolist() == allowed[theirs.ids].tolist(), repr(text)
    joined = " ".join(texts)
    assert np.array_equal(
        np.concatenate(in_pieces(tokenizer, list(cut(joined, most=100)))), in_pieces(tokenizer, [joined])[0]
    )


@pytest.mark.parametrize("name", MAKERS)
def test_what_looks_like_a_special_token_is_text_in_a_corpus_and_a_token_in_a_prompt(name: str) -> None:
    tokenizer = trained(name)
    (tokens,) = in_pieces(tokenizer, ["Birds [MASK] fly[SEP] <|endoftext|>"])
    assert not set(tokens.tolist()) & (set(tokenizer.specials.values()) - {tokenizer.specials["unk"]})
    assert tokenizer.specials["mask"] in tokenizer.encode("Birds can [MASK].")


@pytest.mark.parametrize("name", ["bpe", "unigram"])
def test_the_space_before_a_mask_is_the_masks(name: str) -> None:
    """As it is a word's; and what follows the mask at once begins no word."""
    tokenizer = trained(name)
    mask = tokenizer.specials["mask"]
    for text, beside in (("fly [MASK].", "fly[MASK]."), ("fly, [MASK] [MASK]s", "fly,[MASK][MASK]s")):
        ids = tokenizer.encode(text)
        assert mask in ids and ids == tokenizer.encode(beside)
    assert tokenizer.encode("[MASK].") == [mask, *tokenizer.encode("fly.")[-1:]]


@pytest.mark.parametrize("name", MAKERS)
def test_a_pair_of_texts_is_framed_as_berts(name: str) -> None:
    tokenizer = trained(name)
    found, a, b = tokenizer.library.encode("fly", "the birds"), tokenizer.encode("fly"), tokenizer.encode("the birds")
    assert found.ids == [2, *a, 3, *b, 3]
    assert found.type_ids == [0] * (len(a) + 2) + [1] * (len(b) + 1)


@pytest.mark.parametrize("name", ["bpe", "char"])
def test_a_text_comes_back_as_it_was(name: str) -> None:
    tokenizer = trained(name, 2000)
    for text in [*TEXTS, " two  spaces\n\n\tand a tab ", "\r\n"][: None if name == "bpe" else 4]:
        (ids,) = in_pieces(tokenizer, [text])
        assert tokenizer.decode(ids) == text == tokenizer.decode(tokenizer.encode(text))


ANOTHER_PROCESS = """
import hashlib, sys
from tests.data.tokenizers.test_trainers import MAKERS, trained
texts = [" ".join(f"{a}{b}{c}é中{a}" for a in "abcdefg" for b in "hijkl" for c in "mnop"), "aa bb cc dd ee ff"]
for name in MAKERS:
    print(name, hashlib.sha256(trained(name, 300, texts).to_json().encode()).hexdigest())
"""


def test_the_same_text_makes_the_same_file_in_any_process() -> None:
    """With ties everywhere: hash maps of the library have another order in each process."""
    said = set()
    for threads in ("1", "2", "2"):
        environment = os.environ | {"RAYON_NUM_THREADS": threads}
        command = [sys.executable, "-c", ANOTHER_PROCESS]
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[3])
        assert not ended.returncode, ended.stderr
        said.add(ended.stdout)
    assert len(said) == 1


def test_only_the_beginning_teaches() -> None:
    few, all_of_it = trained("word", sample_bytes=200), trained("word")
    assert all_of_it.library.token_to_id("walking") is not None
    assert few.library.token_to_id("walking") is None


def test_a_word_that_is_too_long_to_be_read_teaches_in_pieces() -> None:
    draw = random.Random(0)
    word = "".join(draw.choice("abcd") for _ in range(300))
    maker = WordPiece(vocab_size=60, sample_bytes=10_000, lowercase=True)
    pieces = " ".join(word[k : k + 100] for k in (0, 100, 200))
    assert maker.train([word]).to_json() == maker.train([pieces]).to_json()


def test_rare_characters_give_way_to_words() -> None:
    texts = ["the birds fly " * 20, "".join(chr(0x4E00 + k) for k in range(3000))]
    tokenizer = trained("wordpiece", 100, texts)
    assert tokenizer.vocab_size <= 100
    assert tokenizer.library.token_to_id("birds") is not None


def test_a_character_vocabulary_keeps_the_frequent_ones() -> None:
    tokenizer = trained("char", 8, ["aaaa bbb cc d"])
    assert [tokenizer.token(k) for k in range(5, 8)] == ["a", " ", "b"]


# --- kinds of tokens ----------------------------------------------------------------------------------------


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
    (ids,) = in_pieces(tokenizer, [text])
    parts = np.split(ids, np.flatnonzero(tokenizer.starts(ids)))[1:]
    found = [tokenizer.decode(part) for part in parts]
    assert [one.strip(" ") or one for one in found] == [one.strip(" ") or one for one in words]


def test_chinese_characters_begin_words_in_bytes_too() -> None:
    tokenizer = trained("bpe", 262)  # nothing but bytes
    (ids,) = in_pieces(tokenizer, ["鸟飞"])
    assert tokenizer.starts(ids).tolist() == [True, False, False] * 2


@pytest.mark.parametrize("name", ["wordpiece", "bpe", "char"])
def test_which_tokens_end_sentences(name: str) -> None:
    tokenizer = trained(name, 1000)
    (ids,) = in_pieces(tokenizer, ["Fly. No! Can they? 3, 飞。"])
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
    with pytest.raises(InputError, match="is no tokenizer that can be read"):
        Tokenizer.load(tmp_path / "tokenizer.json")


def test_a_berts_vocabulary_is_taken(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    vocabulary = trained("wordpiece").library.get_vocab()
    (tmp_path / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)) + "\n")
    tokenizer = PretrainedTokenizer(str(tmp_path)).train()
    theirs = transformers.BertTokenizerFast(vocab=str(tmp_path / "vocab.txt"))
    for text in TEXTS:
        assert tokenizer.encode(text) == theirs(text, add_special_tokens=False)["input_ids"]
        assert in_pieces(tokenizer, [text])[0].tolist() == tokenizer.encode(text)
    assert tokenizer.specials == {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4, "end": 3}


def test_gpts_files_are_taken(tmp_path: Path) -> None:
    trained("bpe").library.model.save(str(tmp_path))
    tokenizer = PretrainedTokenizer(str(tmp_path)).train()
    assert tokenizer.specials["end"] == 5
    assert tokenizer.encode(TEXTS[1]) == trained("bpe").encode(TEXTS[1])
    assert PretrainedTokenizer(str(tmp_path)).description() == PretrainedTokenizer(str(tmp_path)).description()


def test_a_tokenizer_without_a_mask_says_so_by_its_specials(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "b": 1, "<|endoftext|>": 2}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    assert PretrainedTokenizer(str(tmp_path)).train().specials == {"end": 2}


def test_padding_and_truncation_from_elsewhere_are_switched_off(tmp_path: Path) -> None:
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
    with pytest.raises(InputError, match="is no tokenizer that can be read"):
        PretrainedTokenizer(str(tmp_path)).train()


# --- refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "size", "least"), [("bpe", 261, 262), ("wordpiece", 4, 8), ("char", 5, 8)])
def test_a_vocabulary_smaller_than_its_special_tokens(name: str, size: int, least: int) -> None:
    with pytest.raises(InputError, match=rf"vocab_size={size} is too small.* must be {least} at least"):
        trained(name, size)


@pytest.mark.parametrize("texts", [[], ["", " \n\t"]])
def test_an_empty_corpus(texts: list[str]) -> None:
    with pytest.raises(InputError, match="The training text is empty"):
        trained("wordpiece", texts=texts)


@pytest.mark.parametrize("name", MAKERS)
def test_the_smallest_vocabularies_work(name: str) -> None:
    tokenizer = trained(name, 262 if name == "bpe" else 8)
    assert len(in_pieces(tokenizer, TEXTS)[0])


def test_descriptions_tell_options_apart() -> None:
    told = {
        json.dumps(kind(vocab_size=size, sample_bytes=9, **options).description())
        for kind, options in MAKERS.values()
        for size in (300, 301)
    }
    assert len(told) == 2 * len(MAKERS)
