"""Articles and titles: taken apart for training, never an article with its own title, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from ssl_cli.data.articles.sources import ArticleData, Pair, TextPairs, take_apart
from ssl_cli.errors import InputError
from tests.helpers.articles import make_pairs, write_pairs

BASE = {"article": "body", "title": "headline", "val": 0.1, "test": 0.2, "min_words": 5}


def read(path: Path, seed: int = 0, **options: Any) -> ArticleData:
    return TextPairs(**BASE | {"files": str(path)} | options).article_splits(seed)


def test_training_never_sees_an_article_with_its_own_title(tmp_path: Path) -> None:
    """By the words of the title: many of the small titles are there several times."""
    data = read(write_pairs(tmp_path / "a.jsonl", 300))
    own = {record["body"]: record["headline"].lower() for record in make_pairs(300)}
    titles = {title.lower() for title in data.titles}
    assert len(titles) < len(data.titles) and len(data.articles) + len(data.titles) == 216
    assert not {own[article] for article in data.articles} & titles
    assert {title.lower() for title in data.other_titles} == {own[article] for article in data.articles}


def test_titles_that_differ_in_punctuation_alone_are_the_same() -> None:
    pairs = [Pair(f"article {k}", title) for k, title in enumerate(["A, B", "a b!", "c", "d", "D"])]
    for seed in range(10):
        first, second = take_apart(pairs, seed)
        assert not {pair.title_key for pair in first} & {pair.title_key for pair in second}
        assert sorted(pair.article for pair in first + second) == sorted(pair.article for pair in pairs)
        assert len({pair.title_key for pair in second}) == 1


def test_the_halves_depend_on_the_seed(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "a.jsonl")
    assert read(path, 0).titles == read(path, 0).titles != read(path, 1).titles


def test_splits_by_a_column_or_from_the_end(tmp_path: Path) -> None:
    records = make_pairs(100)
    last = read(write_pairs(tmp_path / "a.jsonl", 100))
    assert [pair.article for pair in last.splits["test"]] == [record["body"] for record in records[80:]]
    assert [pair.article for pair in last.splits["val"]] == [record["body"] for record in records[72:80]]
    lines = (json.dumps(record | {"part": "AB-"[k % 3]}) for k, record in enumerate(records))
    (tmp_path / "b.jsonl").write_text("\n".join(lines))
    by_column = read(tmp_path / "b.jsonl", split="part", splits={"train": "A", "test": "B"})
    assert [pair.article for pair in by_column.splits["test"]] == [record["body"] for record in records[1::3]]


def test_titles_of_other_files_belong_to_no_article(tmp_path: Path) -> None:
    path, tests = write_pairs(tmp_path / "a.jsonl", 100), tmp_path / "t.jsonl"
    tests.write_text(json.dumps(make_pairs(1, seed=9)[0] | {"headline": "only in the test"}) + "\n")
    names = [make_pairs(100)[0]["headline"].title(), "only in the TEST", "Quite new", "quite new!", "<X> other", "..."]
    (tmp_path / "n.csv").write_text("name\n" + "".join(f"{name}\n" for name in names))
    more = {"title_files": str(tmp_path / "n.csv"), "title_column": "name", "remove": "<[^<>]*>"}
    data = read(path, test_files=str(tests), **more)
    assert data.titles == ["Quite new", "other"]
    assert len(data.articles) == len(data.other_titles) == 90 and len(data.splits["test"]) == 1
    assert data.fingerprint != read(path, test_files=str(tests)).fingerprint
    (tmp_path / "n.csv").write_text(f"name\n{names[0]}\n")
    with pytest.raises(InputError, match=r"all titles of data.title_files are theirs, such as"):
        read(path, **more)
    with pytest.raises(InputError, match=r"there is no column data.title_column=nam, only name"):
        read(path, **more | {"title_column": "nam"})
    with pytest.raises(InputError, match="set only one of them"):
        read(path, test_files=str(tests), split="part", splits={"train": "A", "test": "B"})


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "a.jsonl", 60)
    extra = [{"body": "too short", "headline": "x y"}, {"body": "one two three four five six", "headline": "<XY>"}]
    path.write_text(path.read_text() + "".join(json.dumps(record) + "\n" for record in extra) + "no json\n")
    data = read(path, remove="<[^<>]*>")
    assert len(data.articles) + len(data.titles) + sum(map(len, data.splits.values())) == 60
    short, skipped = data.warnings
    assert short == "1 article(s) have fewer than data.min_words=5 words and were left out."
    assert "2 record(s) left out" in skipped and "line 62: the title has no words" in skipped


@pytest.mark.parametrize(
    ("records", "options", "message"),
    [
        (
            [{"body": "one two three four five six", "headline": "Same"}] * 40,
            {},
            "all 29 training .* the same one, 'Same'",
        ),
        (make_pairs(3), {}, "There are too few records: none is left for val"),
        (make_pairs(40), {"min_words": 99}, r"none is left for the test. 40 article\(s\) have fewer than data.min_w"),
        (
            make_pairs(4),
            {"title": "headlin"},
            "no column data.title=headlin, only body, headline. Did you mean headline",
        ),
        (make_pairs(4), {"remove": "<["}, r"data\.remove=<\[ is not a regular expression: "),
        (make_pairs(4), {"split": "body"}, r"data\.split and data\.splits go together"),
        (make_pairs(4), {"split": "body", "splits": {"dev": "x"}}, "data.splits has dev: it takes train and test"),
        ([{"body": ["a", "b"], "headline": "x"}], {}, "body holds .* which is no text"),
    ],
)
def test_files_that_can_not_be_used(
    tmp_path: Path, records: list[dict[str, Any]], options: dict[str, Any], message: str
) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.jsonl", **options)
