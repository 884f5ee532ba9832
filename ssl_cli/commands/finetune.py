"""ssl finetune: learn a labelled task, from a pretrained model or from scratch."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig
from safetensors.torch import save_model

from ssl_cli import console
from ssl_cli.data.example_rows import ExampleRows
from ssl_cli.data.framing import Frame
from ssl_cli.finetuning import outcome
from ssl_cli.finetuning.adapting import Adaptation, n_trained
from ssl_cli.finetuning.finished import LEARNED
from ssl_cli.finetuning.guessing import guesses
from ssl_cli.finetuning.starting import Start, fitted_length, network_node, starting_point
from ssl_cli.fitting import new_model
from ssl_cli.language.finished import TOKENIZER
from ssl_cli.loading import WEIGHTS
from ssl_cli.nodes import build
from ssl_cli.objectives.supervised import Supervised
from ssl_cli.ranks import is_worker
from ssl_cli.repeats import done_before
from ssl_cli.runs import HISTORY, read_history, write_json, write_text
from ssl_cli.tasks.published import Published
from ssl_cli.tasks.task import Answer, Examples, Guesses, Task, Tunes
from ssl_cli.training import train
from ssl_cli.under_way import under_way
from ssl_cli.workers import refuse_miscounted

PACE = "train/examples_per_s"


def run(cfg: DictConfig) -> Path | None:
    """One run, from config to a finished run folder, whose path it returns."""
    refuse_miscounted(cfg)
    task: Task = build(cfg.task)
    examples = task.read(published(cfg))
    start = starting_point(cfg, lambda: task.texts(examples["train"]))
    length = fitted_length(start, cfg.max_length)
    labels = task.labels(examples["train"])
    frame = Frame.of(start.tokenizer, start.options["causal"], length)
    rows = rows_of(task, examples, frame, labels, cfg.predict_train)
    fit_to_task(cfg, task, start, labels, length)
    model: Supervised = new_model(cfg)
    parts = start.given_to(model)
    adaptation = Adaptation(cfg.freeze, cfg.layer_decay, cfg.reinit, cfg.lora)
    adaptation.prepare(model)
    fingerprint = fingerprint_of(examples, start)
    if done := done_before(cfg, fingerprint):
        return done
    with under_way(cfg, fingerprint) as (folder, metrics, trackers):
        describe(cfg, start, parts, model, rows)
        if not is_worker():
            write_text(folder / TOKENIZER, start.tokenizer.to_json())
        model.best_by = task.best_by
        model.judge = lambda found: measured(task, answered(task, "dev", examples["dev"], rows["dev"], found, labels))
        train(model, rows["learned"], rows["dev"], cfg, folder, trackers)
        if is_worker():
            return folder
        adaptation.finish(model)
        save_model(model.eval(), str(folder / WEIGHTS))

        answers: dict[str, Sequence[Answer]] = {}
        for split in (split for split in ("dev", *rows) if split != "learned" and split not in answers):
            console.say(f"answering {len(examples[split]):,} examples: {split}")
            found = guesses(model, rows[split])
            answers[split] = answered(task, split, examples[split], rows[split], found, labels)
        if isinstance(task, Tunes) and (learned := task.learned()):
            write_json(folder / LEARNED, learned)
            console.say(f"tuned on dev: {', '.join(f'{name}={value:.4g}' for name, value in learned.items())}")
        metrics |= pace(folder)
        chosen = {**cfg.choices, "init": cfg.init, "seed": cfg.seed}
        outcome.write(folder, task, labels, answers, metrics, chosen, cfg.resamples, cfg.seed)
    return folder


def published(cfg: DictConfig) -> Published:
    folder = None if cfg.data.dir is None else Path(cfg.data.dir)
    files = {split: name for split, name in cfg.data.files.items() if name is not None}
    return Published(folder, files, Path(cfg.paths.data).expanduser())


def rows_of(
    task: Task, examples: Mapping[str, Examples], frame: Frame, labels: Sequence[str], with_train: bool
) -> dict[str, ExampleRows]:
    """`learned`, the training examples that can be learned from; and by split, all that are to be answered"""
    found = {"learned": task.rows(examples["train"], frame, labels, learning=True)}
    answered = [split for split in examples if with_train or split != "train"]
    found |= {split: task.rows(examples[split], frame, labels, learning=False) for split in answered}
    return {split: some.fitted(frame.max_length) for split, some in found.items()}


def fit_to_task(cfg: DictConfig, task: Task, start: Start, labels: Sequence[str], length: int) -> None:
    """What the config only knows now: the run's name, its facts, and the model whole, so that it can be rebuilt."""
    cfg.choices.model, cfg.choices.data = start.name, cfg.choices.task.replace("/", "-")
    cfg.choices.pop("tokenizer", None)
    cfg.choices.task = cfg.choices.data
    cfg.init = start.place
    cfg.facts = {"labels": list(labels), "max_length": length, "vocab_size": start.options["vocab_size"]}
    dropout = {"dropout": start.options["dropout"]}
    cfg.model = {"_target_": task.objective, "network": network_node(start), **task.options(labels), **dropout}


def fingerprint_of(examples: Mapping[str, Examples], start: Start) -> str:
    """Of all examples and of how they are read."""
    digest = hashlib.sha256(start.tokenizer.to_json().encode())
    for split, found in examples.items():
        digest.update(f"{split} {len(found)}\n".encode())
        for example in found:
            digest.update(repr(example).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def answered(
    task: Task, split: str, examples: Examples, rows: ExampleRows, guesses: Guesses, labels: Sequence[str]
) -> list[Answer]:
    """What a task tunes for itself, it tunes on dev."""
    found = task.answers(examples, rows, guesses, labels)
    return task.tuned(found) if split == "dev" and isinstance(task, Tunes) else found


def measured(task: Task, answers: Sequence[Answer]) -> dict[str, float]:
    tally = task.tally(answers)
    assert tally is not None, "the dev split has labels"
    return tally.metrics()


def pace(folder: Path) -> dict[str, float]:
    """Training examples a second, the median over the rows of history.csv"""
    paces = sorted(row[PACE] for row in read_history(folder / HISTORY) if row.get(PACE))
    return {PACE: paces[len(paces) // 2]} if paces else {}


def describe(
    cfg: DictConfig, start: Start, parts: list[list[str]], model: Supervised, rows: Mapping[str, ExampleRows]
) -> None:
    named = {split: "to learn from" if split == "learned" else split for split in rows}
    counts = ", ".join(f"{len(some):,} {named[split]}" for split, some in rows.items())
    console.say(f"finetune task={cfg.choices.task} init={cfg.init} seed={cfg.seed}: examples: {counts}")
    if cfg.resume is None:
        console.say(console.table("", ["part", "weights", "numbers"], parts, right={"numbers"}))
    trained, whole = n_trained(model)
    if trained < whole:
        console.say(f"{trained:,} of {whole:,} numbers are trained ({trained / whole:.1%})")
    for sentence in dict.fromkeys(sentence for some in rows.values() for sentence in some.lost):
        console.warn(sentence)
