"""Sentences: their splits, their labels, what is left out, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from ssl_cli.data.sentences.sources import SentenceData, Sentences
from ssl_cli.data.sentences.words import sentence_words
from ssl_cli.errors import InputError
from tests.helpers.sentences import make_sentences, write_sentences


def read(path: Path, seed: int = 0, **options: Any) -> SentenceData:
    return Sentences(**{"files": str(path), "text": "sentence"} | options).sentence_splits(seed)


def test_every_sentence_is_in_one_split_that_follows_from_the_seed(tmp_path: Path) -> None:
    path = write_sentences(tmp_path / "a.jsonl", 200)
    path.write_text(path.read_text() * 2)
    data, again, other = (read(path, seed, val=0.1, test=0.2) for seed in (0, 0, 1))
    texts = [text for split in data.splits.values() for text in split.texts]
    assert sorted(texts) == sorted(record["sentence"] for record in make_sentences(200))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 140, "val": 20, "test": 40}
    assert data.splits == again.splits != other.splits
    assert "200 with the words of another sentence" in data.warnings[0]


def test_the_split_of_a_sentence_does_not_depend_on_the_order_of_the_file(tmp_path: Path) -> None:
    path = write_sentences(tmp_path / "a.jsonl", 100)
    before = set(read(path).splits["test"].texts)
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert set(read(path).splits["test"].texts) == before


def test_files_of_a_split_come_before_training(tmp_path: Path) -> None:
    """A sentence of the test files is not trained on; a file without labels has none."""
    train = write_sentences(tmp_path / "a.jsonl", 100)
    known = make_sentences(3)[0]["sentence"]
    (tmp_path / "test.tsv").write_text(f"sentence\tlabel\n{known}\t1\nOther  words\t0\n")
    (tmp_path / "val.tsv").write_text("index\tsentence\n0\tOne more\n")
    files = {"test_files": str(tmp_path / "test.tsv"), "val_files": str(tmp_path / "val.tsv")}
    data = read(train, labels={"sentiment": "label"}, lowercase=True, **files)
    assert data.splits["test"].texts == [known, "other words"]
    assert [labels["sentiment"] for labels in data.splits["test"].labels] == ["1", "0"]
    assert (len(data.splits["train"]), data.splits["val"].labels) == (99, [{"sentiment": None}])
    assert data.label_values == {"sentiment": ["0", "1"]}


def test_lines_of_a_text_file_of_a_suitable_length(tmp_path: Path) -> None:
    lines = [f"word {k} of it" for k in range(40)] + ["short", "much too long a line for this " * 3]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    data = read(tmp_path / "a.txt", text="text", min_words=2, max_words=10)
    assert sum(map(len, data.splits.values())) == 40
    left_out = "1 with fewer words than data.min_words=2, 1 with more words than data.max_words=10"
    assert data.warnings == [f"Sentences left out: {left_out}."]


def test_words_are_between_spaces_or_single_characters() -> None:
    assert sentence_words("it 's a well-made film .") == ["it", "'s", "a", "well-made", "film", "."]
    assert sentence_words("我看film。") == ["我", "看", "film。"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "sentense"}, "no column data.text=sentense, only sentence, label. Did you mean sentence?"),
        ({"labels": {"style": "x"}}, "data.labels.style=x: no training sentence has a value in such a column"),
        ({"min_words": 25}, "too few sentences: none is left for train. Sentences left out: 60 with fewer words"),
    ],
)
def test_data_that_can_not_be_learned_from(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = write_sentences(tmp_path / "a.jsonl", 60)
    with pytest.raises(InputError) as caught:
        read(path, **options)
    assert message in str(caught.value)


@pytest.mark.shared
def test_sst2_has_its_published_splits(shared: Path) -> None:
    folder = shared / "glue" / "SST-2"
    files = {f"{split}_files": str(folder / f"{name}.tsv") for split, name in (("test", "dev"), ("val", "test"))}
    data = read(folder / "train.tsv", labels={"sentiment": "label"}, max_words=100, **files)
    assert (len(data.splits["test"]), len(data.splits["val"])) == (872, 1821)
    assert data.label_values == {"sentiment": ["0", "1"]}
