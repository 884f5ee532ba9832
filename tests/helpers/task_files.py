"""Small data sets in the layouts of conf/task, with the file and column names of those YAMLs."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from tests.helpers.finetune_runs import task_node

N = 8  # examples of a split
TEXTS = ["Birds can fly far.", "Fish can swim.", "A dog runs in Oslo.", "鸟会飞。鱼会游泳。"]
TAGGED = ["Anna B-PER\nlives O\nin O\nOslo B-LOC\n. O", "Birds O\nfly O\n. O"]
FIELDS = "1\tBirds\tbird\tNOUN\tNNS\t_\t2\tnsubj\t_\t_\n2\tfly\tfly\tVERB\tVBP\t_\t0\troot\t_\t_"


def task_words(folder: Path, name: str) -> list[str]:
    """Write the files of a task, and return the arguments of `ssl finetune` for them."""
    task = task_node(name)
    names = {"train": "train", "dev": "dev", "test": "test"}
    layout = task["layout"] or {"folder": "own", "files": {split: [names[split] + suffix(task)] for split in names}}
    home = folder / layout["folder"]
    home.mkdir(parents=True, exist_ok=True)
    for split, files in layout["files"].items():
        (home / files[0]).write_text(content(task, split, files[0]), encoding="utf-8")
    few = ["task.dev_examples=2"] if task.get("dev_examples") and kind(task) == "TextGeneration" else []
    if task["layout"] is not None:
        return [f"task={name}", f"paths.data={folder}", *few]
    return [f"task={name}", *(f"data.files.{split}={home / files[0]}" for split, files in layout["files"].items())]


def suffix(task: dict[str, Any]) -> str:
    return {
        "SequenceClassification": ".jsonl",
        "TextGeneration": ".csv",
        "TokenClassification": ".conllu" if task.get("scheme") == "none" else ".txt",
    }.get(kind(task), ".json")


def kind(task: dict[str, Any]) -> str:
    return task["_target_"].rpartition(".")[2]


def content(task: dict[str, Any], split: str, name: str) -> str:
    if kind(task) == "QuestionAnswering":
        return json.dumps(squad())
    if kind(task) == "TokenClassification":
        blocks = [FIELDS] * N if name.endswith(".conllu") else TAGGED * (N // 2)
        return "\n\n".join(blocks) + "\n"
    if kind(task) == "TextGeneration":
        return table([pair(task, number) for number in range(N)], name, has_header=not task["columns"])
    records = [sentence(task, number, labelled=split.startswith(("train", "dev"))) for number in range(N)]
    if not name.endswith((".tsv", ".csv")):
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    columns = task.get("columns") if split in ("train", "dev") else None
    lines = [[str(record.get(column, "x")) for column in columns or record] for record in records]
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t" if name.endswith(".tsv") else ",", lineterminator="\n")
    writer.writerows(lines if columns else [list(records[0]), *lines])
    return out.getvalue()


def table(records: list[dict[str, Any]], name: str, has_header: bool) -> str:
    """Return records in the format of a file's name."""
    if name.endswith(".jsonl"):
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    out = io.StringIO()
    lines = [[str(value) for value in record.values()] for record in records]
    writer = csv.writer(out, delimiter="\t" if name.endswith(".tsv") else ",", lineterminator="\n")
    writer.writerows([list(records[0]), *lines] if has_header else lines)
    return out.getvalue()


def pair(task: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a record with a text and its first word, of one split or the other if the file holds several."""
    text = TEXTS[number % len(TEXTS)]
    values = {first(task["source"]): text, first(task["target"]): text.split()[0]}
    if task["split"]:
        values[task["split"]] = list(task["splits"].values())[number % 4 // 3]
    columns = task["columns"] or values
    return {column: values.get(column, "x") for column in columns}


def sentence(task: dict[str, Any], number: int, labelled: bool) -> dict[str, Any]:
    """Return a record with the column names of the YAML."""
    text = TEXTS[number % len(TEXTS)]
    record: dict[str, Any] = {first(task["text"]): text + (task.get("blank") or "")}
    if task.get("id"):
        record[first(task["id"])] = number
    if task.get("pair"):
        record[first(task["pair"])] = TEXTS[(number + 1) % len(TEXTS)]
    if task.get("options"):
        record[first(task["options"])] = TEXTS[:3]
    if task.get("spans"):
        record[task["spans"]] = {"span1_text": "B", "span1_index": 0, "span2_text": "i", "span2_index": 1}
        record[first(task["text"])] = TEXTS[0]
    if labelled:
        record[first(task["label"])] = label(task, number)
    return record


def label(task: dict[str, Any], number: int) -> Any:
    of_kind = {"regression": number / 2, "multiple_choice": number % 3}
    classes = task.get("labels") or ["good", "bad"]
    return of_kind.get(task.get("kind", "classification"), classes[number % min(len(classes), 2)])


def first(names: Any) -> str:
    return names if isinstance(names, str) else names[0]


def squad() -> dict[str, Any]:
    """Return two articles, whose questions have their answer in the passage."""
    questions = [
        {
            "id": f"{title}-{number}",
            "question": "Where does a dog run?",
            "answers": [{"text": "Oslo", "answer_start": 14}],
        }
        for title in ("one", "two")
        for number in range(N // 2)
    ]
    paragraphs = [{"context": TEXTS[2], "qas": questions[: N // 2]}, {"context": TEXTS[2], "qas": questions[N // 2 :]}]
    return {"version": "1", "data": [{"title": f"title {k}", "paragraphs": [one]} for k, one in enumerate(paragraphs)]}
