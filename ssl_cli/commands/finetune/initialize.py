"""Where fine-tuning starts: at random weights, at a run of ours, or at a checkpoint of transformers."""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from ssl_cli.commands import finished as finished_runs
from ssl_cli.commands.pretrain.finished import TOKENIZER
from ssl_cli.commands.pretrain.initialize import own_tokenizer
from ssl_cli.config.instantiate import build
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.models.huggingface.read import WORDS, read_pretrained
from ssl_cli.process import is_worker
from ssl_cli.runs.folder import CONFIG, LATEST, find_run
from ssl_cli.training import checkpoints

SCRATCH = "none"
NETWORK = "ssl_cli.models.transformer.Transformer"
MOST = 384  # tokens of an example, where nobody says
STRETCHED = ("rotary", "sinusoidal")  # positions that go on beyond what was trained
TWICE = "pair_head.pool."  # which is `pool`, too
PARTS = {  # of a model, as people call them: the beginnings of their weights' names
    "token table": "network.token_table.",
    "position table": "network.position_table.",
    "segment table": "network.segment_table.",
    "norm of the embeddings": "network.first_norm.",
    "blocks": "network.blocks.",
    "last norm": "network.last_norm.",
    "pooler": "pool.",
    "head": "decide.",
}


@dataclass
class FinetuneInit:
    """A tokenizer, the options of a Transformer, and weights by the names of a Supervised: network.*, pool.*."""

    name: str
    place: str  # what `init` becomes in the run's config
    tokenizer: Tokenizer
    options: dict[str, Any]
    weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def digest(self) -> str | None:
        """Of its weights: another run in the same place is another start"""
        if not self.weights:
            return None
        found = hashlib.sha256()
        for name in sorted(self.weights):
            found.update(self.weights[name].contiguous().view(torch.uint8).numpy().data)
        return found.hexdigest()[:16]

    def load_into(self, model: nn.Module) -> list[list[str]]:
        """Fill in the weights; gives a row for each part of the model: what of it was taken, and what starts anew."""
        mine = dict(model.named_parameters())
        weights = dict(self.weights)
        table = "network.position_table.weight"
        if table in weights and table in mine:
            weights[table] = weights[table][: len(mine[table])]
        taken = {name for name in weights if name in mine}
        with torch.no_grad():
            for name in taken:
                mine[name].copy_(weights[name])
        rows = []
        for part, beginning in PARTS.items():
            own = {name for name in mine if name.startswith(beginning)}
            if own:
                state = "loaded" if own <= taken else "new" if not own & taken else "loaded in part"
                rows.append([part, state, f"{sum(mine[name].numel() for name in own):,}"])
        left = [name for name in weights if name not in mine and not name.startswith(TWICE)]
        if left:
            parts = sorted({WORDS.get(name.split(".")[0], name.split(".")[0]) for name in left})
            rows.append([", ".join(parts), "left over", f"{sum(weights[name].numel() for name in left):,}"])
        return rows


def resolve_init(cfg: DictConfig, texts: Callable[[], Iterable[str]]) -> FinetuneInit:
    """What `cfg.init` names; its tokenizer, or one trained on `texts`. A run that goes on has all in its folder, and
    so has a worker's run.

    Raises InputError where it can't be read.
    """
    if cfg.resume is not None:
        return _own(cfg)
    if cfg.init == SCRATCH and cfg.like is None:
        tokenizer = build(cfg.tokenizer).train(texts())
        cfg.facts = {"vocab_size": tokenizer.vocab_size}
        options = {name: value for name, value in cfg.model.items() if name != "_target_"}
        return FinetuneInit(SCRATCH, SCRATCH, tokenizer, options)
    found = _of(cfg.init, cfg.paths.outputs) if cfg.init != SCRATCH else _liked(cfg)
    found.options |= {name: cfg.model[name] for name in ("dropout", "attention_dropout") if name in cfg.model}
    return found


def _own(cfg: DictConfig) -> FinetuneInit:
    """Of a run that has a checkpoint, whose weights those are; or of one that has just begun, for a worker."""
    folder = Path(cfg.resume)
    begun = checkpoints.exist(folder)
    if not begun and not is_worker():
        raise InputError(f"{folder} ended before its first checkpoint: begin anew with the command that began it.")
    options = {name: value for name, value in cfg.model.network.items() if name != "_target_"}
    weights = {} if begun or cfg.init == SCRATCH else _of(cfg.init, cfg.paths.outputs).weights
    return FinetuneInit(cfg.choices.model, cfg.init, Tokenizer.load(folder / TOKENIZER), options, weights)


def _liked(cfg: DictConfig) -> FinetuneInit:
    """Random weights, in the shape of another start and with its tokenizer"""
    try:
        found = _of(cfg.like, cfg.paths.outputs)
    except InputError as error:
        raise InputError(str(error).replace(f"init={cfg.like}", f"like={cfg.like}")) from error
    cfg.like = found.place
    return FinetuneInit(SCRATCH, SCRATCH, found.tokenizer, found.options)


def _of(name: str, outputs: str) -> FinetuneInit:
    folder = Path(name).expanduser()
    return _run(name, outputs) if name == LATEST or (folder / CONFIG).is_file() else _checkpoint(name)


def _run(name: str, outputs: str) -> FinetuneInit:
    """A run of ssl pretrain; or of ssl finetune, whose network has learned another task already."""
    folder = find_run(name, outputs, ("pretrain", "finetune") if name != LATEST else "pretrain", finished=True)
    finished: Any = finished_runs.load(folder)
    model, chosen = finished.model, finished.config.choices
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    if getattr(model, "pair_head", None) is not None:
        weights |= {f"pool.{name}": weight.detach() for name, weight in model.pair_head.pool.named_parameters()}
    used = {name: weight for name, weight in weights.items() if not name.startswith("decide.")}
    return FinetuneInit(
        f"{chosen.model}-{chosen.data}", str(folder.resolve()), finished.tokenizer, model.network.options, used
    )


def _checkpoint(name: str) -> FinetuneInit:
    found = read_pretrained(name)
    is_folder = Path(name).expanduser().is_dir()
    plain = re.sub(r"[^\w.+-]", "-", found.folder.resolve().name if is_folder else name.split("/")[-1])
    tokenizer = own_tokenizer(found)
    place = str(found.folder.resolve()) if is_folder else name
    return FinetuneInit(plain.strip("-.+") or "checkpoint", place, tokenizer, dict(found.options), found.weights)


def fitted_length(start: FinetuneInit, wanted: int | None) -> int:
    """Tokens that an example may have; a network whose positions can be stretched is, where that is wanted.

    Raises InputError where it can't.
    """
    known = start.options["context"]
    if wanted is None:
        return min(known, MOST)
    if wanted > known and start.options["positions"] not in STRETCHED:
        raise InputError(f"max_length={wanted}: {start.place} reads {known} tokens at most, the places it has learned.")
    start.options["context"] = max(known, wanted)
    return wanted


def network_node(start: FinetuneInit) -> DictConfig:
    """The network as a node of the config, resolved."""
    return OmegaConf.create({"_target_": NETWORK, **start.options})
