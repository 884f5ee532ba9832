"""Sentences with tags: CoNLL's columns, CoNLL-U, JSON lines; what is wrong in them; words as tokens."""

import gzip
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_cli.data.labelled.conll import TaggedSentences, read_sentences
from ssl_cli.data.labelled.word_pieces import WordTokenizer, spelled, windows, words_of
from ssl_cli.errors import InputError
from tests.helpers.pretrain_runs import tokenizer_of

NEWS = """EU NNP I-ORG
rejects VBZ O

-DOCSTART- -X- O

Peter NNP I-PER
. . O"""
WEB = """# newdoc id = a
# sent_id = a-1
# text = Can't go
1-2\tCan't\t_\t_\t_\t_\t_\t_\t_\t_
1\tCa\tcan\tAUX\tMD\t_\t0\troot\t_\t_
2\tn't\tnot\tPART\tRB\t_\t1\tadvmod\t_\t_
2.1\tgo\tgo\tVERB\tVB\t_\t_\t_\t_\t_
3\tten thousand\tgo\tNUM\tCD\t_\t1\tx\t_\t_

"""


def read(folder: Path, name: str, text: str, word: Any = None, tag: Any = None, tagged: bool = True) -> TaggedSentences:
    (folder / name).write_text(text, encoding="utf-8")
    return read_sentences(folder / name, word, tag, tagged)


def test_columns_between_blanks_and_documents_left_out(tmp_path: Path) -> None:
    found = read(tmp_path, "eng.train", NEWS)
    assert [(one.words, one.tags) for one in found] == [
        (("EU", "rejects"), ("I-ORG", "O")),
        (("Peter", "."), ("I-PER", "O")),
    ]
    assert found.place(found[1], 1).endswith("eng.train, line 7")
    assert found.warnings == (f"{tmp_path / 'eng.train'}: 1 -DOCSTART- lines left out.",)
    assert read(tmp_path, "eng.train", NEWS, 0, 1)[0].tags == ("NNP", "VBZ")


def test_a_word_may_be_what_unicode_calls_a_blank(tmp_path: Path) -> None:
    found = read(tmp_path, "a.txt", "中 B-LOC\n\u3000 O\n\ufeff O\n\n10 000\tO\n")
    assert [one.words for one in found] == [("中", "\u3000", "\ufeff"), ("10 000",)]


def test_compressed_files_and_windows_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(NEWS.replace("\n", "\r\n").encode()))
    assert [one.tags for one in read_sentences(path, None, None, True)] == [("I-ORG", "O"), ("I-PER", "O")]


def test_conllu_has_words_alone(tmp_path: Path) -> None:
    found = read(tmp_path, "a.conllu", WEB)
    assert (found[0].id, found[0].words) == ("a-1", ("Ca", "n't", "ten thousand"))
    assert found[0].tags == ("AUX", "PART", "NUM") and found[0].lines == (5, 6, 8)
    assert read(tmp_path, "a.conllu", WEB, tag="xpos")[0].tags == ("MD", "RB", "CD")


def test_json_lines(tmp_path: Path) -> None:
    text = '{"id": "x", "tokens": ["a", "b"], "tags": ["O", "B-X"]}\n{"tokens": ["c"], "tags": ["O"]}\n'
    found = read(tmp_path, "a.jsonl", text)
    assert [(one.id, one.words, one.tags) for one in found] == [("x", ("a", "b"), ("O", "B-X")), (1, ("c",), ("O",))]
    assert found.place(found[1], 0).endswith("a.jsonl, line 2")


def test_halves_of_characters_are_replaced_and_counted(tmp_path: Path) -> None:
    found = read(
        tmp_path, "a.jsonl", r'{"id": "\ud800", "tokens": ["a\ud800", "\ud83d\udc15"], "tags": ["O", "\udc00"]}'
    )
    assert (found[0].id, found[0].words, found[0].tags) == ("\ufffd", ("a\ufffd", "\U0001f415"), ("O", "\ufffd"))
    [told] = found.warnings
    assert told.startswith("3 fault(s) of UTF-8 replaced") and "a.jsonl, line 1" in told


def test_a_test_file_may_lack_tags(tmp_path: Path) -> None:
    assert [one.tags for one in read(tmp_path, "a.txt", "EU\nrejects\n\nPeter\n", 0, -1, tagged=False)] == [None, None]
    assert read(tmp_path, "a.jsonl", '{"tokens": ["a"]}', tagged=False)[0].tags is None
    untold = WEB.replace("AUX", "_").replace("PART", "_").replace("NUM", "_")
    assert read(tmp_path, "a.conllu", untold, tagged=False)[0].tags is None
    assert read(tmp_path, "b.txt", "EU O\n", tagged=False)[0].tags == ("O",)


@pytest.mark.parametrize(
    ("name", "text", "options", "said"),
    [
        ("a.txt", "EU O\n\nPeter\n", {}, "line 3: 'Peter' has 1 column(s), and none of its own for the tag"),
        ("a.txt", "EU O\n", {"tag": 3}, "line 1: 'EU O' has 2 column(s), and none of its own for the tag"),
        ("a.txt", "EU O\n", {"tag": "upos"}, "'upos' is no column's number"),
        ("a.txt", "\n \n", {}, "holds no sentence"),
        ("a.conllu", "1\tHe\n", {}, "line 1: '1\\tHe' has 2 column(s)"),
        ("a.conllu", WEB, {"tag": "pos"}, "CoNLL-U has no field 'pos': it has id, form"),
        ("a.conllu", WEB, {"tag": "feats"}, "line 5: no word of the sentence has a tag (feats is _ throughout)"),
        ("a.jsonl", '{"tokens": ["a"]}', {}, "line 1: there is no field tags, only tokens"),
        ("a.jsonl", '{"tokens": ["a"], "tags": []}', {}, "line 1: the field tags must be a list of texts"),
        ("a.jsonl", '{"tokens": ["a"], "tags": ["O", "O"]}', {}, "line 1: there are 1 words and 2 tags"),
        ("a.jsonl", "{", {}, "line 1: it is no JSON"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    tmp_path: Path, name: str, text: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        read(tmp_path, name, text, **options)


@pytest.mark.parametrize(
    ("path", "sentences", "words"),
    [
        ("conll2003/eng.testa", 3466 - 216, 51_578 - 216),
        ("ud_english_ewt/en_ewt-ud-dev.conllu", 2001, 25_147),
        ("ud_english_ewt/en_ewt-ud-test.conllu", 2077, 25_094),
        ("peopledaily_ner/dev.txt.gz", 4631, 172_601),
    ],
)
def test_published_counts(shared: Path, path: str, sentences: int, words: int) -> None:
    found = read_sentences(shared / path, None, None, True)
    assert (len(found), sum(len(one.words) for one in found)) == (sentences, words)


# --- words as tokens ---


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
def test_a_plain_text_is_parted_as_the_treebanks_part_it(text: str, words: str) -> None:
    assert words_of(text) == [word for word in words.split("|") if word]


@pytest.mark.parametrize(
    ("path", "share"), [("conll2003/eng.testa", 0.98), ("ud_english_ewt/en_ewt-ud-dev.conllu", 0.96)]
)
def test_the_treebanks_words_are_found_in_their_text(shared: Path, path: str, share: float) -> None:
    """Written with the blanks that a writer would leave out."""
    found = n_words = 0
    for one in read_sentences(shared / path, None, None, True)[:1000]:
        text = re.sub(r" (?=[,.;:!?)%]|'s|n't)", "", " ".join(one.words))
        said, words = (Counter(some) for some in (words_of(text.replace("( ", "(")), one.words))
        found, n_words = found + (said & words).total(), n_words + len(one.words)
    assert found / n_words > share


def test_blanks_are_written_between_words_but_not_beside_chinese_characters() -> None:
    assert "".join(spelled(["Peter", "'s", "3", "cafés"])) == "Peter 's 3 cafés"
    assert "".join(spelled(["我", "在", "1998", "年", "用", "Python", "写"])) == "我在1998年用Python写"
    assert "".join(spelled(["1", "9", "年"])) == "19年"  # each a character
    assert "".join(spelled(["I", "a", "m"])) == "I a m"


@pytest.mark.parametrize("kind", ["wordpiece", "word", "bpe"])
def test_words_alone_are_what_the_library_makes_of_words(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    words = spelled(["The", "bird", "sings", "café", "\ufeff", "鸟", "会", "un-known"])
    table = WordTokenizer(tokenizer, 3, 99)
    table.learn(words)
    whole = tokenizer.library.encode(words, is_pretokenized=True, add_special_tokens=False)
    for place, word in enumerate(words):
        ids = [number for number, of in zip(whole.ids, whole.word_ids, strict=True) if of == place]
        assert table.of(word)[0] == (ids or [tokenizer.specials["unk"]])
    assert table.vanished == ({" \ufeff"} if kind == "wordpiece" else set())


@pytest.mark.parametrize("kind", ["bpe", "unigram", "char"])
def test_the_token_of_a_word_is_never_the_blank_before_it(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    words = spelled(["A", "dog", "cafés", "鸟", "会"])
    table = WordTokenizer(tokenizer, 3, 99)
    table.learn(words)
    for word in words:
        ids, head = table.of(word)
        assert tokenizer.decode([ids[head]]).strip()
    if kind != "unigram":
        assert tokenizer.decode([number for word in words for number in table.of(word)[0]]) == "A dog cafés鸟会"
    at_last = WordTokenizer(tokenizer, 3, 99, at_last=True)
    at_last.learn(words)
    assert all(head == len(ids) - 1 for ids, head in map(at_last.of, words))


def test_windows_answer_each_word_once_and_fit() -> None:
    rng = np.random.default_rng(0)
    for room in (1, 2, 5, 8, 30):
        for _ in range(50):
            lengths = rng.integers(1, min(room, 7) + 1, rng.integers(1, 60)).tolist()
            found = windows(lengths, room)
            assert [word for _, first, last, _ in found for word in range(first, last)] == list(range(len(lengths)))
            assert all(begin <= first < last <= end for begin, first, last, end in found)
            assert all(sum(lengths[begin:end]) <= room for begin, _, _, end in found)
    assert windows([1] * 8, 8) == [(0, 0, 8, 8)]
    assert windows([1] * 12, 8) == [(0, 0, 6, 8), (4, 6, 12, 12)]  # two words beside those that are answered
