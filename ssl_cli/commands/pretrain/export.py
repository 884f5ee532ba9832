"""ssl export: write a finished run as a checkpoint of transformers."""

from pathlib import Path

from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.pretrain.finished import reopen
from ssl_cli.models.huggingface.write import write_checkpoint
from ssl_cli.runs.outputs import check_output_is_free, output_folder


def run(cfg: DictConfig) -> Path:
    """Write the run's model and tokenizer into the folder `cfg.output`, and return it."""
    check_output_is_free(cfg.output, cfg.overwrite)
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust)
    console.say(f"export {finished.folder}")
    with output_folder(cfg.output, cfg.overwrite, Path(cfg.paths.outputs)) as (folder, place):
        warnings = write_checkpoint(finished.model, finished.tokenizer, folder)
        print_summary(folder, warnings)
    return place


def print_summary(folder: Path, warnings: list[str]) -> None:
    """Print the warnings, and the names and the size of the files."""
    for warning in warnings:
        console.warn(warning)
    size = sum(path.stat().st_size for path in folder.iterdir())
    names = ", ".join(sorted(path.name for path in folder.iterdir()))
    console.say(f"{size / 1e6:,.1f} MB: {names}; transformers' AutoModel.from_pretrained opens the folder")
