"""Tests of reading tagged sentences from CoNLL columns, CoNLL-U and JSON lines, and of their errors."""

import gzip
import re
from pathlib import Path
from typing import Any

import pytest

from ssl_cli.data.labelled.conll import TaggedSentences, read_sentences
from ssl_cli.data.labelled.conll_stream import stream_sentences
from ssl_cli.errors import InputError

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


def test_columns_without_document_lines(tmp_path: Path) -> None:
    sentences = read(tmp_path, "eng.train", NEWS)
    assert [(sentence.words, sentence.tags) for sentence in sentences] == [
        (("EU", "rejects"), ("I-ORG", "O")),
        (("Peter", "."), ("I-PER", "O")),
    ]
    assert sentences.place(sentences[1], 1).endswith("eng.train, line 7")
    assert sentences.warnings == (f"{tmp_path / 'eng.train'}: 1 -DOCSTART- lines left out.",)
    assert read(tmp_path, "eng.train", NEWS, 0, 1)[0].tags == ("NNP", "VBZ")


def test_word_may_be_unicode_white_space(tmp_path: Path) -> None:
    sentences = read(tmp_path, "a.txt", "中 B-LOC\n\u3000 O\n\ufeff O\n\n10 000\tO\n")
    assert [sentence.words for sentence in sentences] == [("中", "\u3000", "\ufeff"), ("10 000",)]


def test_compressed_file_with_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(NEWS.replace("\n", "\r\n").encode()))
    assert [sentence.tags for sentence in read_sentences(path, None, None, True)] == [("I-ORG", "O"), ("I-PER", "O")]


def test_conllu_yields_words_only(tmp_path: Path) -> None:
    sentences = read(tmp_path, "a.conllu", WEB)
    assert (sentences[0].id, sentences[0].words) == ("a-1", ("Ca", "n't", "ten thousand"))
    assert sentences[0].tags == ("AUX", "PART", "NUM") and sentences[0].lines == (5, 6, 8)
    assert read(tmp_path, "a.conllu", WEB, tag="xpos")[0].tags == ("MD", "RB", "CD")


def test_json_lines(tmp_path: Path) -> None:
    text = '{"id": "x", "tokens": ["a", "b"], "tags": ["O", "B-X"]}\n{"tokens": ["c"], "tags": ["O"]}\n'
    sentences = read(tmp_path, "a.jsonl", text)
    assert [(sentence.id, sentence.words, sentence.tags) for sentence in sentences] == [
        ("x", ("a", "b"), ("O", "B-X")),
        (1, ("c",), ("O",)),
    ]
    assert sentences.place(sentences[1], 0).endswith("a.jsonl, line 2")


def test_unpaired_surrogates_are_replaced_and_counted(tmp_path: Path) -> None:
    sentences = read(
        tmp_path, "a.jsonl", r'{"id": "\ud800", "tokens": ["a\ud800", "\ud83d\udc15"], "tags": ["O", "\udc00"]}'
    )
    assert (sentences[0].id, sentences[0].words, sentences[0].tags) == (
        "\ufffd",
        ("a\ufffd", "\U0001f415"),
        ("O", "\ufffd"),
    )
    [message] = sentences.warnings
    assert message.startswith("3 invalid UTF-8 sequence(s) replaced") and "a.jsonl, line 1" in message


def test_tags_may_be_missing_from_a_test_file(tmp_path: Path) -> None:
    assert [sentence.tags for sentence in read(tmp_path, "a.txt", "EU\nrejects\n\nPeter\n", 0, -1, tagged=False)] == [
        None,
        None,
    ]
    assert read(tmp_path, "a.jsonl", '{"tokens": ["a"]}', tagged=False)[0].tags is None
    untagged = WEB.replace("AUX", "_").replace("PART", "_").replace("NUM", "_")
    assert read(tmp_path, "a.conllu", untagged, tagged=False)[0].tags is None
    assert read(tmp_path, "b.txt", "EU O\n", tagged=False)[0].tags == ("O",)


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("a.txt", "EU O\n\nPeter\n", {}, "line 3: 'Peter' has 1 column(s) and no separate one for the tag"),
        ("a.txt", "EU O\n", {"tag": 3}, "line 1: 'EU O' has 2 column(s) and no separate one for the tag"),
        ("a.txt", "EU O\n", {"tag": "upos"}, "'upos' is not a column number"),
        ("a.txt", "\n \n", {}, "has no sentence"),
        ("a.conllu", "1\tHe\n", {}, "line 1: '1\\tHe' has 2 column(s)"),
        ("a.conllu", WEB, {"tag": "pos"}, "CoNLL-U has no field 'pos': it has id, form"),
        ("a.conllu", WEB, {"tag": "feats"}, "line 5: no word of the sentence has a tag (feats is always _)"),
        ("a.jsonl", '{"tokens": ["a"]}', {}, "line 1: there is no field tags, only tokens"),
        ("a.jsonl", '{"tokens": ["a"], "tags": []}', {}, "line 1: the field tags must be a list of texts"),
        ("a.jsonl", '{"tokens": ["a"], "tags": ["O", "O"]}', {}, "line 1: there are 1 words and 2 tags"),
        ("a.jsonl", "{", {}, "line 1: it is not JSON"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, name: str, text: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        read(tmp_path, name, text, **options)


@pytest.mark.parametrize(
    ("path", "n_sentences", "n_words"),
    [
        ("conll2003/eng.testa", 3466 - 216, 51_578 - 216),
        ("ud_english_ewt/en_ewt-ud-dev.conllu", 2001, 25_147),
        ("ud_english_ewt/en_ewt-ud-test.conllu", 2077, 25_094),
        ("peopledaily_ner/dev.txt.gz", 4631, 172_601),
    ],
)
def test_published_counts(shared: Path, path: str, n_sentences: int, n_words: int) -> None:
    sentences = read_sentences(shared / path, None, None, True)
    assert (len(sentences), sum(len(sentence.words) for sentence in sentences)) == (n_sentences, n_words)


def test_blanks_around_fields_are_no_part_of_them(tmp_path: Path) -> None:
    plain = "Ann\tB-PER\nin\tO\n\nRome\tB-LOC\n"
    blank = "Ann\tB-PER \n in \t O\t\n\nRome\t B-LOC  \t \n"
    (tmp_path / "plain.txt").write_text(plain)
    (tmp_path / "blank.txt").write_text(blank)
    found = [read_sentences(tmp_path / name, None, None, tagged=True) for name in ("plain.txt", "blank.txt")]
    assert list(found[0]) == list(found[1])
    (tmp_path / "blank.conll").write_text(blank)
    records = [record.record for record in stream_sentences(tmp_path / "blank.conll", None)]
    assert records == [{"tokens": ["Ann", "in"]}, {"tokens": ["Rome"]}]


def test_a_line_that_ends_in_a_tab_has_no_tag(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Ann\tB-PER\nin\t\n")
    with pytest.raises(InputError, match=r"line 2: 'in' has 1 column\(s\) and no separate one for the tag"):
        read_sentences(tmp_path / "a.txt", None, None, tagged=True)


def test_types_of_the_case_with_trailing_blanks(shared: Path) -> None:
    folder = shared.parent / "cases" / "conll_trailing_space"
    if not folder.is_dir():
        pytest.skip("there is no folder of cases")
    tags = {tag for sentence in read_sentences(folder / "tr_t2.txt", None, None, True) for tag in sentence.tags or ()}
    assert {tag.strip() for tag in tags} == tags
