"""Resolve `init=` and `like=` of ssl finetune on images: random weights, a finished run, or a file of a ResNet."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from ssl_cli import console
from ssl_cli.commands import finished as finished_runs
from ssl_cli.commands.finished import runs_that_can
from ssl_cli.commands.initialize import SCRATCH, TASK_HEAD, Init, clean_name
from ssl_cli.commands.pretrain.image_init import check_weights, name_of_channels
from ssl_cli.commands.reconstruct.finished import ImageRun
from ssl_cli.data.images.datasets import ImageData, format_shape
from ssl_cli.errors import InputError
from ssl_cli.methods.protocols import EncodesImages, LearnsFromImages
from ssl_cli.models.resnet import ResNet
from ssl_cli.models.resnet_files import CLASSIFIER, STATISTICS, read_resnet
from ssl_cli.runs.folder import CONFIG, LATEST, find_run, read_environment
from ssl_cli.training import checkpoints

VERBS = ("pretrain", "finetune")
NEEDED = (
    "a run of ssl pretrain on images, such as `ssl pretrain model=simclr data=...`, a .safetensors or .pth file of a "
    "ResNet with torchvision's names, or init=none"
)
NETWORK = "network."  # before the names of its weights in a method


@dataclass(frozen=True)
class ImageInit:
    """What `init=` or `like=` names, and that run, None if there is none.

    The options of `init` are a whole node, with the `_target_` of the network; if it is a file they lack the shape of
    its images, of which only the channels are known.
    """

    init: Init
    run: ImageRun | None = None
    channels: int | None = None  # of a file


def resolve_image_init(cfg: DictConfig) -> ImageInit:
    """Return what `cfg.init` names. A resumed run has its shape in its own config.

    Raises InputError if it is no finished run on images that has a network to go on with.
    """
    if cfg.resume is not None:
        return _of_resumed_run(cfg)
    if cfg.init not in (None, SCRATCH):
        return _of_run(cfg, cfg.init, "init")
    if cfg.like is None:
        return ImageInit(Init(SCRATCH, SCRATCH))
    other = _of_run(cfg, cfg.like, "like")
    shape = Init(SCRATCH, SCRATCH, options=other.init.options, like=other.init.place)
    return ImageInit(shape, other.run, other.channels)


def _of_resumed_run(cfg: DictConfig) -> ImageInit:
    """Return the shape that a resumed run has, and its first weights if it has no checkpoint yet."""
    options: Any = OmegaConf.to_container(cfg.model.network)
    begins_anew = cfg.init != SCRATCH and not checkpoints.any_exist(Path(cfg.resume))
    first = _of_run(cfg, cfg.init, "init").init if begins_anew else Init(SCRATCH, SCRATCH)
    weights, statistics = first.weights, first.statistics
    return ImageInit(Init(cfg.choices.model, cfg.init, options=options, weights=weights, statistics=statistics))


def _of_run(cfg: DictConfig, name: str, option: str) -> ImageInit:
    """Return a run of ssl pretrain on images; or of ssl finetune, whose network has learned another task before; or a
    ResNet's file."""
    if (path := Path(name).expanduser()).is_file():
        return _of_file(path, f"{option}={name}")
    if name != LATEST and not (Path(name).expanduser() / CONFIG).is_file():
        raise InputError(f"{option}={name} is no run folder or file: task={cfg.choices.task} needs {NEEDED}.")
    able = runs_that_can("be fine-tuned on images", LearnsFromImages)
    folder = find_run(name, cfg.paths.outputs, VERBS if name != LATEST else "pretrain", finished=True, run_filter=able)
    finished = finished_runs.load(folder)
    network: Any = getattr(finished.model, "network", None)
    if not isinstance(finished, ImageRun) or not isinstance(network, EncodesImages):
        raise InputError(f"{option}={folder} has no network over images: task={cfg.choices.task} needs {NEEDED}.")
    weights = {name: weight.detach() for name, weight in finished.model.named_parameters()}
    weights = {name: weight for name, weight in weights.items() if not name.startswith(TASK_HEAD)}
    saved = finished.model.state_dict()
    statistics = {name: saved[name] for name in saved if name.startswith(NETWORK) and name not in weights}
    kind = type(network)
    node = {"_target_": f"{kind.__module__}.{kind.__qualname__}", **network.options}
    choices, place = finished.config.choices, str(folder.resolve())
    run_name = f"{choices.model}-{choices.data}".replace("/", "-")
    return ImageInit(Init(run_name, place, options=node, weights=weights, statistics=statistics), finished)


def _of_file(path: Path, place: str) -> ImageInit:
    """Return a ResNet of a file with torchvision's names, without its classifier."""
    tensors, options = read_resnet(path)
    if "stem" not in options:
        raise InputError(
            f"{place} begins with a small convolution, and does not say whether it halves the image: start with `ssl "
            f"pretrain init={path} model.network.stem=3x3`, or 3x3/2, and use that run."
        )
    channels = options.pop("channels")
    node = {"_target_": f"{ResNet.__module__}.{ResNet.__qualname__}", **options}
    named = {f"{NETWORK}{name}": tensor for name, tensor in tensors.items() if not name.startswith(CLASSIFIER)}
    statistics = {name: tensor for name, tensor in named.items() if name.endswith(STATISTICS)}
    weights = {name: tensor for name, tensor in named.items() if name not in statistics}
    init = Init(clean_name(path.stem), str(path.resolve()), options=node, weights=weights, statistics=statistics)
    return ImageInit(init, channels=channels)


def check_file(init: ImageInit, network: nn.Module) -> None:
    """Raise InputError if a file's weights do not fit the network that was derived from their shapes."""
    if init.channels is None or not init.init.weights:
        return
    named = {**init.init.weights, **init.init.statistics}
    weights = {name.removeprefix(NETWORK): tensor for name, tensor in named.items()}
    check_weights(weights, network.state_dict(), f"init={init.init.place}")


def check_same_images(cfg: DictConfig, init: ImageInit, data: ImageData) -> None:
    """Raise InputError if the data's images have another shape than those that the model was trained on.

    Warns if some of the test images were among the latter.
    """
    if init.channels is not None and init.channels != data.facts["shape"][0]:
        raise InputError(
            f"{init.init.like or init.init.place} reads {name_of_channels(init.channels)} images, and those of "
            f"data={cfg.choices.data} are {name_of_channels(data.facts['shape'][0])}: choose other "
            "data; data=images has data.color."
        )
    if init.run is None:
        return
    theirs, ours, place = list(init.run.reader.shape), data.facts["shape"], init.run.folder
    if theirs != ours:
        size = theirs[1] if theirs[1] == theirs[2] else f"[{theirs[1]},{theirs[2]}]"
        raise InputError(
            f"{place} was trained on images of {format_shape(theirs)}, and those of data={cfg.choices.data} are "
            f"{format_shape(ours)}: choose a data set of the same shape; data=images has data.size={size} "
            f"data.color={'grey' if theirs[0] == 1 else 'rgb'}."
        )
    is_same = read_environment(place).get("data_fingerprint") == data.fingerprint
    their_seed = init.run.config.get("seed")
    if init.init.weights and is_same and their_seed != cfg.seed and not data.test_is_published:
        console.warn(
            f"{place} has seen some of the test images, without their labels: data={cfg.choices.data} is split at "
            f"random, by the seed, and the run's is {their_seed}"
        )


def network_node(cfg: DictConfig, init: ImageInit, data: ImageData) -> dict[str, Any]:
    """Return the node of the network: that of `init`, or of the config for random weights."""
    if init.init.options:
        of_file = {} if init.channels is None else {"shape": data.facts["shape"]}
        return {**init.init.options, **of_file}
    resolved = copy.deepcopy(cfg)
    resolved.facts = data.facts
    node: Any = OmegaConf.to_container(resolved.model, resolve=True)
    return node
