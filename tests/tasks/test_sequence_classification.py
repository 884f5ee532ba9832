"""Sentences, pairs, numbers, options: what is read of files, how it is framed, what is answered, what is refused."""

import collections
import datetime
import decimal
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from sklearn.metrics import f1_score

from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build, read_yaml
from ssl_cli.data.labelled.packed_examples import IGNORED
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.errors import InputError
from ssl_cli.tasks import encode, sequence_classification
from ssl_cli.tasks.encode import around
from ssl_cli.tasks.examples import LabelledExample
from ssl_cli.tasks.sources import TaskFiles
from tests.helpers.pretrain_runs import tokenizer_of

CONF = built_in_conf() / "task"
ALL = [
    str(path.relative_to(CONF).with_suffix(""))
    for path in sorted(CONF.rglob("*.yaml"))
    if str(read_yaml(path).get("_target_")).endswith(".Sentences")
]


def task_of(name: str, **options: Any) -> Any:
    node = read_yaml(CONF / f"{name}.yaml")
    for option, value in options.items():
        node[option] = value
    return build(node)


def files(folder: Path, suffix: str, **contents: str) -> TaskFiles:
    """`train="..."`: the file data.files.train, of this content."""
    paths = {}
    for split, content in contents.items():
        path = folder / f"{split}{suffix}"
        path.write_text(content, encoding="utf-8")
        paths[split] = str(path)
    return TaskFiles(None, paths, folder)


def refusal(task: Any, published: TaskFiles) -> str:
    with pytest.raises(InputError) as refused:
        task.read(published)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def frame(max_length: int = 64, kind: str = "char") -> SequenceTemplate:
    return SequenceTemplate.of(tokenizer_of(kind), False, max_length)


def text_of(rows: Any, number: int) -> str:
    start = int(rows.starts[number])
    ids = rows.tokens["ids"][start : start + int(rows.sequences.length[number])]
    return str(tokenizer_of("char").decode(ids.numpy()))


@pytest.mark.parametrize("name", ALL)
def test_each_choice_makes_a_task(name: str) -> None:
    options = {"options": "options"} if name == "multiple_choice" else {}
    assert task_of(name, **options).monitor


# --- files -> examples --------------------------------------------------------------------------------------


KINDS = ["a.tsv", "a.csv", "a.jsonl", "a.json", "a.ndjson", "list.json", "a.parquet", "a.txt", "a.csv.gz"]


@pytest.mark.parametrize("name", KINDS)
def test_all_kinds_of_files_give_the_same(tmp_path: Path, name: str) -> None:
    rows, path = [{"text": "a bird", "label": "1"}, {"text": "一只鸟", "label": "0"}], tmp_path / name
    sign = "," if ".csv" in name else "\t"
    content = f"\ufefftext{sign}label\r\n\n" + "".join(f"{row['text']}{sign}{row['label']}\r\n" for row in rows)
    if name == "a.parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    elif name == "list.json":
        path.write_text(json.dumps(rows, indent=1))
    elif "json" in name:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    found = task_of("classify").read(TaskFiles(None, {"train": str(path), "dev": str(path)}, tmp_path))["train"]
    assert [(one.id, one.text, one.label) for one in found] == [(0, "a bird", "1"), (1, "一只鸟", "0")]


def test_an_open_quote_is_refused_and_never_merges_lines(tmp_path: Path) -> None:
    content = 'text,label\nfine,a\n"open quote,a\nb,c\n"x" y,d\n'
    said = refusal(task_of("classify"), files(tmp_path, ".csv", train=content, dev=content))
    assert "train.csv, line 3: a quote is opened and not closed; where quotes are letters, say task.quoting=" in said
    task = task_of("classify", skip_broken=True)
    found = task.read(files(tmp_path, ".csv", train=content, dev=content))["train"]
    assert [(one.text, one.label) for one in found] == [("fine", "a"), ("b", "c")]
    assert "2 record(s) left out" in found.warnings[0] and "line 5: a quote" in found.warnings[0]
    found = task_of("classify", quoting=False).read(files(tmp_path, ".csv", train=content, dev=content))["train"]
    assert [one.label for one in found] == ["a", "a", "c", "d"]


def test_ids_of_any_kind_can_be_written_as_json(tmp_path: Path) -> None:
    when, number = datetime.datetime(2024, 5, 1), decimal.Decimal("1.50")
    for value, expected in (
        (when, "2024-05-01 00:00:00"),
        (number, "1.50"),
        (b"\xffa", "\ufffda"),
        (7, 7),
        (2.5, "2.5"),
    ):
        path = tmp_path / "a.parquet"
        pyarrow.parquet.write_table(pa.table({"id": [value] * 2, "text": ["a", "b"], "label": ["0", "1"]}), path)
        task = task_of("classify", id="id")
        dev = task.read(TaskFiles(None, {"train": str(path), "dev": str(path)}, tmp_path))["dev"]
        answers = task.decode(dev, task.rows(dev, frame(), ["0", "1"], False), [np.zeros(2)] * 2, ["0", "1"])
        assert json.loads(json.dumps(answers))[0]["id"] == expected


def test_an_empty_text_of_a_test_row_is_answered_and_counted(tmp_path: Path) -> None:
    """A submission needs every row; QQP's test file has such."""
    good = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t1\t2\tA?\tB?\t0\n"
    test = "id\tquestion1\tquestion2\n0\tA?\tB?\n1\tA?\t\n2\t \tB?\n"
    task = task_of("glue/qqp")
    found = task.read(files(tmp_path, ".tsv", train=good, dev=good, test=test))["test"]
    assert [(one.text, one.pair) for one in found] == [("A?", "B?"), ("A?", ""), ("", "B?")]
    assert found.warnings == ("2 of 3 examples have no text where there should be one.",)
    rows = task.rows(found, frame(), ["0", "1"], False)
    assert text_of(rows, 1) == "[CLS]A?[SEP][SEP]" and rows.warnings == found.warnings


def test_names_of_splits_that_are_none(tmp_path: Path) -> None:
    for name, expected in (("tset", "train, dev, test. Did you mean test?"), ("learned", "train, dev, test.")):
        said = refusal(task_of("classify"), files(tmp_path, ".csv", train=GOOD, dev=GOOD, **{name: GOOD}))
        assert said.startswith(f"data.files.{name}: the splits are {expected}")
    content = "sentence1\tsentence2\tgold_label\nA.\tB.\tneutral\n"
    named = {split: content for split in ("train", "dev", "dev_mismatched", "ax")}
    assert list(task_of("glue/mnli").read(files(tmp_path, ".tsv", **named))) == list(named)


def test_published_layouts_in_small(tmp_path: Path) -> None:
    """Each of GLUE's column orders, as in its own files: train and dev, and a test without labels."""
    cases = {
        "cola": ("gj04\t1\t\tThey went.\n", "index\tsentence\n0\tThey came.\n", ("They went.", None, "1")),
        "sst2": ("sentence\tlabel\ngood film \t1\n", "index\tsentence\n0\tbad film\n", ("good film ", None, "1")),
        "mrpc": (
            "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tA.\tB.\n",
            "\ufeffindex\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t7\t8\tC.\tD.\n",
            ("A.", "B.", "1"),
        ),
        "qqp": (
            "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n133\t1\t2\tA?\tB?\t0\n",
            "id\tquestion1\tquestion2\n0\tC?\tD?\n",
            ("A?", "B?", "0"),
        ),
        "stsb": (
            "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
            "0\tg\tf\t2012\t1\tn\tn\tA.\tB.\t3.750\n",
            "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\n0\tg\tf\ty\t1\tn\tn\tC.\tD.\n",
            ("A.", "B.", 3.75),
        ),
        "qnli": (
            "index\tquestion\tsentence\tlabel\n0\tA?\tB.\tnot_entailment\n",
            "index\tquestion\tsentence\n0\tC?\tD.\n",
            ("A?", "B.", "not_entailment"),
        ),
        "rte": (
            "index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\tentailment\n",
            "index\tsentence1\tsentence2\n0\tC.\tD.\n",
            ("A.", "B.", "entailment"),
        ),
        "wnli": (
            "index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\t0\n",
            "index\tsentence1\tsentence2\n0\tC.\tD.\n",
            ("A.", "B.", "0"),
        ),
    }
    for name, (train, test, expected) in cases.items():
        task = task_of(f"glue/{name}")
        folder = tmp_path / Path(task.layout.folder).name
        folder.mkdir()
        files(folder, ".tsv", train=train, dev=train, test=test)
        for published in (TaskFiles(tmp_path, {}, tmp_path / "none"), TaskFiles(folder, {}, tmp_path / "none")):
            found = task.read(published)
            assert [(len(found[split])) for split in ("train", "dev", "test")] == [1, 1, 1], name
            example = found["train"][0]
            assert (example.text, example.pair, example.label) == expected
            assert found["test"][0].label is None
            assert str(found["test"][0].id) == "0"


def test_mnli_has_mismatched_files_and_the_diagnostic(tmp_path: Path) -> None:
    folder = tmp_path / "glue" / "MNLI"
    folder.mkdir(parents=True)
    head = "index\tpromptID\tpairID\tgenre\tsentence1_parse\tsentence1\tsentence2\tlabel1\t"
    row = "{}\t1\t1n\tfiction\t(ROOT\t{}\t{}\t{}\t{}\n"
    train = f"{head}gold_label\n" + row.format(0, "A.", "B.", "neutral", "neutral")
    dev = f"{head}label2\tgold_label\n" + row.format(0, "C.", "D.", "neutral\tentailment", "contradiction")
    test = "index\tsentence1\tsentence2\n0\tE.\tF.\n"
    named = {"train": train, "dev_matched": dev, "dev_mismatched": dev + row.format(1, "A.", "B.", "-\t-", "-")}
    files(folder, ".tsv", **named, test_matched=test, test_mismatched=test)
    (tmp_path / "glue" / "diagnostic").mkdir()
    (tmp_path / "glue" / "diagnostic" / "diagnostic.tsv").write_text(test)
    found = task_of("glue/mnli").read(TaskFiles(None, {}, tmp_path))
    assert list(found) == ["train", "dev", "dev_mismatched", "test", "test_mismatched", "ax"]
    assert found["train"][0].label == "neutral"
    assert found["dev"][0].label == "contradiction"
    assert found["dev_mismatched"].warnings == ("1 of 2 examples are labelled -, and were left out.",)
    assert (found["ax"][0].text, found["ax"][0].label) == ("E.", None)


def test_the_hubs_numbers_are_places_among_the_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """datasets gives ClassLabels as whole numbers, and -1 where there is none; so do the hub's Parquet files."""
    row = {"premise": "A.", "hypothesis": "B.", "label": 2, "idx": 5}

    def hub_rows(layout: Any) -> dict[str, Iterator[dict[str, Any]]]:
        if layout.name == "ax":
            return {"ax": iter([row | {"label": -1}])}
        return {"train": iter([row, row | {"label": 0}]), "dev": iter([row]), "test": iter([row | {"label": -1}])}

    monkeypatch.setattr(sequence_classification, "hub_rows", hub_rows)
    found = task_of("glue/mnli").read(TaskFiles(None, {}, tmp_path))
    assert [example.label for example in found["train"]] == ["contradiction", "entailment"]
    assert (found["test"][0].label, found["ax"][0].label, found["ax"][0].id) == (None, None, 5)

    path = tmp_path / "tnews.parquet"
    pyarrow.parquet.write_table(pa.table({"sentence": ["甲", "乙"], "label": [0, 14], "idx": [0, 1]}), path)
    given = TaskFiles(None, {"train": str(path), "dev": str(path)}, tmp_path)
    assert [example.label for example in task_of("clue/tnews").read(given)["train"]] == ["100", "116"]
    own = task_of("classify", text="sentence").read(given)
    assert [example.label for example in own["dev"]] == ["0", "14"]


def test_labels_of_the_training_file_in_order(tmp_path: Path) -> None:
    content = "text,label\na,10\nb,9\nc,9\n"
    task = task_of("classify")
    train = task.read(files(tmp_path, ".csv", train=content, dev=content))["train"]
    assert task.labels(train) == ["9", "10"]
    assert task.options(["9", "10"]) == {"n_labels": 2, "kind": "classification"}
    assert task_of("classify", labels=[10, 9, True]).labels(train) == ["10", "9", "true"]
    assert list(task.texts(train)) == ["a", "b", "c"]


def test_keywords_and_marked_spans_as_clues_baselines_have_them(tmp_path: Path) -> None:
    csl = {"id": 1, "abst": "摘要", "keyword": ["水声学", "FFT"], "label": "1"}
    content = json.dumps(csl) + "\r\n"
    example = task_of("clue/csl").read(files(tmp_path, ".json", train=content, dev=content))["train"][0]
    assert (example.text, example.pair, example.label) == ("水声学 FFT", "摘要", "1")
    for first, second, expected in ((0, 4, "_小明_说他[他]来"), (4, 0, "[小明]说他_他_来")):
        names = ("小明", "他") if first == 0 else ("他", "小明")
        target = {"span1_index": first, "span2_index": second, "span1_text": names[0], "span2_text": names[1]}
        wsc = {"target": target, "idx": 0, "label": "true", "text": "小明说他他来"}
        content = json.dumps(wsc)
        example = task_of("clue/wsc").read(files(tmp_path, ".json", train=content, dev=content))["dev"][0]
        assert example.text == expected
    for name, value, expected in (
        ("span1_text", 5, "line 1: span1_text in the column target is no text but 5."),
        ("span1_index", -2, "line 1: span1_index in the column target is -2: it counts from 0."),
    ):
        content = json.dumps(wsc | {"target": target | {name: value}})
        assert expected in refusal(task_of("clue/wsc"), files(tmp_path, ".json", train=content, dev=content))
    content = json.dumps({name: value for name, value in wsc.items() if name != "target"})
    said = refusal(task_of("clue/wsc"), files(tmp_path, ".json", train=content, dev=content))
    assert "line 1: there is no column target (task.spans), only idx, label, text." in said
    assert task_of("clue/wsc").given({"text": "他来"}).text == "他来"  # a user's own may be marked already
    target["span1_text"] = "她"
    content = json.dumps(wsc | {"target": target})
    said = refusal(task_of("clue/wsc"), files(tmp_path, ".json", train=content, dev=content))
    assert "line 1: span1, '她', isn't in the text at 4." in said


# --- what is refused ----------------------------------------------------------------------------------------

GOOD = "text,label\ngood,1\nbad,0\n"
REFUSED = {
    "there is no column text (task.text), only txt, label. Did you mean txt?": {"train": "txt,label\na,1\n"},
    "train.csv, line 3: it has no label in the column label.": {"train": "text,label\na,1\nb,\n"},
    "dev.csv, line 3: the label '2' is none of 0, 1.": {"dev": GOOD.replace("bad,0", "bad,2")},
    "test.csv, line 3: the label 'l' is none of 0, 1.": {"test": GOOD.replace("bad,0", "bad,l")},
    "dev.csv, line 2: there is no column label (task.label), only text.": {"dev": "text\na\n"},
    "train.csv, line 3: there is no text in the column text: it is empty.": {"train": "text,label\na,1\n ,0\n"},
    "train.csv, line 3: it has 3 field(s) instead of 2 (text, label).": {"train": "text,label\na,1\nb, c,0\n"},
    "train.csv holds no examples.": {"train": "text,label\n"},
    "are labelled 1: there is nothing to tell apart.": {"train": "text,label\na,1\nb,1\n"},
    "train.csv, line 2: a class can't be called ???": {"train": "text,label\na,???\nb,1\n"},
    "have 101 different labels": {"train": "text,label\n" + "".join(f"a,{k}\n" for k in range(101))},
}


@pytest.mark.parametrize(
    ("label", "expected"),
    [('["pos"]', "no text and no number"), ('{"a": 1}', "no text and no number"), ("NaN", "it has no label")],
)
def test_a_label_that_is_none(tmp_path: Path, label: str, expected: str) -> None:
    lines = f'{{"text": "a", "label": {label}}}\n{{"text": "b", "label": "neg"}}\n'
    said = refusal(task_of("classify"), files(tmp_path, ".jsonl", train=lines, dev=lines))
    assert expected in said and "line 1" in said


@pytest.mark.parametrize("expected", REFUSED)
def test_bad_input_is_one_sentence(tmp_path: Path, expected: str) -> None:
    said = refusal(task_of("classify"), files(tmp_path, ".csv", **{"train": GOOD, "dev": GOOD} | REFUSED[expected]))
    assert said.startswith((str(tmp_path), "The ", "All "))
    assert expected in said


def test_a_number_that_is_none(tmp_path: Path) -> None:
    for value in ("high", "nan", "inf", "1_000"):
        content = f"text,label\na,1.5\nb,{value}\n"
        said = refusal(task_of("regress"), files(tmp_path, ".csv", train=content, dev=content))
        assert f"train.csv, line 3: '{value}' in the column label is no number." in said


def test_broken_lines_of_published_files_are_left_out_and_counted(tmp_path: Path) -> None:
    """Of what has labels: a line of the test file must be answered."""
    good = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t1\t2\tA?\tB?\t0\n"
    broken = good + "2\t1\t2\tA? and\n3\t1\t2\tA?\t\t1\n4\t1\t2\tC?\tD?\t1\n"
    test = "id\tquestion1\tquestion2\n0\tA?\tB?\n1\tA?\n"
    found = task_of("glue/qqp").read(files(tmp_path, ".tsv", train=broken, dev=good))
    assert [example.id for example in found["train"]] == ["1", "4"]
    (said,) = found["train"].warnings
    assert said.startswith("2 record(s) left out: ")
    assert "train.tsv, line 3: it has 4 field(s) instead of 6" in said
    assert "line 4: there is no text in the column question2" in said
    assert task_of("glue/qqp").rows(found["train"], frame(), ["0", "1"], True).warnings == (said,)
    assert "test.tsv, line 3" in refusal(task_of("glue/qqp"), files(tmp_path, ".tsv", train=good, dev=good, test=test))


def test_contradictions_in_the_options() -> None:
    for options, expected in (
        ({"metrics": ["pearson"], "monitor": "pearson"}, "task.metrics has pearson"),
        ({"monitor": "f1"}, "task.monitor=f1 is none of task.metrics"),
        ({"kind": "multiple_choice", "metrics": ["accuracy"]}, "task.kind=multiple_choice needs task.options"),
        ({"blank": "_"}, "task.blank is a sign that options fill in"),
    ):
        with pytest.raises(InputError, match=expected):
            task_of("classify", **options)


def test_a_blank_that_options_fill_in_has_no_pair() -> None:
    with pytest.raises(InputError, match=r"needs task.kind=multiple_choice, and no task.pair"):
        task_of("multiple_choice", blank="_", pair="hint")


def test_halves_of_characters_in_labels_and_options_are_replaced(tmp_path: Path) -> None:
    lines = '{"text": "a", "label": "x\\ud800"}\n{"text": "b", "label": "y"}\n'
    found = task_of("classify").read(files(tmp_path, ".jsonl", train=lines, dev=lines))
    assert [example.label for example in found["train"]] == ["x\ufffd", "y"]
    line = '{"text": "a", "options": ["x\\ud800", "b"], "label": 0}'
    (example,) = task_of("multiple_choice").read(files(tmp_path, ".jsonl", train=line, dev=line))["dev"]
    assert example.options == ("x\ufffd", "b")
    line = '{"text": "a", "options": [" ", "b"], "label": 0}'
    assert "no list of two texts" in refusal(
        task_of("multiple_choice"), files(tmp_path, ".jsonl", train=line, dev=line)
    )


def test_labels_that_look_like_numbers(tmp_path: Path) -> None:
    lines = "text\tlabel\na\t--1\nb\t2\nc\t" + "9" * 5000 + "\n"
    task = task_of("classify")
    train = task.read(files(tmp_path, ".tsv", train=lines, dev=lines))["train"]
    assert task.labels(train) == ["--1", "2", "9" * 5000]


def test_f1_is_of_two_classes(tmp_path: Path) -> None:
    content = GOOD + "so so,2\n"
    task = task_of("classify", metrics=["f1", "accuracy"])
    assert "there are 3: take macro_f1" in refusal(task, files(tmp_path, ".csv", train=content, dev=content))


# --- examples -> rows ---------------------------------------------------------------------------------------


def test_rows_are_framed_and_cut_and_counted(tmp_path: Path) -> None:
    content = "text,pair,label\nabcd,ef,1\n" + "bird " * 20 + ",fly,0\n"
    task = task_of("classify", pair="pair")
    train = task.read(files(tmp_path, ".csv", train=content, dev=content))["train"]
    rows = task.rows(train, frame(16), ["0", "1"], True)
    assert rows.warnings == ("1 of 2 examples are longer than 16 tokens and were cut.",)
    assert rows.sequences.length.tolist() == [9, 16]
    assert text_of(rows, 0) == "[CLS]abcd[SEP]ef[SEP]"
    assert rows.tokens["segment"][:9].tolist() == [0] * 6 + [1] * 3
    assert text_of(rows, 1) == "[CLS]bird bird [SEP]fly[SEP]"
    assert rows.targets["label"].tolist() == [1, 0]
    assert (rows.tokens["ids"].dtype, rows.tokens["segment"].dtype) == (torch.int32, torch.int8)
    batch = rows[0, slice(0, 2), 1.0]
    assert (batch["ids"].dtype, batch["segment"].dtype) == (torch.int64, torch.int64)
    assert batch["label"].tolist() == [1, 0]
    assert batch["length"].tolist() == [9, 16]


def test_texts_are_encoded_in_pieces_with_the_same_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [LabelledExample(k, "abc" * (k % 4), f"f{k % 3}") for k in range(20)]
    whole, is_cut = encode.sequences(examples, frame(12), None)
    monkeypatch.setattr(encode, "AT_ONCE", 3)
    pieces, _ = encode.sequences(examples, frame(12), None)
    assert (pieces.tokens["ids"] == whole.tokens["ids"]).all() and is_cut.tolist() == [k % 4 == 3 for k in range(20)]
    segments = np.split(whole.tokens["segment"], np.cumsum(whole.length)[:-1])
    assert [one.tolist() for one in segments] == [[0] * (n - 3) + [1] * 3 for n in whole.length]


def test_targets(tmp_path: Path) -> None:
    content = "text,label\na,0.5\nb,-2\n"
    task = task_of("regress")
    found = task.read(files(tmp_path, ".csv", train=content, dev=content, test="text\nc\n"))
    target = task.rows(found["train"], frame(), [], True).targets["label"]
    assert (target.tolist(), str(target.dtype)) == ([0.5, -2.0], "torch.float32")
    rows = task.rows(found["test"], frame(), [], False)
    assert (len(rows), rows.targets) == (1, {})
    half = "text,label\na,1\nb,\n"
    found = task_of("classify").read(files(tmp_path, ".csv", train=GOOD, dev=GOOD, test=half))
    assert task_of("classify").rows(found["test"], frame(), ["0", "1"], False).targets["label"].tolist() == [1, IGNORED]


def test_options_follow_the_text_or_fill_its_blank(tmp_path: Path) -> None:
    record = {"text": "a bird can", "options": ["fly", "sing a song"], "label": 1}
    content = json.dumps(record) + "\n" + json.dumps(record | {"options": ["x", "y", "z"], "label": "z"})
    task = task_of("multiple_choice")
    train = task.read(files(tmp_path, ".jsonl", train=content, dev=content))["train"]
    rows = task.rows(train, frame(), [], True)
    assert (rows.parts.tolist(), rows.targets["label"].tolist()) == ([0, 2, 5], [1, 2])
    assert text_of(rows, 1) == "[CLS]a bird can[SEP]sing a song[SEP]"

    record = {"id": 3, "content": "a" * 30 + "#idiom#" + "b" * 30, "candidates": ["fly", "run"], "answer": 0}
    content = json.dumps(record)
    task = task_of("fewclue/chid")
    train = task.read(files(tmp_path, ".json", train=content, dev=content))["train"]
    rows = task.rows(train, frame(15), [], True)
    assert text_of(rows, 1) == "[CLS]aaaaarunbbbbb[SEP]"
    assert rows.warnings == ("1 of 1 examples are longer than 15 tokens and were cut.",)
    rows = task.rows(train, frame(65), [], True)
    assert (rows.warnings, int(rows.sequences.length[0])) == ((), 65)
    content = json.dumps(record | {"answer": 2})
    assert "2 in the column answer is none of its 2 options" in refusal(
        task, files(tmp_path, ".json", train=content, dev=content)
    )


def test_around_keeps_the_option_and_all_that_fits() -> None:
    for n_before, n_after, room in ((0, 9, 5), (9, 0, 5), (1, 9, 6), (9, 1, 6), (9, 9, 7), (2, 2, 9), (3, 3, 2)):
        before, after = list(range(n_before)), list(range(100, 100 + n_after))
        kept = around(before, [50, 51, 52], after, room)
        assert len(kept) == min(room, n_before + 3 + n_after)
        assert kept == [token for token in [*before, 50, 51, 52, *after] if token in kept]
        assert {50, 51} <= set(kept)


# --- guesses -> answers -------------------------------------------------------------------------------------


def test_answers_and_their_tally(tmp_path: Path) -> None:
    content = "".join(["text,pair,label\n", *(f"a{k},b{k},{k % 2}\n" for k in range(20))])
    task = task_of("classify", pair="pair", metrics=["accuracy", "f1"])
    dev = task.read(files(tmp_path, ".csv", train=content, dev=content))["dev"]
    rows = task.rows(dev, frame(), ["0", "1"], False)
    guesses = list(np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32))
    answers = task.decode(dev, rows, guesses, ["0", "1"])
    first, guess = answers[0], guesses[0]
    share = 1 / (1 + np.exp(guess[0] - guess[1]))
    assert {name: first[name] for name in ("id", "text", "pair", "label")} == {
        "id": 0,
        "text": "a0",
        "pair": "b0",
        "label": "0",
    }
    assert first["probabilities"] == pytest.approx({"0": 1 - share, "1": share}, abs=1e-6)
    assert first["probability"] == first["probabilities"][first["answer"]] == max(first["probabilities"].values())
    json.dumps(answers)
    said = [int(answer["answer"]) for answer in answers]
    true = [k % 2 for k in range(20)]
    tally = task.scores(answers)
    assert tally.metrics() == pytest.approx({"accuracy": np.mean(np.equal(said, true)), "f1": f1_score(true, said)})
    assert set(tally.metrics(np.array([0, 0, 3]))) == {"accuracy", "f1"}
    assert task.scores([{name: one[name] for name in one if name != "label"} for one in answers]) is None


def test_answers_of_numbers_and_options(tmp_path: Path) -> None:
    content = "text,label\na,1.5\nb,2\nc,4\n"
    task = task_of("regress")
    dev = task.read(files(tmp_path, ".csv", train=content, dev=content))["dev"]
    rows = task.rows(dev, frame(), [], False)
    answers = task.decode(dev, rows, [np.array([value], np.float32) for value in (0, 0.5, 7)], [])
    assert answers[1] == {"id": 1, "text": "b", "label": 2.0, "answer": 0.5}
    assert task.scores(answers).metrics()["spearman"] == pytest.approx(1)

    record = {"text": "t", "options": ["x", "y", "z"], "label": 1}
    content = json.dumps(record)
    task = task_of("multiple_choice")
    dev = task.read(files(tmp_path, ".jsonl", train=content, dev=content))["dev"]
    rows = task.rows(dev, frame(), [], False)
    (answer,) = task.decode(dev, rows, [np.array([0.0, 2.0, 1.0])], [])
    assert (answer["answer"], len(answer["probabilities"]), answer["options"]) == (1, 3, ("x", "y", "z"))
    assert task.scores([answer]).metrics() == {"accuracy": 1}


def test_given_records() -> None:
    task = task_of("glue/mrpc")
    for record in ({"#1 String": "A.", "#2 String": "B."}, {"text": "A.", "pair": "B."}):
        example = task.given(record)
        assert (example.text, example.pair, example.label) == ("A.", "B.", None)
    with pytest.raises(
        InputError, match=r"^there is no column #2 String or sentence2 or pair \(task.pair\), only text\.$"
    ):
        task.given({"text": "A."})
    with pytest.raises(InputError, match="there is no text in the column text"):
        task_of("classify").given({"text": " "})
    assert task_of("clue/wsc").given({"text": "_小明_说[他]来"}).text == "_小明_说[他]来"


# --- the real files -----------------------------------------------------------------------------------------

REAL = {  # counts by split, and of the training split's most frequent classes, from the READMEs
    "glue/cola": ([8551, 1043, 1063], [6023, 2528]),
    "glue/mrpc": ([2576, 1500, 1725], [1753, 823]),
    "glue/stsb": ([5749, 1500], []),
    "glue/rte": ([2490, 277, 3000], [1249, 1241]),
    "glue/wnli": ([635, 71, 146], [323, 312]),
    "fewclue/eprstmt": ([160, 160, 610, 753], []),
    "fewclue/bustm": ([160, 160, 1772, 2000], []),
    "fewclue/ocnli": ([160, 160, 2520, 3000], []),
    "fewclue/csldcp": ([2036, 2068, 1784], []),
    "fewclue/tnews": ([1185, 1098, 2010, 1500], []),
    "fewclue/iflytek": ([3024, 1373, 1749], []),
    "fewclue/csl": ([160, 160, 2838, 3000], []),
    "fewclue/cluewsc": ([160, 159, 976, 290], []),
    "fewclue/chid": ([202, 202, 2002, 2000], []),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_real_files(shared: Path, name: str) -> None:
    found = task_of(name).read(TaskFiles(None, {}, shared))
    counts, balance = REAL[name]
    assert [len(examples) for examples in found.values()] == counts
    most = collections.Counter(example.label for example in found["train"]).most_common(len(balance))
    assert [count for _, count in most] == balance
    assert all(not examples.warnings for examples in found.values())
    assert len({example.label for example in found["test"]} if "test" in found and name != "glue/mrpc" else {0}) == 1


@pytest.mark.shared
def test_real_ocnli_and_afqmc(shared: Path) -> None:
    found = task_of("clue/ocnli").read(TaskFiles(shared / "ocnli", {}, Path("none")))
    assert [len(examples) for examples in found.values()] == [9985, 2950, 3000]
    assert found["train"].warnings == ("15 of 10,000 examples are labelled -, and were left out.",)
    path = str(shared / "afqmc" / "dev.json")
    found = task_of("clue/afqmc").read(TaskFiles(None, {"train": path, "dev": path}, shared))
    assert collections.Counter(example.label for example in found["dev"]) == {"0": 2978, "1": 1338}


@pytest.mark.shared
def test_real_files_of_ones_own_by_options_alone(shared: Path) -> None:
    def own(folder: Path) -> TaskFiles:
        return TaskFiles(None, {split: str(folder / f"{split}.tsv") for split in ("train", "dev", "test")}, shared)

    found = task_of("classify", text="text_a").read(own(shared / "chnsenticorp"))
    assert [len(examples) for examples in found.values()] == [9600, 1200, 1200]
    assert collections.Counter(example.label for example in found["train"]) == {"1": 4799, "0": 4801}
    task = task_of("classify", columns=["prompt", "text", "label"])
    found = task.read(own(shared / "csl" / "cls_ctg"))
    assert [len(examples) for examples in found.values()] == [8000, 1000, 1000]
    assert len(task.labels(found["train"])) == 13
