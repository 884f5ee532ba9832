"""Sentences as vectors: train an auto-encoder and the same decoder without a code, and measure what the code holds."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from safetensors.torch import save_model

from ssl_cli import console
from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.commands.pretrain.finished import TOKENIZER
from ssl_cli.commands.sentences import beside, collapse, report, sections
from ssl_cli.commands.sentences.codec import SentenceCodec
from ssl_cli.commands.sentences.evaluate import evaluate
from ssl_cli.commands.sentences.prepare import TokenizedSentences, prepare
from ssl_cli.commands.sentences.probes import probe, probe_metrics
from ssl_cli.commands.sentences.style import swap_styles
from ssl_cli.config.instantiate import build
from ssl_cli.data.sentences.sources import TEST, TRAIN, VAL
from ssl_cli.methods.build import new_model
from ssl_cli.process import is_worker
from ssl_cli.runs.duplicates import find_completed_run
from ssl_cli.runs.session import run_session
from ssl_cli.runs.workers import check_process_count
from ssl_cli.training.limits import limit_validation
from ssl_cli.training.trainer import train

BASELINE = "baseline"  # folder in the run folder, with the history and the checkpoints of the decoder without a code


def run(cfg: DictConfig) -> Path:
    """Run one training, from config to a finished run folder, and return its path."""
    check_process_count(cfg)
    other = None if cfg.get("beside") is None else beside.reopen(cfg.beside, cfg.paths.outputs)
    if other is not None:
        cfg.beside = str(other.folder.resolve())
    data = build(cfg.data).sentence_splits(cfg.seed)
    sentences = prepare(cfg, data)
    if done := find_completed_run(cfg, data.fingerprint):
        return done
    vectors = beside.probed_vectors(other, sentences, cfg.seed) if cfg.probes else None
    model = new_model(cfg)
    files = {TOKENIZER: sentences.tokenizer.to_json()}
    with run_session(cfg, data.fingerprint, files) as (folder, metrics, trackers):
        describe(cfg, sentences)
        rows, val = sentences.rows[TRAIN], limit_validation(cfg.trainer, sentences.rows[VAL])
        train(model, rows, val, cfg, folder, trackers)
        baseline = fit_baseline(cfg, sentences, folder)
        if is_worker():
            return folder
        save_model(model.eval(), str(folder / WEIGHTS))

        console.say(f"evaluating on {len(sentences.splits[TEST]):,} test sentences")
        lowercase = cfg.data.lowercase
        codec = SentenceCodec(model, sentences.tokenizer, lowercase)
        without_code = None if baseline is None else SentenceCodec(baseline, sentences.tokenizer, lowercase)
        found = evaluate(codec, without_code, sentences, cfg.seed, cfg.importance_samples)
        probes = probe(codec, sentences, cfg, vectors) if cfg.probes and model.latent else {}
        swaps = swap_styles(codec, sentences)
        found.metrics.update(probe_metrics(probes) | ({} if swaps is None else swaps.metrics))
        metrics |= found.metrics
        warnings = collapse.collapse_warnings(codec, sentences.rows[TRAIN], cfg.seed)
        extra = [*sections.probe_sections(probes), *sections.swap_sections(swaps)]
        report.write(folder, {**cfg.choices, "seed": cfg.seed}, found, warnings, extra)
        report.print_summary(found, warnings, probes)
    return folder


def fit_baseline(cfg: DictConfig, sentences: TokenizedSentences, folder: Path) -> Any:
    """Return the same decoder trained without a code, for as many steps; None if there is nothing to compare with."""
    if not cfg.baseline or cfg.model.code == "none":
        return None
    own = cfg.copy()
    own.model.code, own.model.style_width = "none", 0
    console.say("then the same decoder without a code; baseline=false leaves it out")
    baseline = new_model(own)
    (folder / BASELINE).mkdir(exist_ok=True)
    val = limit_validation(cfg.trainer, sentences.rows[VAL])
    train(baseline, sentences.rows[TRAIN], val, own, folder / BASELINE)
    return baseline.eval()


def describe(cfg: DictConfig, sentences: TokenizedSentences) -> None:
    """Print what is trained on which sentences, and the warnings of the data."""
    chosen = f"model={cfg.choices.model} data={cfg.choices.data} seed={cfg.seed}"
    sizes = ", ".join(f"{len(split):,} {name}" for name, split in sentences.splits.items())
    console.say(f"reconstruct {chosen}: sentences: {sizes}; {sentences.tokenizer.vocab_size:,} tokens")
    for warning in sentences.warnings:
        console.warn(warning)
