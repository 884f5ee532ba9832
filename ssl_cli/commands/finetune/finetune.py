"""ssl finetune: learn a labelled task, from a pretrained model or from scratch. For tasks on speech see `audio`."""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_model

from ssl_cli import console
from ssl_cli.commands.finetune import audio, outputs
from ssl_cli.commands.finetune.adaptation import Adaptation, n_trained
from ssl_cli.commands.finetune.finished import LEARNED
from ssl_cli.commands.finetune.inference import predict_all
from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.commands.initialize import SCRATCH, Init, apply_init, resolve_init
from ssl_cli.commands.pretrain.evaluate import median_throughput
from ssl_cli.commands.pretrain.finished import TOKENIZER
from ssl_cli.config.instantiate import build, modality_of
from ssl_cli.data.labelled.packed_examples import EVAL_BATCH_EXAMPLES, PackedExamples
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.files import write_json
from ssl_cli.methods.build import new_model
from ssl_cli.methods.supervised.head import SupervisedHead
from ssl_cli.process import is_worker
from ssl_cli.runs.duplicates import find_completed_run
from ssl_cli.runs.folder import HISTORY, read_history
from ssl_cli.runs.session import run_session
from ssl_cli.runs.workers import check_process_count
from ssl_cli.tasks.task import Examples, Prediction, RawPredictions, Task, Tunes
from ssl_cli.training.limits import validated_rows
from ssl_cli.training.trainer import resolve_precision, train

EXAMPLES_PER_S = "train/examples_per_s"
NETWORK = "ssl_cli.models.transformer.Transformer"
MAX_LENGTH = 384  # tokens of an example, unless max_length is given
EXTENSIBLE = ("rotary", "sinusoidal")  # positions that continue beyond those in training


def run(cfg: DictConfig) -> Path | None:
    """Run one training, from config to a finished run folder, and return its path."""
    if modality_of(cfg.data._target_) == "audio":
        return audio.run(cfg)
    check_process_count(cfg)
    adaptation = Adaptation(cfg.freeze, cfg.layer_decay, cfg.reinit, cfg.lora)
    adaptation.check_options(from_scratch=cfg.init == SCRATCH)
    task: Task = build(cfg.task)
    examples = task.read(build(cfg.data))
    if cfg.trainer.get("fast_dev_run"):
        examples |= {split: limited_examples(cfg.trainer, examples[split]) for split in examples if split != "train"}
    init = resolve_init(cfg)
    apply_init(cfg, init)
    tokenizer = init.tokenizer or build(cfg.tokenizer).train(task.texts(examples["train"]))
    network, length = fit_network(cfg, init, tokenizer.vocab_size)
    labels = task.labels(examples["train"])
    template = SequenceTemplate.for_tokenizer(tokenizer, network["causal"], length)
    train_rows = task.rows(examples["train"], template, labels, training=True).with_row_length(length)
    check_not_empty(train_rows)
    splits = [split for split in dict.fromkeys(("dev", *examples)) if split != "train" or cfg.predict_train]
    rows = {
        split: task.rows(examples[split], template, labels, training=False).with_row_length(length) for split in splits
    }
    val_examples = limited_examples(cfg.trainer, examples["dev"])
    val_rows = rows["dev"]
    if val_examples is not examples["dev"]:
        val_rows = task.rows(val_examples, template, labels, training=False).with_row_length(length)
    apply_task(cfg, task, init, network, labels, length)
    model: SupervisedHead = new_model(cfg)
    loaded = init.load_into(model)
    adaptation.prepare(model)
    fingerprint = fingerprint_of(examples, tokenizer)
    if done := find_completed_run(cfg, fingerprint):
        return done
    with run_session(cfg, fingerprint, {TOKENIZER: tokenizer.to_json()}) as (folder, metrics, trackers):
        outputs.check_file_names(folder, task, examples)
        describe(cfg, loaded, model, examples, {"train": train_rows, **rows})
        model.monitor = task.monitor
        model.validation_metrics = lambda raw: metrics_of(
            task, decode(task, "dev", val_examples, val_rows, raw, labels)
        )
        train(model, train_rows, val_rows, cfg, folder, trackers)
        if is_worker():
            return folder
        adaptation.finish(model)
        save_model(model.eval(), str(folder / WEIGHTS))

        predictions = predict_splits(cfg, task, model, examples, rows, labels)
        if isinstance(task, Tunes) and (learned := task.learned()):
            write_json(folder / LEARNED, learned)
            console.say(f"tuned on dev: {', '.join(f'{name}={value:.4g}' for name, value in learned.items())}")
        metrics |= median_throughput(read_history(folder / HISTORY), EXAMPLES_PER_S)
        chosen = {**cfg.choices, "init": cfg.init, "seed": cfg.seed}
        escape_formulas = cfg.get("escape_formulas", False)
        outputs.write(
            folder, task, labels, predictions, metrics, chosen, cfg.bootstrap_samples, cfg.seed, escape_formulas
        )
    return folder


def limited_examples(settings: DictConfig, examples: Examples) -> Examples:
    """Return the examples of as many validation batches as trainer.limit_val_batches says, evenly spaced."""
    which = validated_rows(settings, len(examples), EVAL_BATCH_EXAMPLES)
    return examples if len(which) == len(examples) else [examples[index] for index in which]


def check_not_empty(train_rows: PackedExamples) -> None:
    """Raise InputError if no training example is left."""
    if not len(train_rows):
        raise InputError(" ".join(["No training example is left.", *train_rows.warnings]))


def fit_network(cfg: DictConfig, init: Init, vocab_size: int) -> tuple[dict[str, Any], int]:
    """Return the options of the network, and how many tokens an example may have.

    The context is extended if max_length exceeds it. Raises InputError if the network's positions can't be extended.
    """
    if not init.options:
        resolved = copy.deepcopy(cfg)
        resolved.facts = {"vocab_size": vocab_size}
        options: dict[str, Any] = OmegaConf.to_container(resolved.model, resolve=True)  # type: ignore[assignment]
        del options["_target_"]
    else:
        overrides = {} if cfg.resume is not None else cfg.model
        dropout = {name: overrides[name] for name in ("dropout", "attention_dropout") if name in overrides}
        options = {**init.options, **dropout}
    context, wanted = options["context"], cfg.max_length
    if wanted is None:
        return options, min(context, MAX_LENGTH)
    if wanted > context and options["positions"] not in EXTENSIBLE:
        raise InputError(f"max_length={wanted}: {init.place} reads at most {context} tokens, the positions it learned.")
    return options | {"context": max(context, wanted)}, wanted


def apply_task(
    cfg: DictConfig, task: Task, init: Init, network: Mapping[str, Any], labels: Sequence[str], length: int
) -> None:
    """Write what follows from the task and `init` into the config: the names in the run's path, facts and the model.

    So the saved config alone rebuilds the model.
    """
    cfg.choices.model, cfg.choices.data = init.name, cfg.choices.task
    cfg.choices.pop("tokenizer", None)
    cfg.summary_metrics = list(dict.fromkeys([f"dev/{task.monitor}", *cfg.summary_metrics]))
    digest = init.digest if cfg.resume is None else cfg.facts.start
    cfg.facts = {
        "labels": list(labels),
        "max_length": length,
        "vocab_size": network["vocab_size"],
        "start": digest,
    }
    node = {"_target_": NETWORK, **network}
    cfg.model = {"_target_": task.method, "network": node, **task.options(labels), "dropout": network["dropout"]}


def fingerprint_of(examples: Mapping[str, Examples], tokenizer: Tokenizer) -> str:
    """Return a hash of all examples and of the tokenizer that reads them."""
    digest = hashlib.sha256(tokenizer.to_json().encode())
    for split, split_examples in examples.items():
        digest.update(f"{split} {len(split_examples)}\n".encode())
        for example in split_examples:
            digest.update(repr(example).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def predict_splits(
    cfg: DictConfig,
    task: Task,
    model: SupervisedHead,
    examples: Mapping[str, Examples],
    rows: Mapping[str, PackedExamples],
    labels: Sequence[str],
) -> dict[str, Sequence[Prediction]]:
    """Return the predictions of each split. Dev comes first: what is tuned on it is used for the others."""
    predictions: dict[str, Sequence[Prediction]] = {}
    for split, split_rows in rows.items():
        console.say(f"predicting {split}: {len(examples[split]):,}")
        raw = predict_all(model, split_rows, resolve_precision(cfg.trainer, model))
        predictions[split] = decode(task, split, examples[split], split_rows, raw, labels)
    return predictions


def decode(
    task: Task, split: str, examples: Examples, rows: PackedExamples, raw: RawPredictions, labels: Sequence[str]
) -> list[Prediction]:
    """Return the predictions of a split; a task that tunes something does so on dev."""
    predictions = task.decode(examples, rows, raw, labels)
    return task.tune(predictions) if split == "dev" and isinstance(task, Tunes) else predictions


def metrics_of(task: Task, predictions: Sequence[Prediction]) -> dict[str, float]:
    """Return the metrics of predictions whose labels are known."""
    scores = task.scores(predictions)
    assert scores is not None, "the dev split has labels"
    return scores.metrics()


def describe(
    cfg: DictConfig,
    loaded: list[list[str]],
    model: SupervisedHead,
    examples: Mapping[str, Examples],
    rows: Mapping[str, PackedExamples],
) -> None:
    """Print the number of examples, which parts of the model are loaded and trained, and warnings about the data."""
    counts = ", ".join(
        f"{split} {n_examples(len(examples[split]), len(split_rows))}" for split, split_rows in rows.items()
    )
    console.say(f"finetune task={cfg.choices.task} init={cfg.init} seed={cfg.seed}: {counts}")
    if cfg.resume is None:
        console.say(console.table("", ["part", "weights", "parameters"], loaded, right={"parameters"}))
    trained, total = n_trained(model)
    if trained < total:
        console.say(f"{trained:,} of {total:,} parameters are trained ({trained / total:.1%})")
    for split, split_rows in rows.items():
        for warning in split_rows.warnings:
            console.warn(f"{split}: {warning}")


def n_examples(n: int, n_rows: int) -> str:
    """Return the number of examples, and of windows if it differs: long texts have several, and some are left out."""
    return f"{n:,}" + ("" if n_rows == n else f" ({n_rows:,} windows)")
