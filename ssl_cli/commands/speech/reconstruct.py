"""Autoencoders of speech: train and evaluate one, and write what it makes of the test recordings."""

from pathlib import Path

from omegaconf import DictConfig
from safetensors.torch import save_model

from ssl_cli import console
from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.commands.speech import figures as figure_files
from ssl_cli.commands.speech import report
from ssl_cli.commands.speech.evaluate import evaluate
from ssl_cli.config.instantiate import build
from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.windows import SpeechWindows
from ssl_cli.methods.build import new_model
from ssl_cli.models.vocoders import load_vocoder
from ssl_cli.process import is_worker
from ssl_cli.runs.duplicates import find_completed_run
from ssl_cli.runs.session import run_session
from ssl_cli.runs.workers import check_process_count
from ssl_cli.training.fit import fit
from ssl_cli.training.limits import step_limit, train_batches


def run(cfg: DictConfig) -> Path:
    """Run one training, from config to a finished run folder, and return its path."""
    check_process_count(cfg)
    data: SpeechData = build(cfg.data).speech_splits(cfg.seed)
    cfg.facts = data.facts | {"steps": n_steps(cfg, data)}
    if done := find_completed_run(cfg, data.fingerprint):
        return done
    vocoder = None if cfg.vocoder is None else load_vocoder(Path(cfg.vocoder), data.reader.settings)
    model = new_model(cfg)
    with run_session(cfg, data.fingerprint) as (folder, metrics, trackers):
        describe(cfg, data)
        train = SpeechWindows(data.splits["train"], data.reader, model.window, cfg.seed, training=True)
        watched = data.splits.get("val", data.splits["train"])  # those of training if none is held out
        val = SpeechWindows(watched, data.reader, model.window, cfg.seed, training=False)
        fit(model, train, val, cfg, folder, trackers)
        if is_worker():
            return folder
        save_model(model.eval(), str(folder / WEIGHTS))
        data.reader.save(folder)

        found = evaluate(model, data, cfg, vocoder)
        metrics |= found.metrics
        figures = figure_files.draw(folder, model, data, found)
        sounds = figure_files.write_clips(folder, data, found, cfg.clips, vocoder)
        report.write(folder, {**cfg.choices, "seed": cfg.seed}, found, figures, sounds)
        report.print_summary(found, figures)
    return folder


def n_steps(cfg: DictConfig, data: SpeechData) -> int:
    """Return the optimizer steps of the run, which some methods plan by; the default if only time ends it."""
    steps = step_limit(cfg.trainer, train_batches(cfg.trainer, len(data.splits["train"])))
    return steps if steps > 0 else cfg.trainer.default_steps


def describe(cfg: DictConfig, data: SpeechData) -> None:
    """Print what is trained on which recordings, and the warnings of the data."""
    frames_per_s, heard = data.reader.settings.frames_per_s, len(data.reader.speakers)
    sizes = ", ".join(
        f"{len(split):,} {name} ({len(split.frames) / frames_per_s:,.0f} s)" for name, split in data.splits.items()
    )
    chosen = f"model={cfg.choices.model} data={cfg.choices.data} seed={cfg.seed}"
    console.say(f"reconstruct {chosen}: {heard} speaker{'s' if heard > 1 else ''}; utterances: {sizes}")
    if heard == 1:
        console.warn(f"{data.speakers[0]} is the only speaker: there is no other voice to convert to")
    for warning in data.warnings:
        console.warn(warning)
    if "test" not in data.splits:
        console.warn("no utterance is held out for the test: the metrics below are of the training utterances")
