"""A finished run, back in Python: `ssl_cli.load("latest")`."""

from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn

from ssl_cli.config.check import check_saved
from ssl_cli.config.instantiate import build, locate, names_where
from ssl_cli.errors import InputError
from ssl_cli.methods.build import refuse_other_shapes
from ssl_cli.runs.folder import RunFilter, find_run, read_config, read_metrics
from ssl_cli.runs.safety import refuse_foreign_targets

WEIGHTS = "model.safetensors"
CLASSES = {
    "detect": "commands.detect.finished.DetectRun",
    "reconstruct": "commands.reconstruct.finished.ReconstructRun",
    "pretrain": "commands.pretrain.finished.PretrainRun",
    "finetune": "commands.finetune.finished.FinetuneRun",
}
# What the readers of a model raise where its files are not what they should be.
DAMAGES = (
    SafetensorError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def load(run: str | Path = "latest", outputs: str | Path = "outputs", trust: tuple[str, ...] = ()) -> "Finished":
    """A finished run: a run folder, or `latest`. What it can do follows from its verb.

    Nothing in the folder can run code: only ssl_cli's and torch's own classes are built from it, and those of the
    packages named in `trust`. Raises InputError where there is no such run, or it names other classes.
    """
    if not isinstance(run, str | Path):
        raise InputError(f"A run is named by its folder, or 'latest', not by a {type(run).__name__}.")
    folder = find_run(run, outputs, finished=True)
    module, _, name = CLASSES[read_config(folder).verb].rpartition(".")
    return getattr(import_module(f"ssl_cli.{module}"), name)(folder, trust)


def runs_that_can(to: str, *methods: str, trust: tuple[str, ...] = ()) -> RunFilter:
    """Runs whose model has one of these methods, by the class that the config names: none is built."""

    def is_able(folder: Path) -> bool:
        try:
            cfg = read_config(folder)
            refuse_foreign_targets(cfg, folder, trust)
            found = locate(cfg.model._target_)
        except (InputError, AttributeError):
            return True  # a run that can't be opened is for whoever opens it to say
        return any(hasattr(found, method) for method in methods)

    return RunFilter(to, is_able)


class Finished:
    """`config` and `metrics` of a finished run, and its `model`, ready for use."""

    def __init__(self, folder: Path, trust: tuple[str, ...] = ()):
        self.folder = folder
        self.config = read_config(folder)
        self.metrics = read_metrics(folder)
        refuse_foreign_targets(self.config, folder, trust)
        check_saved(self.config, folder)
        try:
            self.model = restore_model(self.config, folder)
            self.restore()
        except InputError:
            raise
        except DAMAGES as error:
            reason = (str(error).splitlines() or ["it is cut off"])[0]
            raise InputError(f"{folder} is damaged: {type(error).__name__}: {reason[:300]}.") from error

    def restore(self) -> None:
        """What the run keeps besides its model; then one row through it all, which shows whether the parts fit."""
        raise NotImplementedError

    def need(self, ability: str) -> None:
        """Raise InputError where the model lacks a method."""
        if not hasattr(self.model, ability):
            have = ", ".join(names_where("model", lambda target: hasattr(target, ability)))
            raise InputError(f"{self.folder}: model={self.config.choices.model} has no {ability}; {have} have.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"


def restore_model(cfg: DictConfig, folder: Path) -> Any:
    """The trained model of a run folder, on the CPU."""
    refuse_other_shapes(cfg.model, folder / WEIGHTS)
    model = build(cfg.model)
    if isinstance(model, nn.Module):
        load_model(model, folder / WEIGHTS)
        return model.eval()
    model.restore(folder)
    return model
