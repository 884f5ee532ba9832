"""Text generation: columns -> pairs -> rows -> texts and their scores."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from omegaconf import OmegaConf

from ssl_cli.config.instantiate import build
from ssl_cli.data.labelled.sources import LabelledFiles
from ssl_cli.errors import InputError
from ssl_cli.tasks import text_generation
from ssl_cli.tasks.pair_examples import TextPair
from ssl_cli.tasks.text_generation import TextGeneration
from tests.helpers.finetune_runs import task_node
from tests.helpers.pretrain_runs import tokenizer_of

ROWS = [{"article": "Birds can fly.", "headline": "Birds FLY"}, {"article": "鸟会飞。鱼会游泳。", "headline": "鸟"}]


def task(name: str = "text_generation", **options: Any) -> TextGeneration:
    return build(OmegaConf.create(task_node(name, **options)))


def named(**options: Any) -> TextGeneration:
    return task(source="article", target="headline", **options)


def files(**paths: Path) -> LabelledFiles:
    return LabelledFiles(None, {split: str(path) for split, path in paths.items()}, "data")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write a table in the format of its name."""
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            delimiter = "\t" if path.suffix == ".tsv" else ","
            csv.writer(file, delimiter=delimiter).writerows([list(rows[0]), *(row.values() for row in rows)])
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_columns_of_ones_choosing_in_any_table(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", ROWS)
    splits = named().read(files(train=path, dev=path, test=path))
    wanted = [TextPair(0, "Birds can fly.", "Birds FLY"), TextPair(1, "鸟会飞。鱼会游泳。", "鸟")]
    assert list(splits) == ["train", "dev", "test"] and all(list(pairs) == wanted for pairs in splits.values())


def test_a_test_file_may_lack_targets(tmp_path: Path) -> None:
    path, test = write(tmp_path / "a.jsonl", ROWS), write(tmp_path / "b.jsonl", [{"article": "x"}, ROWS[1]])
    splits = named().read(files(train=path, dev=path, test=test))
    assert [pair.target for pair in splits["test"]] == [None, "鸟"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"article": "x", "headline": " "}, "line 2: there is no text in the column headline: it is empty"),
        ({"article": "", "headline": "x"}, "line 2: there is no text in the column article: it is empty"),
        ({"article": "x", "title": "x"}, r"line 2: there is no column headline \(task.target\), only article, title"),
    ],
)
def test_a_record_without_a_text_is_named_or_skipped(tmp_path: Path, row: dict[str, str], message: str) -> None:
    path = write(tmp_path / "a.jsonl", [ROWS[0], row, ROWS[1]])
    with pytest.raises(InputError, match=message):
        named().read(files(train=path, dev=path))
    split = named(skip_broken=True).read(files(train=path, dev=path))["train"]
    assert len(split) == 2 and "1" in split.warnings[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "a"}, "task.split and task.splits go together"),
        ({"splits": {"train": "a"}}, "task.split and task.splits go together"),
        ({"length_penalty": 2.0}, "task.length_penalty=2 is for a beam search: set task.beams above 1"),
    ],
)
def test_options_without_the_one_that_they_need(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        named(**options)


def test_dev_may_be_the_end_of_train(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ROWS * 3)
    splits = named(dev_examples=2).read(files(train=path))
    assert [pair.id for pair in splits["train"]] == [0, 1, 2, 3] and [pair.id for pair in splits["dev"]] == [4, 5]
    with pytest.raises(InputError, match=r"task.dev_examples=6 leaves nothing to train on: .* 6 examples"):
        named(dev_examples=6).read(files(train=path))
    with pytest.raises(InputError, match=r"data.files.dev and task.dev_examples both define the dev split"):
        named(dev_examples=1).read(files(train=path, dev=path))


def test_csl_title_learns_from_dev_where_there_is_no_training_file(tmp_path: Path) -> None:
    folder = tmp_path / "csl" / "ts"
    folder.mkdir(parents=True)
    for name, n in (("dev", 103), ("test", 2)):
        (folder / f"{name}.tsv").write_text("".join(f'to title\t摘要"{k}\t题目{k}\n' for k in range(n)))
    splits = task("csl_title").read(LabelledFiles(None, {}, str(tmp_path)))
    assert {split: len(pairs) for split, pairs in splits.items()} == {"train": 3, "dev": 100, "test": 2}
    assert splits["dev"][0] == TextPair(3, '摘要"3', "题目3")


def test_reuters_title_splits_one_file_by_a_column(tmp_path: Path) -> None:
    kinds = ["TRAIN"] * 502 + ["NOT-USED", "TEST"]
    rows = [{"id": k, "lewissplit": kind, "title": f"COCOA {k}", "body": "Showers."} for k, kind in enumerate(kinds)]
    with gzip.open(tmp_path / "reuters.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    splits = task("reuters_title").read(LabelledFiles(str(tmp_path), {}, "data"))
    assert {split: len(pairs) for split, pairs in splits.items()} == {"train": 2, "dev": 500, "test": 1}
    assert splits["test"][0] == TextPair(503, "Showers.", "COCOA 503")
    with pytest.raises(InputError, match=r"\(train\), line 1: there is no column lewis \(task.split\), only id"):
        task("reuters_title", split="lewis").read(LabelledFiles(str(tmp_path), {}, "data"))


def test_rows_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = {"_target_": "ssl_cli.data.labelled.sources.PublishedLayout", "folder": "mine", "files": {}, "hub": "a/b"}
    found = {"train": iter(ROWS), "dev": iter(ROWS[1:]), "test": iter([{"article": ""}])}
    monkeypatch.setattr(text_generation, "hub_rows", lambda _: found)
    splits = named(layout=layout).read(LabelledFiles(None, {}, str(tmp_path)))
    assert [pair.target for pair in splits["dev"]] == ["鸟"] and splits["test"] == [TextPair(0, "", None)]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("csl_title", {"train": 900, "dev": 100, "test": 1000}),
        ("reuters_title", {"train": 12_365, "dev": 500, "test": 5_458}),
    ],
)
def test_the_published_files(shared: Path, name: str, sizes: dict[str, int]) -> None:
    splits = task(name).read(LabelledFiles(None, {}, str(shared)))
    assert {split: len(pairs) for split, pairs in splits.items()} == sizes
    assert all(pair.source and pair.target for pairs in splits.values() for pair in pairs)


def test_texts_that_are_cut_are_counted_and_predictions_are_decoded() -> None:
    the_task, words = named(max_target=4), tokenizer_of("wordpiece")
    template = the_task.template(words, {"context": 64}, "t5", 8)
    pairs = [TextPair("a", "Birds can fly. " * 9, "a bird can fly and sing"), TextPair("b", "fish", None)]
    rows = the_task.rows(pairs, template, [], training=True)
    assert rows.warnings == (
        "1 of 2 sources are longer than max_length=8 tokens and were cut.",
        "1 of 2 targets are longer than task.max_target=4 tokens and were cut.",
    )
    written = [np.array([*words.encode("birds swim"), words.specials["mask"]]), np.array([], np.int64)]
    predictions = the_task.decode(pairs, rows, written, [])
    assert predictions[0] == {
        "id": "a",
        "source": pairs[0].source,
        "target": "a bird can fly and sing",
        "prediction": "birds swim",
    }
    assert predictions[1] == {"id": "b", "source": "fish", "prediction": ""}
    assert the_task.scores(predictions) is None, "a target is unknown"
    scores = the_task.scores(predictions[:1])
    assert scores is not None and set(scores.metrics()) == {"rouge1", "rouge2", "rougeL"} <= set(the_task.meanings)


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_texts_have_the_spaces_that_people_write(kind: str) -> None:
    the_task, words = named(), tokenizer_of(kind)
    rows = the_task.rows([TextPair(0, "x")], the_task.template(words, {"context": 64}, "t5", 32), [], training=False)
    for text in ("鸟会飞。鱼会游泳。", "birds can fly"):
        (prediction,) = the_task.decode([TextPair(0, "x")], rows, [np.array(words.encode(text))], [])
        assert prediction["prediction"] == text


def test_lower_case_is_what_a_model_reads_and_writes() -> None:
    words = tokenizer_of("bpe")
    pairs = [TextPair(0, "Birds FLY", "A DOG")]
    ids = {}
    for lowercase in (False, True):
        the_task = named(lowercase=lowercase)
        rows = the_task.rows(pairs, the_task.template(words, {"context": 64}, "t5", 32), [], training=True)
        ids[lowercase] = words.decode(rows.source.ids[:-1]), words.decode(rows.targets.ids[:-1])
        assert list(the_task.texts(pairs)) == list(ids[lowercase])
    assert ids == {False: ("Birds FLY", "A DOG"), True: ("birds fly", "a dog")}


def test_a_users_record_may_have_plain_names() -> None:
    the_task = named()
    for record in ({"article": "x"}, {"source": "x"}, {"text": "x"}):
        assert the_task.to_example(record) == TextPair(None, "x", None)
    assert the_task.to_example({"text": "x", "headline": "y"}) == TextPair(None, "x", "y")
    with pytest.raises(InputError, match=r"there is no column article or source or text \(task.source\), only body"):
        the_task.to_example({"body": "x"})
