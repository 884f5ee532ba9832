"""Our side: the code that `ssl pretrain` runs, from a composed config to a trained model."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from text_sides.timing import WARM_UP, Clock

from ssl_cli.commands.pretrain.evaluate import measure
from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build
from ssl_cli.data.text.tokens import TextData
from ssl_cli.training.fit import new_model
from ssl_cli.training.trainer import train

LENGTH = 128


def prepare(folder: Path, words: list[str]) -> None:
    """The text of `words`, as both sides read it: train.txt and val.txt, a line a document, and tokenizer.json."""
    cfg = composed(folder, words)
    data = text_of(cfg)
    data.tokenizer.save(folder / "tokenizer.json")
    parts: dict[str, list[str]] = {"train": [], "val": []}
    for split, text in build(cfg.data).splits():
        parts[split].append(text)
    for split, lines in parts.items():
        (folder / f"{split}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def seconds_a_step(folder: Path, words: list[str], steps: int) -> float:
    cfg, model, data = ready(folder, [*words, f"trainer.max_steps={steps + WARM_UP}"])
    clock = Clock(model)
    trained(cfg, model, data, watched_rows=1)
    return clock.seconds_a_step()


def validation_loss(folder: Path, words: list[str]) -> float:
    """Nats a token that is guessed, on all of the held-out text"""
    cfg, model, data = ready(folder, words)
    trained(cfg, model, data, watched_rows=16)
    return measure(model, data.rows("val", model, cfg.seed, cfg.trainer.batch_size), cfg.seed)["val/loss"]


def padding(folder: Path, words: list[str]) -> float:
    """The share of padding in the inputs of the first hundred batches"""
    cfg, model, data = ready(folder, words)
    rows, size = data.rows("train", model, cfg.seed, cfg.trainer.batch_size), cfg.trainer.batch_size
    inputs = torch.stack([model.prepare(rows[k, torch.arange(size) % len(rows), 1.0])["inputs"] for k in range(100)])
    return float((inputs == data.tokenizer.specials["pad"]).float().mean())


# --- as commands/pretrain.py goes about it ---


def composed(folder: Path, words: list[str]) -> DictConfig:
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        cfg = compose("pretrain", [f"data.cache={folder / 'tokens'}", "trainer=cpu", *words])
    OmegaConf.set_struct(cfg, False)
    return cfg


def text_of(cfg: DictConfig) -> TextData:
    return build(cfg.data).texts(build(cfg.tokenizer))


def ready(folder: Path, words: list[str]) -> tuple[DictConfig, Any, TextData]:
    cfg = composed(folder, words)
    data = text_of(cfg)
    cfg.facts = data.facts
    return cfg, new_model(cfg), data


def trained(cfg: DictConfig, model: Any, data: TextData, watched_rows: int) -> None:
    rows, held_out = (data.rows(split, model, cfg.seed, cfg.trainer.batch_size) for split in ("train", "val"))
    watched = held_out.take(np.arange(min(watched_rows, len(held_out))))
    cfg.trainer.validate_every_n_steps = cfg.trainer.checkpoint_every_n_steps = cfg.trainer.max_steps
    with tempfile.TemporaryDirectory() as run:
        train(model, rows, watched, cfg, Path(run))
