"""Fine-tuning on speech: which word is said or who speaks, from a pretrained model of speech or from scratch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig
from safetensors.torch import save_model

from ssl_cli.commands.finetune import outputs
from ssl_cli.commands.finetune.adaptation import Adaptation
from ssl_cli.commands.finetune.audio_init import check_same_frames, network_options, resolve_speech_init
from ssl_cli.commands.finetune.whole_inputs import (
    EXAMPLES_PER_S,
    describe,
    metrics_of,
    predict_splits,
    watched_examples,
)
from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.commands.initialize import Init, apply_init
from ssl_cli.commands.pretrain.evaluate import median_throughput
from ssl_cli.config.instantiate import build
from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.methods.build import new_model
from ssl_cli.methods.supervised.speech_classification import SpeechClassificationHead
from ssl_cli.process import is_worker
from ssl_cli.runs.duplicates import find_completed_run
from ssl_cli.runs.folder import HISTORY, read_history
from ssl_cli.runs.session import run_session
from ssl_cli.runs.workers import check_process_count
from ssl_cli.tasks.speech_classification import SpeechClassification
from ssl_cli.training.trainer import train

NETWORK = "ssl_cli.models.frame_transformer.FrameTransformer"


def run(cfg: DictConfig) -> Path:
    """Run one training, from config to a finished run folder, and return its path."""
    check_process_count(cfg)
    adaptation = Adaptation(cfg.freeze, cfg.layer_decay, cfg.reinit, cfg.lora)
    adaptation.check_options(from_scratch=cfg.init == "none")
    init = resolve_speech_init(cfg)
    task: SpeechClassification = build(cfg.task)
    data: SpeechData = build(cfg.data).speech_splits(cfg.seed)
    check_same_frames(init, data.reader)
    classes = task.classes(data)
    examples = task.read(data, classes, cfg.seed)
    apply_init(cfg, init.init)
    apply_task(cfg, task, init.init, network_options(cfg, init, data), classes, data)
    model: SpeechClassificationHead = new_model(cfg)
    loaded = init.init.load_into(model)
    adaptation.prepare(model)
    rows = {
        split: task.rows(each, data.reader, model.network.context if split == "train" else None, cfg.seed)
        for split, each in examples.items()
    }
    if done := find_completed_run(cfg, data.fingerprint):
        return done
    with run_session(cfg, data.fingerprint) as (folder, metrics, trackers):
        describe(cfg, loaded, model, examples, "utterances", data.warnings)
        watched = watched_examples(cfg, examples["dev"], rows["dev"].eval_batch_size)
        model.monitor = task.monitor
        model.validation_metrics = lambda raw: metrics_of(task, watched, raw, classes)
        train(model, rows["train"], task.rows(watched, data.reader, None, cfg.seed), cfg, folder, trackers)
        if is_worker():
            return folder
        adaptation.finish(model)
        save_model(model.eval(), str(folder / WEIGHTS))
        data.reader.save(folder)

        predictions = predict_splits(cfg.predict_train, task, model, examples, rows, classes)
        metrics |= median_throughput(read_history(folder / HISTORY), EXAMPLES_PER_S)
        chosen = {**cfg.choices, "init": cfg.init, "seed": cfg.seed}
        outputs.write(
            folder, task, classes, predictions, metrics, chosen, cfg.bootstrap_samples, cfg.seed, cfg.escape_formulas
        )
    return folder


def apply_task(
    cfg: DictConfig,
    task: SpeechClassification,
    init: Init,
    network: Mapping[str, object],
    classes: Sequence[str],
    data: SpeechData,
) -> None:
    """Write what follows from the task, the data and `init` into the config, so that it alone rebuilds the model."""
    cfg.choices.model = init.name if init.weights else cfg.choices.model
    cfg.choices.data = f"{cfg.choices.task}-{cfg.choices.data}" if cfg.resume is None else cfg.choices.data
    cfg.summary_metrics = [f"test/{task.monitor}", f"dev/{task.monitor}", EXAMPLES_PER_S]
    digest = init.digest if cfg.resume is None else cfg.facts.start
    cfg.facts = {**data.facts, "labels": list(classes), "start": digest}
    node = {"_target_": NETWORK, **network}
    cfg.model = {"_target_": task.method, "network": node, **task.options(classes), "dropout": network["dropout"]}
