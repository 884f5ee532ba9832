"""Files as published by GLUE, CLUE and FewCLUE, in small and in full."""

import collections
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from ssl_cli.data.labelled.sources import LabelledFiles
from ssl_cli.tasks import sequence_classification
from tests.helpers.classification import files, read_error, task_of

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


def test_published_layouts_in_small(tmp_path: Path) -> None:
    """The columns of GLUE's own files are read: train and dev, and a test file without labels."""
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
        for published in (LabelledFiles(tmp_path, {}, tmp_path / "none"), LabelledFiles(folder, {}, tmp_path / "none")):
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
    found = task_of("glue/mnli").read(LabelledFiles(None, {}, tmp_path))
    assert list(found) == ["train", "dev", "dev_mismatched", "test", "test_mismatched", "ax"]
    assert found["train"][0].label == "neutral"
    assert found["dev"][0].label == "contradiction"
    assert found["dev_mismatched"].warnings == ("1 of 2 examples are labelled -, and were left out.",)
    assert (found["ax"][0].text, found["ax"][0].label) == ("E.", None)


def test_integer_labels_of_the_hub_are_indices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` gives ClassLabels as integers, and -1 if there is none; so do the hub's Parquet files."""
    row = {"premise": "A.", "hypothesis": "B.", "label": 2, "idx": 5}

    def hub_rows(layout: Any) -> dict[str, Iterator[dict[str, Any]]]:
        if layout.name == "ax":
            return {"ax": iter([row | {"label": -1}])}
        return {"train": iter([row, row | {"label": 0}]), "dev": iter([row]), "test": iter([row | {"label": -1}])}

    monkeypatch.setattr(sequence_classification, "hub_rows", hub_rows)
    found = task_of("glue/mnli").read(LabelledFiles(None, {}, tmp_path))
    assert [example.label for example in found["train"]] == ["contradiction", "entailment"]
    assert (found["test"][0].label, found["ax"][0].label, found["ax"][0].id) == (None, None, 5)

    path = tmp_path / "tnews.parquet"
    pyarrow.parquet.write_table(pa.table({"sentence": ["甲", "乙"], "label": [0, 14], "idx": [0, 1]}), path)
    given = LabelledFiles(None, {"train": str(path), "dev": str(path)}, tmp_path)
    assert [example.label for example in task_of("clue/tnews").read(given)["train"]] == ["100", "116"]
    own = task_of("classify", text="sentence").read(given)
    assert [example.label for example in own["dev"]] == ["0", "14"]


def test_keywords_and_marked_spans_as_in_clues_baselines(tmp_path: Path) -> None:
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
        ("span1_text", 5, "line 1: span1_text in the column target must be a text, not 5."),
        ("span1_index", -2, "line 1: span1_index in the column target is -2: it must be at least 0."),
    ):
        content = json.dumps(wsc | {"target": target | {name: value}})
        assert expected in read_error(task_of("clue/wsc"), files(tmp_path, ".json", train=content, dev=content))
    content = json.dumps({name: value for name, value in wsc.items() if name != "target"})
    message = read_error(task_of("clue/wsc"), files(tmp_path, ".json", train=content, dev=content))
    assert "line 1: there is no column target (task.spans), only idx, label, text." in message
    assert task_of("clue/wsc").to_example({"text": "他来"}).text == "他来"  # a user's text may be marked already
    target["span1_text"] = "她"
    content = json.dumps(wsc | {"target": target})
    message = read_error(task_of("clue/wsc"), files(tmp_path, ".json", train=content, dev=content))
    assert "line 1: span1, '她', isn't in the text at 4." in message


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_real_files(shared: Path, name: str) -> None:
    found = task_of(name).read(LabelledFiles(None, {}, shared))
    counts, balance = REAL[name]
    assert [len(examples) for examples in found.values()] == counts
    most = collections.Counter(example.label for example in found["train"]).most_common(len(balance))
    assert [count for _, count in most] == balance
    assert all(not examples.warnings for examples in found.values())
    assert len({example.label for example in found["test"]} if "test" in found and name != "glue/mrpc" else {0}) == 1


@pytest.mark.shared
def test_real_ocnli_and_afqmc(shared: Path) -> None:
    found = task_of("clue/ocnli").read(LabelledFiles(shared / "ocnli", {}, Path("none")))
    assert [len(examples) for examples in found.values()] == [9985, 2950, 3000]
    assert found["train"].warnings == ("15 of 10,000 examples are labelled -, and were left out.",)
    path = str(shared / "afqmc" / "dev.json")
    found = task_of("clue/afqmc").read(LabelledFiles(None, {"train": path, "dev": path}, shared))
    assert collections.Counter(example.label for example in found["dev"]) == {"0": 2978, "1": 1338}


@pytest.mark.shared
def test_real_files_of_a_user(shared: Path) -> None:
    def own(folder: Path) -> LabelledFiles:
        return LabelledFiles(None, {split: str(folder / f"{split}.tsv") for split in ("train", "dev", "test")}, shared)

    found = task_of("classify", text="text_a").read(own(shared / "chnsenticorp"))
    assert [len(examples) for examples in found.values()] == [9600, 1200, 1200]
    assert collections.Counter(example.label for example in found["train"]) == {"1": 4799, "0": 4801}
    task = task_of("classify", columns=["prompt", "text", "label"])
    found = task.read(own(shared / "csl" / "cls_ctg"))
    assert [len(examples) for examples in found.values()] == [8000, 1000, 1000]
    assert len(task.labels(found["train"])) == 13
