"""Tests of splitting texts into words, tokenizing words one by one, and splitting sentences into windows."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ssl_cli.data.labelled.conll import read_sentences
from ssl_cli.data.labelled.word_pieces import WordTokenizer, add_spaces, sentence_windows, split_words
from tests.helpers.pretrain_runs import tokenizer_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Jim Henson met Ann, in Paris.", "Jim|Henson|met|Ann|,|in|Paris|."),
        (
            "The U.S. paid $3.50 (1,000 in all) for 3.5% at 10:30.",
            "The|U.S.|paid|$|3.50|(|1,000|in|all|)|for|3.5|%|at|10:30|.",
        ),
        ("Mr. O'Neill didn't write Ann's e-mail...", "Mr.|O'Neill|did|n't|write|Ann|'s|e-mail|..."),
        ("“J. K. Rowling” -- AT&T’s, a_b!", "“|J.|K.|Rowling|”|--|AT&T|’s|,|a_b|!"),
        ("See https://example.org/a?b=c, e.g. now;", "See|https://example.org/a?b=c|,|e.g.|now|;"),
        ("हिन्दी में। 안녕 세계.", "हिन्दी|में|।|안녕|세계|."),
        ("我在 1998年　用Python。", "我|在|1|9|9|8|年|用|P|y|t|h|o|n|。"),
        ("She said 你好 to Ann，Python写.", "She|said|你|好|to|Ann|，|Python|写|."),
        ("\u3000 ", ""),
    ],
)
def test_split_words_follows_treebanks(text: str, words: str) -> None:
    assert split_words(text) == [word for word in words.split("|") if word]


@pytest.mark.parametrize(
    ("path", "share"), [("conll2003/eng.testa", 0.98), ("ud_english_ewt/en_ewt-ud-dev.conllu", 0.96)]
)
def test_split_words_recovers_most_treebank_words(shared: Path, path: str, share: float) -> None:
    """The sentences are joined without the spaces that a writer would omit."""
    n_recovered = n_words = 0
    for sentence in read_sentences(shared / path, None, None, True)[:1000]:
        text = re.sub(r" (?=[,.;:!?)%]|'s|n't)", "", " ".join(sentence.words))
        split, words = (Counter(items) for items in (split_words(text.replace("( ", "(")), sentence.words))
        n_recovered, n_words = n_recovered + (split & words).total(), n_words + len(sentence.words)
    assert n_recovered / n_words > share


def test_add_spaces_omits_them_beside_chinese_characters() -> None:
    assert "".join(add_spaces(["Peter", "'s", "3", "cafés"])) == "Peter 's 3 cafés"
    assert "".join(add_spaces(["我", "在", "1998", "年", "用", "Python", "写"])) == "我在1998年用Python写"
    assert "".join(add_spaces(["1", "9", "年"])) == "19年"  # each word is a character
    assert "".join(add_spaces(["I", "a", "m"])) == "I a m"


@pytest.mark.parametrize("kind", ["wordpiece", "word", "bpe"])
def test_word_tokens_equal_those_of_the_library(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    words = add_spaces(["The", "bird", "sings", "café", "\ufeff", "鸟", "会", "un-known"])
    tokens = WordTokenizer(tokenizer, 3, 99)
    tokens.add_words(words)
    whole = tokenizer.library.encode(words, is_pretokenized=True, add_special_tokens=False)
    for place, word in enumerate(words):
        ids = [number for number, of in zip(whole.ids, whole.word_ids, strict=True) if of == place]
        assert tokens.tokens_of(word)[0] == (ids or [tokenizer.specials["unk"]])
    assert tokens.untokenized == ({" \ufeff"} if kind == "wordpiece" else set())


@pytest.mark.parametrize("kind", ["bpe", "unigram", "char"])
def test_token_of_a_word_is_never_the_space_before_it(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    words = add_spaces(["A", "dog", "cafés", "鸟", "会"])
    tokens = WordTokenizer(tokenizer, 3, 99)
    tokens.add_words(words)
    for word in words:
        ids, head = tokens.tokens_of(word)
        assert tokenizer.decode([ids[head]]).strip()
    if kind != "unigram":
        assert tokenizer.decode([number for word in words for number in tokens.tokens_of(word)[0]]) == "A dog cafés鸟会"
    last_tokens = WordTokenizer(tokenizer, 3, 99, use_last_token=True)
    last_tokens.add_words(words)
    assert all(head == len(ids) - 1 for ids, head in map(last_tokens.tokens_of, words))


def test_windows_fit_and_predict_each_word_once() -> None:
    rng = np.random.default_rng(0)
    for room in (1, 2, 5, 8, 30):
        for _ in range(50):
            lengths = rng.integers(1, min(room, 7) + 1, rng.integers(1, 60)).tolist()
            windows = sentence_windows(lengths, room)
            assert [word for _, first, last, _ in windows for word in range(first, last)] == list(range(len(lengths)))
            assert all(begin <= first < last <= end for begin, first, last, end in windows)
            assert all(sum(lengths[begin:end]) <= room for begin, _, _, end in windows)
    assert sentence_windows([1] * 8, 8) == [(0, 0, 8, 8)]
    assert sentence_windows([1] * 12, 8) == [(0, 0, 6, 8), (4, 6, 12, 12)]  # two words of context on both sides
