"""ssl finetune: learn a labelled task, from a pretrained model or from scratch."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig
from safetensors.torch import save_model

from ssl_cli import console
from ssl_cli.commands.finetune import outputs
from ssl_cli.commands.finetune.adaptation import Adaptation, n_trained
from ssl_cli.commands.finetune.finished import LEARNED
from ssl_cli.commands.finetune.inference import predict_like_validation
from ssl_cli.commands.finetune.initialize import SCRATCH, FinetuneInit, fitted_length, network_node, resolve_init
from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.commands.pretrain.evaluate import pace
from ssl_cli.commands.pretrain.finished import TOKENIZER
from ssl_cli.config.instantiate import build
from ssl_cli.data.labelled.packed_examples import PackedExamples
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.errors import InputError
from ssl_cli.files import write_json
from ssl_cli.methods.supervised.head import SupervisedHead
from ssl_cli.process import is_worker
from ssl_cli.runs.duplicates import find_completed_run
from ssl_cli.runs.folder import HISTORY, read_history
from ssl_cli.runs.session import run_session
from ssl_cli.runs.workers import refuse_miscounted
from ssl_cli.tasks.sources import TaskFiles
from ssl_cli.tasks.task import Examples, Prediction, RawPredictions, Task, Tunes
from ssl_cli.training.fit import new_model
from ssl_cli.training.trainer import precision, train

PACE = "train/examples_per_s"


def run(cfg: DictConfig) -> Path | None:
    """One run, from config to a finished run folder, whose path it returns."""
    refuse_miscounted(cfg)
    adaptation = Adaptation(cfg.freeze, cfg.layer_decay, cfg.reinit, cfg.lora)
    adaptation.refuse_contradictions(from_scratch=cfg.init == SCRATCH)
    task: Task = build(cfg.task)
    examples = task.read(published(cfg))
    start = resolve_init(cfg, lambda: task.texts(examples["train"]))
    length = fitted_length(start, cfg.max_length)
    labels = task.labels(examples["train"])
    frame = SequenceTemplate.of(start.tokenizer, start.options["causal"], length)
    lessons = task.rows(examples["train"], frame, labels, training=True).with_row_length(length)
    refuse_nothing(lessons)
    asked = [split for split in dict.fromkeys(("dev", *examples)) if split != "train" or cfg.predict_train]
    rows = {split: task.rows(examples[split], frame, labels, training=False).with_row_length(length) for split in asked}
    fit_to_task(cfg, task, start, labels, length)
    model: SupervisedHead = new_model(cfg)
    parts = start.load_into(model)
    adaptation.prepare(model)
    fingerprint = fingerprint_of(examples, start)
    if done := find_completed_run(cfg, fingerprint):
        return done
    with run_session(cfg, fingerprint, {TOKENIZER: start.tokenizer.to_json()}) as (folder, metrics, trackers):
        outputs.refuse_strange_names(folder, task, examples)
        describe(cfg, parts, model, examples, {"train": lessons, **rows})
        model.monitor = task.monitor
        model.validation_metrics = lambda found: measured(
            task, answered(task, "dev", examples["dev"], rows["dev"], found, labels)
        )
        train(model, lessons, rows["dev"], cfg, folder, trackers)
        if is_worker():
            return folder
        adaptation.finish(model)
        save_model(model.eval(), str(folder / WEIGHTS))

        answers: dict[str, Sequence[Prediction]] = {}
        for split, some in rows.items():  # dev comes first: what is tuned there serves the others
            console.say(f"answering {split}: {len(examples[split]):,}")
            found = predict_like_validation(model, some, precision(cfg.trainer, model))
            answers[split] = answered(task, split, examples[split], some, found, labels)
        if isinstance(task, Tunes) and (learned := task.learned()):
            write_json(folder / LEARNED, learned)
            console.say(f"tuned on dev: {', '.join(f'{name}={value:.4g}' for name, value in learned.items())}")
        metrics |= pace(read_history(folder / HISTORY), PACE)
        chosen = {**cfg.choices, "init": cfg.init, "seed": cfg.seed}
        outputs.write(folder, task, labels, answers, metrics, chosen, cfg.bootstrap_samples, cfg.seed)
    return folder


def published(cfg: DictConfig) -> TaskFiles:
    folder = None if cfg.data.dir is None else Path(cfg.data.dir)
    files = {split: name for split, name in cfg.data.files.items() if name is not None}
    return TaskFiles(folder, files, Path(cfg.paths.data).expanduser())


def refuse_nothing(lessons: PackedExamples) -> None:
    if not len(lessons):
        raise InputError(" ".join(["Nothing is left to learn from.", *lessons.warnings]))


def fit_to_task(cfg: DictConfig, task: Task, start: FinetuneInit, labels: Sequence[str], length: int) -> None:
    """What the config only knows now: the run's name, its facts, and the model whole, so that it can be rebuilt."""
    cfg.choices.model, cfg.choices.data, cfg.init = start.name, cfg.choices.task, start.place
    cfg.choices.pop("tokenizer", None)
    cfg.summary_metrics = list(dict.fromkeys([f"dev/{task.monitor}", *cfg.summary_metrics]))
    digest = start.digest if cfg.resume is None else cfg.facts.start
    facts = {"labels": list(labels), "max_length": length, "vocab_size": start.options["vocab_size"], "start": digest}
    cfg.facts = facts
    dropout = {"dropout": start.options["dropout"]}
    cfg.model = {"_target_": task.method, "network": network_node(start), **task.options(labels), **dropout}


def fingerprint_of(examples: Mapping[str, Examples], start: FinetuneInit) -> str:
    """Of all examples and of how they are read."""
    digest = hashlib.sha256(start.tokenizer.to_json().encode())
    for split, found in examples.items():
        digest.update(f"{split} {len(found)}\n".encode())
        for example in found:
            digest.update(repr(example).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def answered(
    task: Task, split: str, examples: Examples, rows: PackedExamples, guesses: RawPredictions, labels: Sequence[str]
) -> list[Prediction]:
    """What a task tunes for itself, it tunes on dev."""
    found = task.decode(examples, rows, guesses, labels)
    return task.tuned(found) if split == "dev" and isinstance(task, Tunes) else found


def measured(task: Task, answers: Sequence[Prediction]) -> dict[str, float]:
    tally = task.scores(answers)
    assert tally is not None, "the dev split has labels"
    return tally.metrics()


def describe(
    cfg: DictConfig,
    parts: list[list[str]],
    model: SupervisedHead,
    examples: Mapping[str, Examples],
    rows: Mapping[str, PackedExamples],
) -> None:
    counts = ", ".join(f"{split} {counted(len(examples[split]), len(some))}" for split, some in rows.items())
    console.say(f"finetune task={cfg.choices.task} init={cfg.init} seed={cfg.seed}: {counts}")
    if cfg.resume is None:
        console.say(console.table("", ["part", "weights", "numbers"], parts, right={"numbers"}))
    trained, whole = n_trained(model)
    if trained < whole:
        console.say(f"{trained:,} of {whole:,} numbers are trained ({trained / whole:.1%})")
    for split, some in rows.items():
        for sentence in some.warnings:
            console.warn(f"{split}: {sentence}")


def counted(n_examples: int, n_rows: int) -> str:
    """Long texts are read in windows; some of the training examples can't be learned from."""
    return f"{n_examples:,}" + ("" if n_rows == n_examples else f" ({n_rows:,} windows)")
