"""Fine-tuning on images: their class, from a pretrained network of images or from scratch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_model

from ssl_cli.commands.finetune import outputs
from ssl_cli.commands.finetune.adaptation import Adaptation
from ssl_cli.commands.finetune.image_init import check_file, check_same_images, network_node, resolve_image_init
from ssl_cli.commands.finetune.image_section import section_of_images
from ssl_cli.commands.finetune.whole_inputs import (
    EXAMPLES_PER_S,
    describe,
    metrics_of,
    predict_splits,
    watched_examples,
)
from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.commands.initialize import SCRATCH, Init, apply_init
from ssl_cli.commands.pretrain.evaluate import median_throughput
from ssl_cli.commands.reconstruct.finished import READER
from ssl_cli.config.instantiate import build
from ssl_cli.data.images.datasets import ImageData
from ssl_cli.errors import InputError
from ssl_cli.methods.build import new_model
from ssl_cli.methods.supervised.image_classification import ImageClassificationHead
from ssl_cli.process import is_worker
from ssl_cli.runs.duplicates import find_completed_run
from ssl_cli.runs.folder import HISTORY, read_history
from ssl_cli.runs.session import run_session
from ssl_cli.runs.workers import check_process_count
from ssl_cli.tasks.image_classification import ImageClassification, LabelledImages
from ssl_cli.training.trainer import train


def run(cfg: DictConfig) -> Path:
    """Run one training, from config to a finished run folder, and return its path."""
    check_process_count(cfg)
    adaptation = Adaptation(cfg.freeze, cfg.layer_decay, cfg.reinit, cfg.lora)
    adaptation.check_options(from_scratch=cfg.init == SCRATCH)
    init = resolve_image_init(cfg)
    data: ImageData = build(cfg.data).image_splits(cfg.seed)
    check_same_images(cfg, init, data)
    cfg.facts = {**cfg.facts, **data.facts}
    task: ImageClassification = build(cfg.task)
    classes, examples = data.classes, task.read(data, cfg.seed)
    check_batches(cfg, len(examples["train"]))
    apply_init(cfg, init.init)
    apply_task(cfg, task, init.init, network_node(cfg, init, data), classes)
    model: ImageClassificationHead = new_model(cfg)
    check_file(init, model.network)
    loaded = init.init.load_into(model)
    adaptation.prepare(model)
    model.train()  # Lightning keeps the mode of each part: that of frozen batch norms follows from what is frozen
    rows = {split: task.rows(each) for split, each in examples.items()}
    if done := find_completed_run(cfg, data.fingerprint):
        return done
    with run_session(cfg, data.fingerprint) as (folder, metrics, trackers):
        describe(cfg, loaded, model, examples, "images", data.warnings)
        watched = watched_examples(cfg, examples["dev"], rows["dev"].eval_batch_size)
        model.monitor = task.monitor
        model.validation_metrics = lambda raw: metrics_of(task, watched, raw, classes)
        train(model, rows["train"], task.rows(watched), cfg, folder, trackers)
        if is_worker():
            return folder
        adaptation.finish(model)
        save_model(model.eval(), str(folder / WEIGHTS))
        data.reader.save(folder / READER)

        predictions = predict_splits(cfg.predict_train, task, model, examples, rows, classes)
        metrics |= median_throughput(read_history(folder / HISTORY), EXAMPLES_PER_S)
        metrics |= majority_accuracy(examples)
        chosen = {**cfg.choices, "init": cfg.init, "labels": len(examples["train"]), "seed": cfg.seed}
        of_images = section_of_images({split: each.x for split, each in examples.items()})
        outputs.write(
            *(folder, task, classes, predictions, metrics, chosen, cfg.bootstrap_samples, cfg.seed),
            cfg.escape_formulas,
            of_images,
        )
    return folder


def check_batches(cfg: DictConfig, n_rows: int) -> None:
    """Raise InputError if a device would get one image alone, or another number than the others."""
    batch, devices = min(cfg.trainer.batch_size, n_rows), cfg.trainer.devices * cfg.trainer.num_nodes
    if batch < 2 * devices or batch % devices:
        of_devices = f", and a multiple of the {devices} devices" * (devices > 1)
        raise InputError(
            f"Batches of {batch} images: batch normalization needs several on each device, so trainer.batch_size must "
            f"be {2 * devices} or more{of_devices}, with as many labels."
        )


def apply_task(
    cfg: DictConfig, task: ImageClassification, init: Init, network: Mapping[str, Any], classes: Sequence[str]
) -> None:
    """Write what follows from the task, the data and `init` into the config, so that it alone rebuilds the model."""
    cfg.choices.model = init.name if init.weights else cfg.choices.model
    cfg.choices.data = f"{cfg.choices.task}-{cfg.choices.data}" if cfg.resume is None else cfg.choices.data
    cfg.summary_metrics = [f"test/{task.monitor}", f"dev/{task.monitor}", EXAMPLES_PER_S]
    digest = init.digest if cfg.resume is None else cfg.facts.start
    cfg.facts = {**cfg.facts, "labels": list(classes), "start": digest}
    augment: Any = OmegaConf.to_container(cfg.task, resolve=True)["augment"]  # type: ignore[index,call-overload]
    cfg.model = {"_target_": task.method, "network": network, **task.options(classes), "augment": augment}


def majority_accuracy(examples: Mapping[str, LabelledImages]) -> dict[str, float]:
    """Return the accuracy on test images of the commonest class of training, if there are any."""
    if "test" not in examples:
        return {}
    commonest = np.bincount(examples["train"].label).argmax()
    return {"test/majority_accuracy": float((examples["test"].label == commonest).mean())}
