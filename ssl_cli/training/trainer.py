"""Training by gradient: config -> Lightning's Trainer -> a trained objective.

The trainer counts steps, not epochs: the stream of batches has no end, and three limits (steps, epochs, time) say
when to stop.
"""

import logging
import math
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

import pytorch_lightning as lightning
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import nn

from ssl_cli import console
from ssl_cli.config.instantiate import build
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.errors import InputError
from ssl_cli.methods.protocols import MatmulBound, monitor_of
from ssl_cli.methods.supervised.head import SupervisedHead
from ssl_cli.models.cpu import for_large_products, has_bf16
from ssl_cli.process import by_srun, by_torchrun
from ssl_cli.runs.folder import HISTORY
from ssl_cli.training import checkpoints
from ssl_cli.training.callbacks import History, callbacks, finish, seconds
from ssl_cli.training.module import Learner, MakeOptimizer, Schedule
from ssl_cli.training.optim import Weights

TENTH, WITHOUT_END = 10, 100  # how often a run is validated where nobody says: in steps, where only time ends it
# Lightning's tips and notices are no part of a run's record.
for library in ("pytorch_lightning", "lightning_fabric"):
    logging.getLogger(library).setLevel(logging.WARNING)
warnings.filterwarnings("ignore", category=FutureWarning, module="pytorch_lightning")  # of its own inner workings


def train(
    objective: nn.Module,
    rows: ArrayDataset,
    watched: ArrayDataset,
    cfg: DictConfig,
    folder: Path,
    loggers: Sequence[Logger] = (),
) -> None:
    """Train `objective` in place. Goes on from `last.ckpt` where `cfg.resume` is set.

    `watched` rows give the validation curve; only early stopping acts on it. Writes `history.csv` and `last.ckpt`;
    `loggers` get the rows of the history too.
    Raises InputError where the loss becomes no number, Stopped where a signal asks for it and the step is saved.
    """
    batches_per_epoch = -(-len(rows) // cfg.trainer.batch_size)
    max_steps = step_limit(cfg.trainer, batches_per_epoch)
    make_optimizer = _optimizer_maker(cfg.optim.optimizer)
    schedule = lr_schedule(cfg.optim, max_steps, seconds(cfg.trainer.max_time))
    learner = Learner(objective, rows, watched, make_optimizer, schedule, cfg.trainer.batch_size, cfg.seed)
    chosen = callbacks(cfg.trainer, max_steps, folder, monitor_of(objective))
    numbers, told = precision(cfg.trainer, objective), [History(folder / HISTORY), *loggers]
    trainer = _trainer(cfg.trainer, numbers, max_steps, chosen, told, folder)
    checkpoint = _checkpoint(folder, max_steps, learner) if cfg.resume is not None else None
    on_cpu = trainer.strategy.root_device.type == "cpu"
    fast = for_large_products() if on_cpu and isinstance(objective, MatmulBound) else nullcontext()
    with fast, compiled(objective, on_cpu) if cfg.trainer.compile else nullcontext():
        trainer.fit(learner, ckpt_path=checkpoint, weights_only=True)
    finish(chosen, learner)
    objective.to(trainer.strategy.root_device, torch.float32).eval()


@contextmanager
def compiled(objective: nn.Module, on_cpu: bool) -> Iterator[None]:
    """Within it the objective's network runs as torch.compile has made it; it is compiled when it first runs.

    Raises InputError where there is no network, or no compiler.
    """
    network = getattr(objective, "network", None)
    if not isinstance(network, nn.Module):
        raise InputError(f"trainer.compile=true needs a model with a network; {type(objective).__name__} has none.")
    if on_cpu and not any(map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++", "c++")))):
        raise InputError("trainer.compile=true needs a C++ compiler on a CPU: install g++, or leave it false.")
    # Rows of text are all of one shape; batches of labelled examples are not, and are compiled once for all shapes.
    network.compile(dynamic=None if isinstance(objective, SupervisedHead) else False)
    try:
        yield
    finally:
        network._compiled_call_impl = None


def _trainer(
    settings: DictConfig, numbers: str, max_steps: int, chosen: list[Callback], loggers: list[Logger], folder: Path
) -> lightning.Trainer:
    """Lightning's Trainer, counting steps. Raises InputError for what this machine can't do."""
    every = settings.validate_every_n_steps or (max(1, max_steps // TENTH) if max_steps > 0 else WITHOUT_END)
    every = every if max_steps < 0 else min(every, max_steps)
    try:
        return lightning.Trainer(
            accelerator=settings.accelerator,
            strategy=settings.strategy if settings.devices * settings.num_nodes > 1 else "auto",
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            precision=numbers,  # type: ignore[arg-type]
            max_epochs=-1,
            max_steps=max_steps,
            max_time=None if settings.max_time is None else timedelta(seconds=seconds(settings.max_time)),
            accumulate_grad_batches=settings.accumulate_grad_batches,
            gradient_clip_val=settings.gradient_clip_val,
            val_check_interval=every * settings.accumulate_grad_batches,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            logger=loggers,
            callbacks=chosen,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=folder,
            plugins=[_cluster()],
        )
    except (MisconfigurationException, ValueError) as error:
        raise InputError(f"The trainer doesn't work on this machine: {error}") from error


def _cluster() -> ClusterEnvironment:
    """Who has started the processes. Lightning would guess, and under Slurm listen for signals and queue jobs again."""
    if by_torchrun():
        return TorchElasticEnvironment()
    if not by_srun():
        return LightningEnvironment()
    try:
        return SLURMEnvironment(auto_requeue=False)
    except RuntimeError as error:
        raise InputError(f"This Slurm job doesn't work: {error}") from error


def _checkpoint(folder: Path, max_steps: int, learner: Learner) -> Path | None:
    """The checkpoint to go on from; None where the run was stopped before its first.

    Raises InputError where none is sound, or it is further on than `max_steps`.
    """
    shapes = {name: tuple(value.shape) for name, value in learner.state_dict().items()}
    found = checkpoints.newest(folder, shapes)
    if found is None:
        console.say("no checkpoint yet: starting from step 0")
        return None
    checkpoint, taken = found
    if 0 < max_steps < taken:
        raise InputError(f"{folder} has taken {taken} steps already: its limit can't become {max_steps}.")
    console.say(f"going on from step {taken} of {checkpoint}")
    return checkpoint


def _optimizer_maker(algorithm: DictConfig) -> MakeOptimizer:
    make = build(algorithm)

    def careful(weights: Weights) -> torch.optim.Optimizer:
        try:
            optimizer = make(weights)
        except ValueError as error:  # torch's own sentence about a learning rate or a beta out of range
            raise InputError(f"optim.optimizer can't be built: {error}.") from error
        # A fused one would divide gradients by a loss scale itself, after they were to be clipped: it needn't.
        optimizer._step_supports_amp_scaling = False
        return optimizer

    return careful


def step_limit(settings: DictConfig, batches_per_epoch: int) -> int:
    """Optimizer steps until the nearer of max_steps and max_epochs; -1 where only time ends the run."""
    limits = [settings.max_steps] if settings.max_steps else []
    if settings.max_epochs:
        limits.append(math.ceil(settings.max_epochs * batches_per_epoch / settings.accumulate_grad_batches))
    if not limits and not settings.max_time:
        limits.append(settings.default_steps)
    return min(limits, default=-1)


def lr_schedule(optim: DictConfig, max_steps: int, max_s: float = math.inf) -> Schedule:
    """A linear rise over `warmup_steps`, then constant, or linear or cosine to 0 by the limit of steps or of time,
    whichever comes first (a budget, as in arXiv 2212.14034)."""
    warmup, kind = optim.warmup_steps, optim.schedule
    if warmup is None:
        warmup = max(0, max_steps // TENTH)

    def factor(step: int, elapsed_s: Callable[[], float]) -> float:
        risen = min(1.0, (step + 1) / (warmup + 1))
        if kind == "constant":
            return risen
        by_step = max(0, step - warmup) / max(1, max_steps - warmup) if max_steps > 0 else 0.0
        by_time = elapsed_s() / max_s if math.isfinite(max_s) else 0.0
        done = min(1.0, max(by_step, by_time))
        return min(risen, 1 - done if kind == "linear" else 0.5 * (1 + math.cos(math.pi * done)))

    return factor


def precision(settings: DictConfig, objective: nn.Module) -> str:
    """What `auto` means here: bf16-mixed on a CUDA device that has it, and on a CPU that has it for an objective whose
    time goes into large products; 32-true elsewhere."""
    if settings.precision != "auto":
        return settings.precision
    if settings.accelerator in ("auto", "gpu") and torch.cuda.is_available():
        return "bf16-mixed" if has_bf16(torch.device("cuda")) else "32-true"
    on_cpu = settings.accelerator == "cpu" or not torch.backends.mps.is_available()
    pays = on_cpu and isinstance(objective, MatmulBound) and has_bf16(torch.device("cpu"))
    return "bf16-mixed" if pays else "32-true"
