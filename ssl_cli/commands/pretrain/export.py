"""ssl export: write a finished run as a checkpoint of transformers; of images, weights with torchvision's names."""

from pathlib import Path

from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.finished import open_run
from ssl_cli.commands.pretrain.finished import require_text
from ssl_cli.commands.reconstruct.finished import ImageRun
from ssl_cli.errors import InputError
from ssl_cli.models.huggingface.write import write_checkpoint
from ssl_cli.models.resnet import ResNet
from ssl_cli.models.resnet_files import published_name, write_resnet
from ssl_cli.runs.folder import find_run
from ssl_cli.runs.outputs import check_output_is_free, output_folder


def run(cfg: DictConfig) -> Path:
    """Write the run's model, and its tokenizer if it has one, into the folder `cfg.output`, and return it."""
    check_output_is_free(cfg.output, cfg.overwrite)
    folder = find_run(cfg.run, cfg.paths.outputs, "pretrain", finished=True)
    finished = open_run(folder, tuple((cfg.trust or "").split()))
    exported = resnet_of(finished) if isinstance(finished, ImageRun) else require_text(finished)
    console.say(f"export {finished.folder}")
    with output_folder(cfg.output, cfg.overwrite, Path(cfg.paths.outputs)) as (folder, place):
        if isinstance(exported, ResNet):
            write_resnet(folder, exported)
            print_summary(folder, use_of(exported))
        else:
            for warning in write_checkpoint(exported.model, exported.tokenizer, folder):
                console.warn(warning)
            print_summary(folder, "transformers' AutoModel.from_pretrained opens the folder")
    return place


def resnet_of(finished: ImageRun) -> ResNet:
    """Return the network of a run on images. Raises InputError if torchvision has no such names."""
    network = finished.model.network
    if not isinstance(network, ResNet):
        raise InputError(
            f"{finished.folder}: model={finished.config.choices.model} has a {type(network).__name__}, for which "
            "torchvision has no names; a ResNet, as of model=simclr, can be exported."
        )
    return network


def use_of(network: ResNet) -> str:
    """Return a sentence on what can read the weights."""
    if (name := published_name(network)) is not None:
        return f"torchvision's {name} has these names, and `fc` beside: load_state_dict(weights, strict=False)"
    return "the names are those of torchvision's ResNets, without `fc`"


def print_summary(folder: Path, use: str) -> None:
    """Print the names and the size of the files, and what they are for."""
    size = sum(path.stat().st_size for path in folder.iterdir())
    names = ", ".join(sorted(path.name for path in folder.iterdir()))
    console.say(f"{size / 1e6:,.1f} MB: {names}; {use}")
