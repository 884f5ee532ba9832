"""trainer.fast_dev_run: one step of everything a command does, in a temporary folder, to see that all of it runs.

As in Lightning, whose option of this name this is: loggers are off, and a number instead of true is that many steps.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from ssl_cli import console
from ssl_cli.cli.overrides import value_of
from ssl_cli.errors import InputError
from ssl_cli.process import is_worker
from ssl_cli.runs.folder import LATEST, find_run

OPTION = "trainer.fast_dev_run"
# What repeats a measurement only to make it more exact, or to make it on more data, and the most that is left of it.
REPETITIONS = {"bootstrap_samples": 20, "importance_samples": 2, "likelihood_images": 20}
# The lengths of other stages of a training, if they are set; 0 leaves a stage out.
STAGES = ("prior_steps", "model.rbm_epochs")


def n_steps(cfg: DictConfig) -> int:
    """Return the steps of a config's fast_dev_run, 0 if it is none."""
    return int(OmegaConf.select(cfg, OPTION, default=False))


@contextmanager
def shortened(cfg: DictConfig, sweep_folder: Path | None, in_sweep: bool) -> Iterator[None]:
    """Cut a checked config that is a fast_dev_run to its steps; another config is left as it is.

    `sweep_folder` is the temporary folder of a sweep whose command line says fast_dev_run.
    """
    if not n_steps(cfg):
        yield
        return
    if in_sweep and sweep_folder is None:
        raise InputError(f"{OPTION} is for all runs of a sweep: set it on the command line, to one value.")
    with _temporary(sweep_folder) as folder:
        shorten(cfg, folder)
        yield


@contextmanager
def outputs_of_sweep(overrides: list[Override]) -> Iterator[Path | None]:
    """Yield a temporary folder for a sweep whose command line says fast_dev_run, and None for another."""
    if value_of(overrides, OPTION, "False") == "False":
        yield None
        return
    with _temporary() as folder:
        yield folder


@contextmanager
def _temporary(folder: Path | None = None) -> Iterator[Path]:
    """Yield the folder, or a new temporary one; at the end it is removed if it is empty.

    Raises InputError if none can be made.
    """
    folder = folder or _create_folder()
    try:
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()


def _create_folder() -> Path:
    """Return a new temporary folder, to be used in place of the outputs. Raises InputError if none can be made."""
    try:
        return Path(tempfile.mkdtemp(prefix="ssl-fast-dev-run-"))
    except OSError as error:
        raise InputError(f"{OPTION} needs a temporary folder, and none can be made: {error.strerror}.") from error


def shorten(cfg: DictConfig, folder: Path) -> None:
    """Cut everything in a checked config to its steps, turn loggers off, and have all files written to `folder`."""
    n = n_steps(cfg)
    for name in ("init", "like"):  # of the runs in the outputs, as commands.initialize finds it
        if cfg.get(name) == LATEST:
            cfg[name] = str(find_run(LATEST, cfg.paths.outputs, "pretrain", finished=True).resolve())
    loggers = list(cfg.logger)
    cfg.paths.outputs, cfg.logger = str(folder), {}
    if "eval_tokens" in cfg:
        cfg.eval_tokens = cfg.val_tokens  # of the curves; null would be all
    lengths: dict[str, Any] = {"max_steps": n, "max_epochs": None, "max_time": None}
    cfg.trainer.update(lengths | {"limit_train_batches": n, "limit_val_batches": n, "validate_every_n_steps": n})
    for name, most in {**REPETITIONS, **dict.fromkeys(STAGES, n)}.items():
        if value := OmegaConf.select(cfg, name):
            OmegaConf.update(cfg, name, min(most, value))
    if not is_worker():
        steps = "1 training step, 1 validation batch" if n == 1 else f"{n} training steps, {n} validation batches"
        off = f"; without {', '.join(loggers)}" if loggers else ""
        console.say(f"fast_dev_run: {steps}, and all that follows{off}. No number below means anything")


def report_end() -> None:
    """Print that everything ran, and that the path on the next line is temporary."""
    console.say(
        "fast_dev_run: everything ran; its numbers mean nothing. All files are in a temporary folder, which you may "
        "delete:"
    )
