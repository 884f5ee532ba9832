"""Resolve `init=` and `like=` of ssl finetune on speech: random weights, or a finished run on speech."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ssl_cli.commands import finished as finished_runs
from ssl_cli.commands.finished import runs_that_can
from ssl_cli.commands.initialize import SCRATCH, TASK_HEAD, Init
from ssl_cli.commands.speech.finished import SpeechRun
from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.reader import SpeechReader
from ssl_cli.errors import InputError
from ssl_cli.methods.speech.frame_protocols import EncodesFrames, LearnsFromFrames
from ssl_cli.runs.folder import CONFIG, LATEST, find_run
from ssl_cli.training import checkpoints

VERBS = ("pretrain", "finetune")


@dataclass(frozen=True)
class SpeechInit:
    """What `init=` or `like=` names, and the reader of that run, None if there is none."""

    init: Init
    reader: SpeechReader | None = None


def resolve_speech_init(cfg: DictConfig) -> SpeechInit:
    """Return what `cfg.init` names. A resumed run has its shape in its own config.

    Raises InputError if it is no finished run of speech that has a transformer.
    """
    if cfg.resume is not None:
        return _of_resumed_run(cfg)
    if cfg.init not in (None, SCRATCH):
        return _of_run(cfg, cfg.init, "init")
    if cfg.like is None:
        return SpeechInit(Init(SCRATCH, SCRATCH))
    other = _of_run(cfg, cfg.like, "like")
    init = Init(SCRATCH, SCRATCH, options=other.init.options, like=other.init.place)
    return SpeechInit(init, other.reader)


def _of_resumed_run(cfg: DictConfig) -> SpeechInit:
    """Return the shape that a resumed run has, and its first weights if it has no checkpoint yet."""
    options: Any = OmegaConf.to_container(cfg.model.network)
    del options["_target_"]
    begins_anew = cfg.init != SCRATCH and not checkpoints.any_exist(Path(cfg.resume))
    weights = _of_run(cfg, cfg.init, "init").init.weights if begins_anew else {}
    return SpeechInit(Init(cfg.choices.model, cfg.init, options=options, weights=weights))


def _of_run(cfg: DictConfig, name: str, option: str) -> SpeechInit:
    """Return a run of ssl pretrain on speech; or of ssl finetune, whose network has learned another task before."""
    if name != LATEST and not (Path(name).expanduser() / CONFIG).is_file():
        raise InputError(
            f"{option}={name} is no run folder, which task={cfg.choices.task} needs: make one with "
            "`ssl pretrain model=speech_bert data=...`, or set init=none."
        )
    able = runs_that_can("be fine-tuned on speech", LearnsFromFrames)
    folder = find_run(name, cfg.paths.outputs, VERBS if name != LATEST else "pretrain", finished=True, run_filter=able)
    finished: Any = finished_runs.load(folder)
    network = getattr(finished.model, "network", None)
    if not isinstance(finished, SpeechRun) or not isinstance(network, EncodesFrames):
        raise InputError(
            f"{option}={folder} has no transformer over frames of speech, which task={cfg.choices.task} needs: name a "
            "run of `ssl pretrain model=speech_bert` or speech_gpt."
        )
    weights = {name: weight.detach() for name, weight in finished.model.named_parameters()}
    weights = {name: weight for name, weight in weights.items() if not name.startswith((TASK_HEAD, "layer_weights"))}
    choices, place = finished.config.choices, str(folder.resolve())
    init = Init(f"{choices.model}-{choices.data}".replace("/", "-"), place, options=network.options, weights=weights)
    return SpeechInit(init, finished.reader)


def check_same_frames(init: SpeechInit, reader: SpeechReader) -> None:
    """Raise InputError if the data's frames are not like those that the model was trained on."""
    if init.reader is None:
        return
    theirs, ours = init.reader.settings, reader.settings
    wanted = {name: getattr(theirs, name) for name in ("sample_rate_hz", "n_mels", "window_ms", "hop_ms")}
    different = [f"data.{name}={value:g}" for name, value in wanted.items() if value != getattr(ours, name)]
    if init.reader.normalization != reader.normalization:
        different.append(f"data.normalization={init.reader.normalization}")
    if different:
        raise InputError(
            f"{init.init.place or init.init.like} was trained on other frames than these: set {' '.join(different)}."
        )


def network_options(cfg: DictConfig, init: SpeechInit, data: SpeechData) -> dict[str, Any]:
    """Return the options of the network: those of `init`, or of the config for random weights."""
    if init.init.options:
        overrides = {} if cfg.resume is not None else cfg.model
        dropout = {name: overrides[name] for name in ("dropout", "attention_dropout") if name in overrides}
        return {**init.init.options, **dropout}
    resolved = copy.deepcopy(cfg)
    resolved.facts = data.facts
    options: Any = OmegaConf.to_container(resolved.model, resolve=True)
    del options["_target_"]
    return options
