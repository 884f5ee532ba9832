"""ssl finetune: learn a labelled task, from a pretrained model or from scratch.

For tasks on speech see `audio`, for those on images `images`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from safetensors.torch import save_model

from ssl_cli import console
from ssl_cli.commands.finetune import audio, images, outputs
from ssl_cli.commands.finetune.adaptation import Adaptation, n_trained
from ssl_cli.commands.finetune.finished import LEARNED
from ssl_cli.commands.finetune.inference import predict_all
from ssl_cli.commands.finetune.network import FittedNetwork, fit_network, in_kind_of, method_node
from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.commands.initialize import SCRATCH, Init, apply_init, resolve_init
from ssl_cli.commands.pretrain.evaluate import median_throughput
from ssl_cli.commands.pretrain.finished import TOKENIZER
from ssl_cli.config.instantiate import build, modality_of
from ssl_cli.data.labelled.packed_examples import EVAL_BATCH_EXAMPLES, PackedExamples
from ssl_cli.data.labelled.packed_pairs import PackedPairs
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.files import write_json
from ssl_cli.methods.build import new_model
from ssl_cli.methods.supervised.head import SupervisedMethod
from ssl_cli.process import is_worker
from ssl_cli.runs.duplicates import find_completed_run
from ssl_cli.runs.folder import HISTORY, read_history
from ssl_cli.runs.session import run_session
from ssl_cli.runs.workers import check_process_count
from ssl_cli.tasks.task import Examples, GeneratesText, Prediction, RawPredictions, Task, Tunes
from ssl_cli.training.limits import validated_rows
from ssl_cli.training.trainer import resolve_precision, train

EXAMPLES_PER_S = "train/examples_per_s"
MODALITIES = {"audio": audio, "image": images}  # modality -> the module whose run(cfg) fine-tunes on it; here: text


def run(cfg: DictConfig) -> Path | None:
    """Run one training, from config to a finished run folder, and return its path."""
    if (modality := modality_of(cfg.data._target_)) in MODALITIES:
        return MODALITIES[modality].run(cfg)
    check_process_count(cfg)
    adaptation = Adaptation(cfg.freeze, cfg.layer_decay, cfg.reinit, cfg.lora)
    adaptation.check_options(from_scratch=cfg.init == SCRATCH)
    task: Task = build(cfg.task)
    examples = task.read(build(cfg.data))
    if cfg.trainer.get("fast_dev_run"):
        examples |= {split: limited_examples(cfg.trainer, examples[split]) for split in examples if split != "train"}
    init = in_kind_of(task, resolve_init(cfg))
    apply_init(cfg, init)
    tokenizer = init.tokenizer or build(cfg.tokenizer).train(task.texts(examples["train"]))
    network, labels = fit_network(cfg, init, task, tokenizer.vocab_size), task.labels(examples["train"])
    template = task.template(tokenizer, network.options, network.style, network.length)
    train_rows = task.rows(examples["train"], template, labels, training=True)
    check_not_empty(train_rows)
    splits = [split for split in dict.fromkeys(("dev", *examples)) if split != "train" or cfg.predict_train]
    rows = {split: task.rows(examples[split], template, labels, training=False) for split in splits}
    val_examples = validated_examples(cfg.trainer, task, examples["dev"])
    val_rows = rows["dev"]
    if val_examples is not examples["dev"]:
        val_rows = task.rows(val_examples, template, labels, training=False)
    apply_task(cfg, task, init, network, labels, template)
    model: SupervisedMethod = new_model(cfg)
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


def validated_examples(settings: DictConfig, task: Task, dev: Examples) -> Examples:
    """Return the examples of dev by which the weights are selected: all, unless the trainer or the task limits them.

    To write a text takes far longer than to predict a class: a task that writes has some, evenly spaced.
    """
    examples = limited_examples(settings, dev)
    if not isinstance(task, GeneratesText) or len(examples) <= task.validation_examples:
        return examples
    which = np.linspace(0, len(examples) - 1, task.validation_examples).round().astype(np.int64)
    return [examples[index] for index in which]


def check_not_empty(train_rows: PackedExamples | PackedPairs) -> None:
    """Raise InputError if no training example is left."""
    if not len(train_rows):
        raise InputError(" ".join(["No training example is left.", *train_rows.warnings]))


def apply_task(
    cfg: DictConfig,
    task: Task,
    init: Init,
    network: FittedNetwork,
    labels: list[str],
    template: Any,
) -> None:
    """Write what follows from the task and `init` into the config: the names in the run's path, facts and the model.

    So the saved config alone rebuilds the model.
    """
    cfg.choices.model, cfg.choices.data = init.name, cfg.choices.task
    cfg.choices.pop("tokenizer", None)
    metric = task.summary_metric if isinstance(task, GeneratesText) else task.monitor
    cfg.summary_metrics = list(dict.fromkeys([f"dev/{metric}", *cfg.summary_metrics]))
    digest = init.digest if cfg.resume is None else cfg.facts.start
    cfg.facts = {
        "labels": labels,
        "max_length": network.length,
        "vocab_size": network.options["vocab_size"],
        "style": network.style,
        "start": digest,
    }
    cfg.model = method_node(task, network.options, labels, template.facts)


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
    model: SupervisedMethod,
    examples: Mapping[str, Examples],
    rows: Mapping[str, Any],
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
    task: Task, split: str, examples: Examples, rows: Any, raw: RawPredictions, labels: Sequence[str]
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
    model: SupervisedMethod,
    examples: Mapping[str, Examples],
    rows: Mapping[str, Any],
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
    if isinstance(rows["train"], PackedPairs):
        share = rows["train"].used_share(cfg.trainer.batch_size, cfg.seed)
        console.say(f"pairs share rows: {share:.1%} of the positions of a batch hold a token, none is padded")
    for split, split_rows in rows.items():
        for warning in split_rows.warnings:
            console.warn(f"{split}: {warning}")


def n_examples(n: int, n_rows: int) -> str:
    """Return the number of examples, and of windows if it differs: long texts have several, and some are left out."""
    return f"{n:,}" + ("" if n_rows == n else f" ({n_rows:,} windows)")
