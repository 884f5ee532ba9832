"""Tests of streaming sentences from columns: which files have columns, the records, and their errors."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from ssl_cli.data.io.records import Record
from ssl_cli.data.labelled import conll_stream
from ssl_cli.data.labelled.conll import read_sentences
from ssl_cli.data.labelled.conll_stream import has_columns, stream_sentences
from ssl_cli.errors import InputError

WEB = """# sent_id = a-1
# text = Can't
1-2\tCan't\t_\t_
1\tCa\tcan\tAUX
2\tn't\tnot\tPART

# a comment alone

1\tten thousand\tgo\tNUM
"""


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return folder / name


def read(path: Path, word: Any = None) -> list[Record]:
    return list(stream_sentences(path, word))


def test_columns(tmp_path: Path) -> None:
    text = "\n\n-DOCSTART- -X- O\n\nEU NNP\nrejects VBZ\n \nPeter NNP\r\n\r\n. .\n"
    records = read(write(tmp_path, "a.conll", text))
    assert [(record.row, record.line, record.record) for record in records] == [
        (0, 5, {"tokens": ["EU", "rejects"]}),
        (1, 8, {"tokens": ["Peter"]}),
        (2, 10, {"tokens": ["."]}),
    ]
    assert records[0].text == "EU NNP\nrejects VBZ"
    assert read(tmp_path / "a.conll", -1)[0].record == {"tokens": ["NNP", "VBZ"]}


def test_compressed_conllu(tmp_path: Path) -> None:
    (tmp_path / "a.conllu.gz").write_bytes(gzip.compress(WEB.encode()))
    records = [record.record for record in read(tmp_path / "a.conllu.gz")]
    assert records == [{"tokens": ["Ca", "n't"], "id": "a-1"}, {"tokens": ["ten thousand"]}]
    assert read(tmp_path / "a.conllu.gz", "lemma")[1].record == {"tokens": ["go"]}
    assert read(tmp_path / "a.conllu.gz", "LEMMA")[1].record == read(tmp_path / "a.conllu.gz", 2)[1].record
    assert read(tmp_path / "a.conllu.gz", 0)[1].record == {"tokens": ["ten thousand"]}  # 0 is a column of CoNLL only


def test_conllu_separated_by_spaces_is_rejected_not_skipped(tmp_path: Path) -> None:
    path = write(tmp_path, "a.conllu", "1 e-mail x NOUN\n\n1\tBirds\tbird\tNOUN\n")
    spaces, tabs = read(path)
    assert spaces.record == "line 1 doesn't begin with a word's number: CoNLL-U separates its fields by tabs"
    assert tabs.record == {"tokens": ["Birds"]}
    with pytest.raises(InputError, match="line 1 doesn't begin with a word's number"):
        read_sentences(path, None, None, True)


def test_error_affects_only_its_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conll_stream, "MAX_SENTENCE_LINES", 3)
    monkeypatch.setattr(conll_stream, "MAX_LINE_CHARS", 9)
    path = tmp_path / "a.conll"
    path.write_bytes(b"a X\nb\n\nc X\n\xff X\n\na X\nb X\nc X\nd X\ne X\n\nf X\n\na X\nb is no word\n")
    no_column, not_text, too_long, valid, long_line = read(path, 1)
    assert long_line.record == "a line has more than 9 characters, in line 16" and long_line.text == "a X\nb is no w"
    assert no_column.record == "it has no column 1 in line 2, where its word should be (task.word)"
    assert not_text.record == "it contains bytes that are not valid UTF-8, in line 5"
    assert too_long.record == "it has more than 3 lines: blank lines must separate sentences"
    assert (valid.line, valid.record) == (13, {"tokens": ["X"]})


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.conll", "Birds\nfly\n", True),
        ("a.conllu", WEB, True),
        ("a.txt", "EU NNP I-ORG\nrejects VBZ O\n\nPeter NNP I-PER\n", True),
        ("a.txt", "-DOCSTART- -X- O\n\nEU B-ORG\nrejects O\n", True),
        ("eng.testb", "-DOCSTART- -X- O\n\nEU B-ORG\nrejects O\n", True),
        ("a.tsv", "EU\tB-ORG\nrejects\tO\n", True),
        ("a.tsv", "text\tlabel\nBirds fly\tO\n", False),
        ("a.txt", "Malcolm B-PER\n\nEU I-ORG\nrejects O\n", True),  # one word may be plain text
        ("a.txt", "They drove along I-95\nHe flew a B-52\n", False),
        ("a.txt", "Birds fly .\nFish can swim .\n", False),
        ("a.txt", "Malcolm X\n\nBirds fly\n", False),
        ("a.txt", "Blood group O\n", False),
        ("a.txt", f"{'x' * 20_000} O\nfly O\n", False),
        ("a.log", "EU rejects\n", False),
        ("a.txt", "Birds NOUN\nfly VERB\n", True),
        ("a.txt", "Birds fly\nFish swim\n", False),
        ("a.txt", "Birds\nfly\n", False),
        ("a.txt", "", False),
        ("a.jsonl", '{"words": ["O"]}\n', False),
        ("a.csv", "text\nBirds O\n", False),
    ],
)
def test_has_columns(tmp_path: Path, name: str, text: str, expected: bool) -> None:
    assert has_columns(write(tmp_path, name, text), None, {"NOUN", "VERB", ".", "X", "O", "B-ORG", "B-PER"}) == expected
