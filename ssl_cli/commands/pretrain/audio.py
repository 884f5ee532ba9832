"""Pretraining on speech: predict masked frames (BERT), or frames a few steps on (GPT)."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from safetensors.torch import save_model

from ssl_cli import console
from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.commands.pretrain import audio_report
from ssl_cli.commands.pretrain.audio_probes import few_label_metrics
from ssl_cli.commands.pretrain.evaluate import evaluate, median_throughput
from ssl_cli.commands.pretrain.layer_metrics import layer_unit_metrics
from ssl_cli.config.instantiate import build
from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.windows import SpeechWindows
from ssl_cli.data.batches import ordered_loader
from ssl_cli.methods.build import new_model
from ssl_cli.methods.speech.frame_protocols import InitializesFromFrames
from ssl_cli.process import is_worker
from ssl_cli.runs.duplicates import find_completed_run
from ssl_cli.runs.folder import HISTORY, read_history
from ssl_cli.runs.session import run_session
from ssl_cli.runs.workers import check_process_count
from ssl_cli.training import checkpoints
from ssl_cli.training.limits import validated_rows
from ssl_cli.training.trainer import train

FRAMES_PER_S = "train/frames_per_s"


def run(cfg: DictConfig) -> Path:
    """Run one training, from config to a finished run folder, and return its path."""
    check_process_count(cfg)
    data: SpeechData = build(cfg.data).speech_splits(cfg.seed)
    cfg.facts = data.facts
    model = new_model(cfg)
    rows = windows(data, "train", model.window, cfg.seed)
    held_out = windows(data, "val", model.window, cfg.seed)
    if done := find_completed_run(cfg, data.fingerprint):
        return done
    with run_session(cfg, data.fingerprint) as (folder, metrics, trackers):
        describe(cfg, data)
        if isinstance(model, InitializesFromFrames) and not (cfg.resume is not None and checkpoints.any_exist(folder)):
            model.initialize_from_frames(ordered_loader(rows, rows.eval_batch_size), cfg.seed, console.say)
        train(model, rows, limited(cfg, data, held_out), cfg, folder, trackers)
        if is_worker():
            return folder
        save_model(model.eval(), str(folder / WEIGHTS))
        data.reader.save(folder)

        console.say(f"evaluating on {len(held_out):,} held-out utterances")
        metrics |= evaluate(model, held_out, cfg.seed)
        metrics |= median_throughput(read_history(folder / HISTORY), FRAMES_PER_S)
        metrics |= few_label_metrics(model, data, cfg.seed) | layer_unit_metrics(model, data, cfg.seed)
        figures = audio_report.draw(folder, model, held_out, data, cfg.seed)
        audio_report.write(folder, {**cfg.choices, "seed": cfg.seed}, metrics, figures)
        audio_report.print_summary(metrics, figures)
    return folder


def windows(data: SpeechData, split: str, window: int, seed: int) -> SpeechWindows:
    """Return the utterances of a split as rows; those of training if nothing is held out."""
    held = data.splits.get(split, data.splits["train"])
    return SpeechWindows(held, data.reader, window, seed, training=split == "train")


def limited(cfg: DictConfig, data: SpeechData, held_out: SpeechWindows) -> SpeechWindows:
    """Return the utterances of as many validation batches as trainer.limit_val_batches says, evenly spaced."""
    which = validated_rows(cfg.trainer, len(held_out), held_out.eval_batch_size)
    if len(which) == len(held_out):
        return held_out
    split = data.splits.get("val", data.splits["train"]).take(which)
    return SpeechWindows(split, data.reader, held_out.window, cfg.seed, training=False)


def describe(cfg: DictConfig, data: SpeechData) -> None:
    """Print what is trained on which utterances, and the warnings of the data."""
    frames_per_s: Any = data.facts["frames_per_s"]
    sizes = ", ".join(
        f"{len(split):,} {name} ({len(split.frames) / frames_per_s:,.0f} s)" for name, split in data.splits.items()
    )
    chosen = f"model={cfg.choices.model} data={cfg.choices.data} seed={cfg.seed}"
    console.say(f"pretrain {chosen}: utterances: {sizes}")
    if "val" not in data.splits:
        console.warn("no utterance is held out: the metrics of val are those of training")
    for warning in data.warnings:
        console.warn(warning)
