"""`init=` of ssl pretrain on images: the network of a finished run, or of a file with torchvision's names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import Tensor, nn

from ssl_cli.commands import finished as finished_runs
from ssl_cli.commands.finished import runs_that_can
from ssl_cli.commands.initialize import SCRATCH, Init
from ssl_cli.commands.reconstruct.finished import ImageRun
from ssl_cli.data.images.datasets import format_shape
from ssl_cli.errors import InputError
from ssl_cli.methods.protocols import EncodesImages, LearnsFromImages
from ssl_cli.methods.training_protocols import MovesAfterSteps
from ssl_cli.models.resnet import ResNet
from ssl_cli.models.resnet_files import CLASSIFIER, COUNTER, read_resnet, some
from ssl_cli.runs.folder import CONFIG, LATEST, find_run
from ssl_cli.training import checkpoints

WITHOUT_WEIGHTS = ("dropout", "attention_dropout")  # options that may differ between networks of equal weights


@dataclass(frozen=True)
class Start:
    """The network that a run begins with: its kind, its options, and its weights by their names in the network."""

    place: str  # the value of `init` in the saved config
    kind: type[Any]
    options: Mapping[str, Any]
    weights: Mapping[str, Tensor]

    @property
    def digest(self) -> str | None:
        """Return a hash of the weights: the same place may hold others later."""
        return Init("", self.place, weights=self.weights).digest


def resolve_start(cfg: DictConfig) -> Start | None:
    """Return what `cfg.init` names; None for random weights, or if the run goes on from a checkpoint of its own.

    Raises InputError if there is no such file or run, it has no network, or it is not what a resumed run began with.
    """
    if cfg.init in (None, SCRATCH) or (cfg.resume is not None and checkpoints.any_exist(Path(cfg.resume))):
        return None
    start = _named(cfg)
    if cfg.resume is not None and start.digest != cfg.facts.get("start"):
        raise InputError(f"init={cfg.init} holds other weights than when {cfg.resume} began: start a new run.")
    return start


def _named(cfg: DictConfig) -> Start:
    path = Path(cfg.init).expanduser()
    if cfg.init == LATEST or (path / CONFIG).is_file():
        return _of_run(cfg)
    if path.is_file():
        tensors, options = read_resnet(path)
        return Start(str(path.resolve()), ResNet, options, tensors)
    raise InputError(
        f"init={cfg.init}: there is no such file or run. On images it takes a run of ssl pretrain, latest, or a "
        ".safetensors or .pth file of a ResNet with torchvision's names."
    )


def _of_run(cfg: DictConfig) -> Start:
    able = runs_that_can("learn from images", LearnsFromImages)
    finished = finished_runs.load(find_run(cfg.init, cfg.paths.outputs, "pretrain", finished=True, run_filter=able))
    network: Any = getattr(finished.model, "network", None)
    if not (isinstance(finished, ImageRun) and isinstance(network, nn.Module) and isinstance(network, EncodesImages)):
        raise InputError(f"init={finished.folder} has no network over images, as data={cfg.choices.data} needs one.")
    return Start(str(finished.folder.resolve()), type(network), options_of(network), network.state_dict())


def begin_with(start: Start, model: Any, cfg: DictConfig) -> str:
    """Copy the weights into a model's network, and return a sentence on what was loaded and what left out.

    Raises InputError that says how the two networks differ.
    """
    network: Any = getattr(model, "network", None)
    if type(network) is not start.kind:
        raise InputError(
            f"init={cfg.init} holds a {start.kind.__name__}, and model={cfg.choices.model} has a "
            f"{type(network).__name__}: choose another model."
        )
    _check_same_network(start.options, options_of(network), cfg)
    own = network.state_dict()
    check_weights(start.weights, own, f"init={cfg.init}")
    network.load_state_dict({name: start.weights[name] for name in own if name in start.weights}, strict=False)
    if isinstance(model, MovesAfterSteps):
        model.restart()
    n = sum(weight.numel() for weight in network.parameters())
    left_out = [name for name in start.weights if name not in own and not name.endswith(COUNTER)]
    parts = ["its classifier"] * any(name.startswith(CLASSIFIER) for name in left_out)
    if others := [name for name in left_out if not name.startswith(CLASSIFIER)]:
        parts.append(some(others))
    rest = f"; left out: {' and '.join(parts)}" if parts else ""
    return f"initialized from {start.place}: the {n:,} weights of the network{rest}"


def check_weights(weights: Mapping[str, Tensor], own: Mapping[str, Tensor], place: str) -> None:
    """Raise InputError if the weights of `place` lack some of a network's `own`, or have other shapes."""
    if missing := [name for name in own if name not in weights and not name.endswith(COUNTER)]:
        raise InputError(f"{place} lacks weights of the network: {some(missing)}.")
    for name, value in own.items():
        if name in weights and weights[name].shape != value.shape:
            theirs, ours = (" x ".join(map(str, of.shape)) for of in (weights[name], value))
            raise InputError(f"{place} is of another kind: {name} is {theirs} there, and {ours} in the network.")


def options_of(network: Any) -> dict[str, Any]:
    """Return what two networks have in common if the weights of one can be those of the other."""
    options = dict(network.options)
    shape = options.pop("shape")
    of_images = {"channels": shape[0]} if isinstance(network, ResNet) else {"images": format_shape(shape)}
    return {name: value for name, value in options.items() if name not in WITHOUT_WEIGHTS} | of_images


def name_of_channels(n: int) -> str:
    """Return what images of n channels are called."""
    return {1: "grey", 3: "RGB"}.get(n, f"{n}-channel")


def _check_same_network(theirs: Mapping[str, Any], ours: Mapping[str, Any], cfg: DictConfig) -> None:
    """Raise InputError that says which options differ, and which values would fit."""
    different = [name for name, value in theirs.items() if ours.get(name) != value]
    if not different:
        return
    if {"channels", "images"} & set(different):
        kinds = [of["images"] if "images" in of else name_of_channels(of["channels"]) for of in (theirs, ours)]
        raise InputError(
            f"init={cfg.init} reads {kinds[0]} images, and those of data={cfg.choices.data} are {kinds[1]}: choose "
            "other data."
        )
    has, wanted = (
        " ".join(f"model.network.{name}={str(of.get(name)).replace(' ', '')}" for name in different)
        for of in (ours, theirs)
    )
    raise InputError(f"init={cfg.init} has another network than this one with {has}: set {wanted}.")
