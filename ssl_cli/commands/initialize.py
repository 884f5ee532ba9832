"""Resolve `init=`: random weights, a finished run, or a checkpoint of transformers.

`resolve_init` reads what `init=` names and changes nothing; `apply_init` is the one place that writes the result into
the config, so that the saved config rebuilds the run by itself.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from ssl_cli import console
from ssl_cli.commands import finished as finished_runs
from ssl_cli.commands.pretrain.finished import TOKENIZER
from ssl_cli.commands.reconstruct.finished import ImageRun
from ssl_cli.commands.speech.finished import SpeechRun
from ssl_cli.config.instantiate import build, locate
from ssl_cli.data.tokenizers.pretrained import PretrainedTokenizer
from ssl_cli.data.tokenizers.settings import unreachable_capitals
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import TokenizerTrainer
from ssl_cli.errors import InputError
from ssl_cli.methods.language.causal_lm import CausalLM
from ssl_cli.methods.language.seq2seq_lm import Seq2SeqLM
from ssl_cli.models.huggingface.pretrained import HEAD_NAMES, Pretrained
from ssl_cli.models.huggingface.read import read_pretrained
from ssl_cli.process import is_worker
from ssl_cli.runs.folder import CONFIG, LATEST, find_run
from ssl_cli.training import checkpoints

SCRATCH = "none"
OWN_TOKENIZER = "pretrained"  # choices.tokenizer of a run whose checkpoint brings its tokenizer
TASK_HEAD = "decide."  # the layer of a labelled task that is specific to its classes
PAIR_POOLER = "pair_head.pool."  # of BERT: the same weights as `pool.`
MAX_NAMED = 3  # tensors in a warning
SAYS_NOTHING = {  # names of folders that do not distinguish checkpoints
    *("model", "models", "checkpoint", "export", "final", "best", "last", "output", "pytorch_model", "snapshots")
}
NAMED_BY_STEP = re.compile(r"(checkpoint|step|epoch)[-_]?\d+|\d+|[0-9a-f]{40}")
PARTS = {  # of a model, as the table of loaded weights names them -> the prefix of their parameters
    "token table": "network.token_table.",
    "projection of frames": "network.project.",
    "mask vector": "network.mask_vector",
    "position table": "network.position_table.",
    "relative positions": "network.relative_table.",
    "segment table": "network.segment_table.",
    "norm of the embeddings": "network.first_norm.",
    "blocks": "network.blocks.",
    "last norm": "network.last_norm.",
    "first convolution": "network.conv1.",
    "first norm": "network.bn1.",
    "stages": "network.layer",
    "encoder": "network.encoder.",
    "decoder": "network.decoder.",
    "output matrix": "network.output.",
    "pooler": "pool.",
    "head": TASK_HEAD,
}


@dataclass(frozen=True)
class Init:
    """What `init=` names: a tokenizer, the options of a Transformer, and weights; none of them for random weights.

    `weights` have the parameter names of a SupervisedHead: network.*, pool.*; and `statistics` the names of buffers:
    those of batch norms. `checkpoint` is set for a checkpoint of transformers, which can also be loaded into a language
    model.
    """

    name: str  # in the name of the run folder
    place: str | None  # the value of `init` in the saved config
    tokenizer: Tokenizer | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    checkpoint: Pretrained | None = None
    like: str | None = None  # the value of `like` in the saved config
    style: Any = None  # bart or t5: of an encoder-decoder or its encoder
    statistics: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def digest(self) -> str | None:
        """Return a hash of the weights, None if there are none: the same place may hold other weights later."""
        if not self.weights:
            return None
        digest = hashlib.sha256()
        tensors = {**self.weights, **self.statistics}
        for name in sorted(tensors):
            digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()[:16]

    def load_into(self, model: nn.Module) -> list[list[str]]:
        """Copy the weights into a model for a labelled task.

        Returns a row for each part of the model: its name, whether it was loaded, and how many parameters it has.
        """
        own, weights, buffers = dict(model.named_parameters()), dict(self.weights), dict(model.named_buffers())
        for name in own.keys() & weights.keys():
            if name.endswith("position_table.weight"):
                weights[name] = weights[name][: len(own[name])]
        loaded = {name for name in weights if name in own}
        with torch.no_grad():
            for name in loaded:
                own[name].copy_(weights[name])
            for name, statistic in self.statistics.items():
                buffers[name].copy_(statistic)
        rows = []
        for part, prefix in PARTS.items():
            names = {name for name in own if name.startswith(prefix)}
            if names:
                state = "loaded" if names <= loaded else "new" if not names & loaded else "loaded in part"
                rows.append([part, state, f"{sum(own[name].numel() for name in names):,}"])
        unused = [name for name in weights if name not in own and not name.startswith(PAIR_POOLER)]
        if unused:
            heads = sorted({HEAD_NAMES.get(name.split(".")[0], name.split(".")[0]) for name in unused})
            rows.append([", ".join(heads), "not used", f"{sum(weights[name].numel() for name in unused):,}"])
        return rows


# --- resolving: reads files, changes nothing ----------------------------------------------------------------


def resolve_init(cfg: DictConfig) -> Init:
    """Return what `cfg.init` names, for ssl pretrain, ssl finetune, and ssl reconstruct on articles.

    A resumed run has everything in its own folder, so nothing else is read for it. Raises InputError if what `init=`
    names can't be read, or does not suit the model.
    """
    if cfg.resume is not None:
        return _of_resumed_run(cfg)
    if cfg.init not in (None, SCRATCH):
        return _named(cfg, cfg.init)
    return Init(SCRATCH, cfg.init) if cfg.get("like") is None else _shape_of(cfg, cfg.like)


def _of_resumed_run(cfg: DictConfig) -> Init:
    """Return the init of a run that has its own checkpoint, or has just begun and is joined by a worker process."""
    folder, from_scratch = Path(cfg.resume), cfg.init in (None, SCRATCH)
    has_checkpoint = checkpoints.any_exist(folder)
    if not has_checkpoint and not is_worker() and not (from_scratch and cfg.verb != "finetune"):
        raise InputError(f"{folder} ended before its first checkpoint: start it again with the command that began it.")
    weights_of = Init("", None) if has_checkpoint or from_scratch else _named(cfg, cfg.init)
    if cfg.verb == "pretrain":
        return replace(weights_of, name=cfg.choices.model, place=cfg.init)
    options = {name: value for name, value in cfg.model.network.items() if name != "_target_"}
    tokenizer = Tokenizer.load(folder / TOKENIZER)
    return Init(cfg.choices.model, cfg.init, tokenizer, options, weights_of.weights)


def _shape_of(cfg: DictConfig, like: str) -> Init:
    """Return random weights in the shape of another model, with its tokenizer."""
    try:
        other = _named(cfg, like)
    except InputError as error:
        raise InputError(str(error).replace(f"init={like}", f"like={like}")) from error
    return Init(SCRATCH, SCRATCH, other.tokenizer, other.options, like=other.place, style=other.style)


def _named(cfg: DictConfig, name: str) -> Init:
    """Return a run by its folder or `latest`, or a checkpoint of transformers by its folder or hub id."""
    if cfg.verb != "pretrain" and (name == LATEST or (Path(name).expanduser() / CONFIG).is_file()):
        return _of_run(name, cfg.paths.outputs)
    init = _of_checkpoint(name)
    if cfg.verb == "pretrain":
        _check_objective(cfg, init)
    return init


def _of_run(name: str, outputs: str) -> Init:
    """Return a run of ssl pretrain; or of ssl finetune, whose network has learned another task before."""
    folder = find_run(name, outputs, ("pretrain", "finetune") if name != LATEST else "pretrain", finished=True)
    finished: Any = finished_runs.load(folder)
    if isinstance(finished, SpeechRun):
        raise InputError(f"{folder} was trained on speech: use it with task=speech/words or task=speech/speaker.")
    if isinstance(finished, ImageRun):
        raise InputError(f"{folder} was trained on images: use it with task=images.")
    model, choices = finished.model, finished.config.choices
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    pooler = {name: weight for name, weight in weights.items() if name.startswith(PAIR_POOLER)}
    weights |= {name.removeprefix("pair_head."): weight for name, weight in pooler.items()}
    weights = {name: weight for name, weight in weights.items() if not name.startswith(TASK_HEAD)}
    run_name, place = f"{choices.model}-{choices.data}", str(folder.resolve())
    style = finished.config.facts.get("style") or getattr(model, "style", None)
    return Init(run_name, place, finished.tokenizer, model.network.options, weights, style=style)


def _of_checkpoint(name: str) -> Init:
    """Return a checkpoint of transformers. Raises InputError if its tokenizer has more tokens than its weights."""
    checkpoint = read_pretrained(name)
    is_folder = Path(name).expanduser().is_dir()
    run_name = name_of_folder(checkpoint.folder.resolve()) if is_folder else clean_name(name.split("/")[-1])
    tokenizer, known = PretrainedTokenizer(str(checkpoint.folder)).train(), checkpoint.options["vocab_size"]
    if (n_tokens := tokenizer.vocab_size) > known:
        raise InputError(
            f"{checkpoint.folder}: its tokenizer has {n_tokens:,} tokens, more than the {known:,} of its weights."
        )
    if n_lost := unreachable_capitals(tokenizer.library):
        console.warn(
            f"{checkpoint.folder}: {n_lost:,} of its tokens have capitals and are never used, because its "
            "tokenizer lowercases all text. If the model is cased, set do_lower_case to false in tokenizer_config.json."
        )
    if checkpoint.unused:
        shown = ", ".join([*checkpoint.unused[:MAX_NAMED], *["..."] * (len(checkpoint.unused) > MAX_NAMED)])
        console.warn(f"{checkpoint.folder}: {len(checkpoint.unused):,} of its tensors are not used: {shown}.")
    place = str(checkpoint.folder.resolve()) if is_folder else name
    style = checkpoint.family if checkpoint.is_encoder_decoder else None
    return Init(run_name, place, tokenizer, dict(checkpoint.options), checkpoint.weights, checkpoint, style=style)


def name_of_folder(folder: Path) -> str:
    """Return the part of a checkpoint's path that distinguishes it: of `a/model` it is `a`.

    A folder that is named by its step keeps this number: `a-checkpoint-500`.
    """
    parts = [part for part in folder.parts[1:] if part.lower() not in SAYS_NOTHING]
    name = parts[-1] if parts else folder.name
    return clean_name("-".join(parts[-2:]) if NAMED_BY_STEP.fullmatch(name) else name)


def clean_name(name: str) -> str:
    """Return a name with the characters that a run folder may have."""
    return re.sub(r"[^\w.+-]", "-", name).strip("-.+") or "checkpoint"


def _check_objective(cfg: DictConfig, init: Init) -> None:
    """Raise InputError if a checkpoint is to initialize a method with another objective than its own."""
    method = locate(cfg.model._target_)
    is_causal, is_pair = (issubclass(method, kind) for kind in (CausalLM, Seq2SeqLM))
    checkpoint = init.checkpoint
    assert checkpoint is not None
    if (checkpoint.is_causal, checkpoint.is_encoder_decoder) != (is_causal, is_pair):
        does = "writes a text for another one" if checkpoint.is_encoder_decoder else "predicts masked tokens"
        model = checkpoint.family if checkpoint.is_encoder_decoder else "bert"
        does, model = ("predicts the next token", "gpt") if checkpoint.is_causal else (does, model)
        raise InputError(f"init={cfg.init} holds a model that {does}: set model={model}.")


def tokenizer_trainer(cfg: DictConfig) -> TokenizerTrainer:
    """Return what `cfg.tokenizer` names; for a resumed run, a checkpoint's tokenizer as the run folder has it."""
    trainer: TokenizerTrainer = build(cfg.tokenizer)
    has_begun = cfg.resume is not None and (checkpoints.any_exist(Path(cfg.resume)) or not is_worker())
    return PretrainedTokenizer(cfg.resume) if isinstance(trainer, PretrainedTokenizer) and has_begun else trainer


# --- applying -----------------------------------------------------------------------------------------------


def apply_init(cfg: DictConfig, init: Init) -> None:
    """Write what `init=` resolved to into the config: its place, and in ssl pretrain the network and tokenizer."""
    cfg.init = init.place
    if "like" in cfg and init.like is not None:
        cfg.like = init.like
    if init.checkpoint is None or cfg.verb != "pretrain":
        return
    network, options = cfg.model.network, dict(init.options)
    if options.get("segments") == 1:
        del options["segments"]  # the only segment is the same for every token: it is added to the positions
    options |= {"context": min(network.context, options["context"]), "size": None}
    for name in [name for name in options if name in network]:
        network[name] = options[name]
    if init.checkpoint.is_encoder_decoder:
        cfg.model.style = init.checkpoint.family
    folder = str(init.checkpoint.folder.resolve())
    cfg.tokenizer = OmegaConf.create(
        {"_target_": f"{PretrainedTokenizer.__module__}.{PretrainedTokenizer.__qualname__}", "folder": folder}
    )
    cfg.choices.tokenizer = OWN_TOKENIZER
