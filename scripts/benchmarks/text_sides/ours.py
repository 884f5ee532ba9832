"""Our side: the code that `ssl pretrain` runs, from a composed config to a trained model."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from text_sides.timing import WARM_UP, Clock

from ssl_cli.commands.pretrain.evaluate import evaluate
from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build
from ssl_cli.data.batches import InfiniteSampler, ordered_loader
from ssl_cli.data.text.tokens import TextData
from ssl_cli.methods.build import new_model
from ssl_cli.training.seeding import reseed
from ssl_cli.training.trainer import train

PAIRS_SEED = 0  # of the draws in the pairs that both sides read


def prepare(folder: Path, words: list[str]) -> None:
    """Write the text for both sides: train.txt and val.txt with a document per line, and tokenizer.json."""
    cfg = composed(folder, words)
    data = text_of(cfg)
    data.tokenizer.save(folder / "tokenizer.json")
    documents: dict[str, list[str]] = {"train": [], "val": []}
    for split, text in build(cfg.data).splits():
        documents[split].append(text)
    for split, lines in documents.items():
        (folder / f"{split}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def seconds_a_step(folder: Path, words: list[str], steps: int) -> float:
    """Return the median seconds of a step."""
    cfg, model, data = ready(folder, [*words, f"trainer.max_steps={steps + WARM_UP}"])
    clock = Clock(model)
    train_model(cfg, model, data, n_val_rows=1)
    return clock.seconds_a_step()


def validation_loss(folder: Path, words: list[str]) -> float:
    """Return the loss on all held-out text, in nats per predicted token."""
    cfg, model, data = ready(folder, words)
    train_model(cfg, model, data, n_val_rows=16)
    return evaluate(model, data.rows("val", model, cfg.seed, cfg.trainer.batch_size), cfg.seed)["val/loss"]


def write_pairs(folder: Path, words: list[str], name: str, n_batches: int, n_val_rows: int) -> int:
    """Write the sources and targets of the first training batches, and of held-out rows; return the vocabulary's size.

    They are those that our own side makes with these options, to the token.
    """
    cfg, model, data = ready(folder, words)
    size = cfg.trainer.batch_size
    train_rows, held_out = (data.rows(split, model, cfg.seed, size) for split in ("train", "val"))
    sampler = InfiniteSampler(len(train_rows), size, cfg.seed)
    batches = [(k, train_rows[k, sampler.rows(k), 1.0]) for k in range(n_batches)]
    first = held_out.take(np.arange(min(n_val_rows, len(held_out))))
    loader = ordered_loader(first, first.eval_batch_size)
    for split, chosen in (("train", batches), ("val", [(batch["k"], batch) for batch in loader])):
        made = []
        for k, batch in chosen:
            reseed(PAIRS_SEED, k, 0, torch.device("cpu"))
            made.append(model.make_inputs(batch))
        arrays = {key: torch.cat([inputs[key] for inputs in made]) for key in ("source", "inputs", "targets")}
        small = {key: array.to(torch.int32).numpy() for key, array in arrays.items()}
        np.savez(folder / f"{name}-{split}.npz", **small)
    return model.network.vocab_size


def loss_of_pairs(folder: Path, words: list[str], n_val_rows: int) -> float:
    """Return the loss on the held-out rows that `write_pairs` wrote, in nats per token of the target."""
    cfg, model, data = ready(folder, words)
    train_model(cfg, model, data, n_val_rows=16)
    held_out = data.rows("val", model, cfg.seed, cfg.trainer.batch_size)
    first = held_out.take(np.arange(min(n_val_rows, len(held_out))))
    return evaluate(model, first, PAIRS_SEED)["val/loss"]


def padding(folder: Path, words: list[str]) -> float:
    """Return the share of padding in the inputs of the first hundred batches."""
    cfg, model, data = ready(folder, words)
    rows, size = data.rows("train", model, cfg.seed, cfg.trainer.batch_size), cfg.trainer.batch_size
    inputs = torch.stack(
        [model.make_inputs(rows[k, torch.arange(size) % len(rows), 1.0])["inputs"] for k in range(100)]
    )
    return float((inputs == data.tokenizer.specials["pad"]).float().mean())


# --- the same steps as in commands/pretrain/text.py ---


def composed(folder: Path, words: list[str]) -> DictConfig:
    """Return the config of `ssl pretrain` with overrides."""
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        cfg = compose("pretrain", [f"data.cache={folder / 'tokens'}", "trainer=cpu", *words])
    OmegaConf.set_struct(cfg, False)
    return cfg


def text_of(cfg: DictConfig) -> TextData:
    """Return the tokens of the text."""
    return build(cfg.data).tokenize(build(cfg.tokenizer))


def ready(folder: Path, words: list[str]) -> tuple[DictConfig, Any, TextData]:
    """Return the config with the facts of the data, a new model, and the data."""
    cfg = composed(folder, words)
    data = text_of(cfg)
    cfg.facts = data.facts
    return cfg, new_model(cfg), data


def train_model(cfg: DictConfig, model: Any, data: TextData, n_val_rows: int) -> None:
    """Train a model, with one validation and one checkpoint at the end."""
    rows, held_out = (data.rows(split, model, cfg.seed, cfg.trainer.batch_size) for split in ("train", "val"))
    val = held_out.take(np.arange(min(n_val_rows, len(held_out))))
    cfg.trainer.validate_every_n_steps = cfg.trainer.checkpoint_every_n_steps = cfg.trainer.max_steps
    with tempfile.TemporaryDirectory() as run:
        train(model, rows, val, cfg, Path(run))
