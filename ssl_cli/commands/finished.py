"""Finished runs in Python: `ssl_cli.load("latest")`."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn

from ssl_cli import console
from ssl_cli.config.check import check, check_saved
from ssl_cli.config.instantiate import build, class_of, locate, names_where
from ssl_cli.config.typecheck import provides, with_article
from ssl_cli.errors import InputError
from ssl_cli.methods.build import check_weight_shapes
from ssl_cli.runs.digests import check_digests
from ssl_cli.runs.folder import RunFilter, find_run, read_config, read_environment, read_metrics
from ssl_cli.runs.safety import check_targets

WEIGHTS = "model.safetensors"
RUN_CLASSES = {
    "detect": "commands.detect.finished.DetectRun",
    "reconstruct": "commands.reconstruct.finished.ImageRun",
    "pretrain": "commands.pretrain.finished.PretrainRun",
    "finetune": "commands.finetune.finished.FinetuneRun",
}
SPEECH_RUN_CLASSES = {
    "reconstruct": "commands.speech.finished.SpeechRun",
    "pretrain": "commands.speech.finished.SpeechRun",
    "finetune": "commands.finetune.finished_speech.FinetunedSpeechRun",
}
CLASSES_OF_READERS = {  # what a run's model reads of a batch -> the classes of such runs, by their verb
    "frames": SPEECH_RUN_CLASSES,
    "articles": {"reconstruct": "commands.articles.finished.ArticleRun"},
    "sentences": {"reconstruct": "commands.sentences.finished.SentenceRun"},
    "x": RUN_CLASSES
    | {"pretrain": RUN_CLASSES["reconstruct"], "finetune": "commands.finetune.finished_images.FinetunedImageRun"},
}
# What reading a damaged run may raise.
LOAD_ERRORS = (
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
    """Return a finished run, given its folder or `latest`. Its methods depend on its verb.

    Nothing in the folder can run code: only classes of ssl_cli and torch are built from it, and those of the packages
    named in `trust`. Raises InputError if there is no such run, if it is damaged, or if it names other classes.
    """
    if not isinstance(run, str | Path):
        raise InputError(f"A run must be given as its folder or 'latest', not as {with_article(type(run).__name__)}.")
    return open_run(find_run(run, outputs, finished=True), trust)


def open_run(folder: Path, trust: tuple[str, ...] = ()) -> "Finished":
    """Return the finished run in a folder, by its verb and by what its model reads; see `load`."""
    cfg = read_config(folder)
    check_targets(cfg, folder, trust)
    reads = getattr(class_of(cfg, "model"), "reads", ())  # of a damaged config there are none
    classes = next((classes for key, classes in CLASSES_OF_READERS.items() if key in reads), RUN_CLASSES)
    module, _, name = classes[cfg.verb].rpartition(".")
    return getattr(import_module(f"ssl_cli.{module}"), name)(folder, trust)


def runs_that_can(ability: str, *protocols: type, trust: tuple[str, ...] = ()) -> RunFilter:
    """Return a filter for runs whose model provides one of the Protocols. `ability` completes "no run can ...".

    The filter looks at the class that a run's config names, and builds no model.
    """

    def is_able(folder: Path) -> bool:
        try:
            cfg = read_config(folder)
            check_targets(cfg, folder, trust)
            model_class = locate(cfg.model._target_)
        except (InputError, AttributeError):
            return True  # the run cannot be opened: the verb that opens it reports why
        return any(provides(model_class, protocol) for protocol in protocols)

    return RunFilter(ability, is_able)


class Finished:
    """A finished run: its `folder`, `config`, `metrics` and `model`, ready for use.

    A model of torch is on the CPU and in evaluation mode.
    """

    def __init__(self, folder: Path, trust: tuple[str, ...] = ()):
        self.folder = folder
        self.config = read_config(folder)
        check_digests(folder, self.config.verb)
        self.metrics = read_metrics(folder)
        check_targets(self.config, folder, trust)
        check_saved(self.config, folder)
        try:
            self.model = restore_model(self.config, folder)
            self.restore()
        except InputError:
            raise
        except LOAD_ERRORS as error:
            reason = (str(error).splitlines() or ["it is cut off"])[0]
            words = f"{type(error).__name__}: {reason[:300].rstrip('.')}"
            raise InputError(f"{folder} is damaged: its files don't make a model; train it again ({words}).") from error

    def restore(self) -> None:
        """Read what the run has besides its model, and apply the model to one row to check that the parts match.

        Raises InputError, or one of LOAD_ERRORS, if the run is damaged.
        """
        raise NotImplementedError

    def require(self, protocol: type | tuple[type, ...], ability: str) -> None:
        """Raise InputError if the model provides none of the Protocols. `ability` completes "the model can't ..."."""
        protocols = protocol if isinstance(protocol, tuple) else (protocol,)
        if not isinstance(self.model, protocols):
            able = ", ".join(names_where("model", lambda target: is_method_with(target, protocols)))
            raise InputError(f"{self.folder}: model={self.config.choices.model} can't {ability}; {able} can.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"


def is_method_with(target: type, protocols: tuple[type, ...]) -> bool:
    """Return whether a class provides one of the Protocols, and is no mere network, which ssl finetune trains."""
    is_network = target.__module__.startswith("ssl_cli.models.")
    return not is_network and any(provides(target, protocol) for protocol in protocols)


def restore_model(cfg: DictConfig, folder: Path) -> Any:
    """Return the trained model of a run folder, on the CPU."""
    check_weight_shapes(cfg.model, folder / WEIGHTS)
    model = build(cfg.model)
    if isinstance(model, nn.Module):
        load_model(model, folder / WEIGHTS)
        return model.eval()
    model.restore(folder)
    return model


def read_run_data(cfg: DictConfig, finished: Finished, splits: Callable[[Any, int], Any]) -> Any:
    """Return a run's own data set, as `splits(source, seed)` gives it. `cfg` is that of the verb that wants it.

    Raises InputError if the run's saved config is not valid. Warns if the data have changed since.
    """
    node = finished.config.get("data")
    if not isinstance(node, DictConfig) or "_target_" not in node:
        raise InputError(f"{finished.folder} is damaged: its config names no data set.")
    run_cfg = cfg.copy()
    run_cfg.data, run_cfg.seed = node, finished.config.get("seed")
    try:
        check(run_cfg, cfg.verb)
    except InputError as error:
        raise InputError(f"The data set of {finished.folder} can't be read again: {error}") from error
    data = splits(build(run_cfg.data), run_cfg.seed)
    if read_environment(finished.folder).get("data_fingerprint") != data.fingerprint:
        console.warn(f"the data have changed since {finished.folder} was made: its splits may have been different")
    return data


def check_kind_of_data(cfg: DictConfig, finished: Finished, source: type, kind: str) -> None:
    """Raise InputError if the data set of `data=` gives something else than the run's model reads."""
    if not provides(class_of(cfg, "data"), source):
        able = ", ".join(names_where("data", lambda target: provides(target, source)))
        raise InputError(f"{finished.folder} reads {kind}, which data={cfg.choices.data} has not; {able} have.")
