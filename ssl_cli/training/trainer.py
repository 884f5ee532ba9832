"""Training by gradient: config -> Lightning's Trainer -> a trained method.

The trainer counts steps, not epochs: the stream of batches is endless, and three limits (steps, epochs, time) say when
to stop.
"""

import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
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
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.errors import InputError
from ssl_cli.methods.supervised.head import SupervisedMethod
from ssl_cli.methods.training_protocols import Alternates, MatmulBound, Monitored, MovesAfterSteps, NeedsWholeBatches
from ssl_cli.models.cpu import has_bf16, set_layout, tuned_for_large_matmuls
from ssl_cli.process import is_launched_by_srun, is_launched_by_torchrun
from ssl_cli.runs.folder import HISTORY
from ssl_cli.training import checkpoints
from ssl_cli.training.alternating import AlternatingLearner
from ssl_cli.training.callbacks import History, load_final_weights, make_callbacks
from ssl_cli.training.limits import duration_s, step_limit, train_batches
from ssl_cli.training.module import NEVER, Learner
from ssl_cli.training.optim import lr_schedule, optimizer_factory
from ssl_cli.training.sharded import ShardedLearner
from ssl_cli.training.stretches import StepSettings

# How often a run is validated by default: n times in all, or every n steps if only time ends it.
DEFAULT_VALIDATIONS, DEFAULT_VALIDATION_STEPS = 10, 100
CXX_COMPILERS = ("g++", "clang++", "c++")
# Lightning's tips and notices do not belong in a run's log.
for library in ("pytorch_lightning", "lightning_fabric"):
    logging.getLogger(library).setLevel(logging.WARNING)
warnings.filterwarnings("ignore", category=FutureWarning, module="pytorch_lightning")  # about its own internals


def train(
    method: nn.Module,
    train_rows: ArrayDataset,
    val_rows: ArrayDataset,
    cfg: DictConfig,
    folder: Path,
    loggers: Sequence[Logger] = (),
    more_callbacks: Sequence[Callback] = (),
) -> None:
    """Train `method` in place, from `last.ckpt` if `cfg.resume` is set.

    `val_rows` give the validation curve, all of them: `limit_validation` is the caller's, which knows what they are.
    Only early stopping acts on the curve. Writes `history.csv` and `last.ckpt`;
    `loggers` get the rows of the history too. Raises InputError if the loss becomes NaN or infinite, and Interrupted
    once the step is saved if a signal asks for it.
    """
    batches_per_epoch = train_batches(cfg.trainer, len(train_rows), isinstance(method, NeedsWholeBatches))
    max_steps = step_limit(cfg.trainer, batches_per_epoch)
    make_optimizer = optimizer_factory(cfg.optim.optimizer)
    schedule = lr_schedule(cfg.optim, max_steps, duration_s(cfg.trainer.max_time))
    set_layout(method, torch.channels_last)
    settings = step_settings(cfg.trainer, batches_per_epoch, max_steps, cfg.seed)
    learner = _learner_class(cfg.trainer, method)(method, train_rows, val_rows, make_optimizer, schedule, settings)
    monitor = method.monitor if isinstance(method, Monitored) else None
    callbacks = [*make_callbacks(cfg.trainer, max_steps, folder, monitor), *more_callbacks]
    if isinstance(method, MovesAfterSteps):
        learner.after_step.append(lambda: method.after_step(learner.done))
    precision, all_loggers = resolve_precision(cfg.trainer, method), [History(folder / HISTORY), *loggers]
    trainer = _trainer(cfg.trainer, precision, callbacks, all_loggers, folder)
    checkpoint = _checkpoint(folder, max_steps, learner) if cfg.resume is not None else None
    on_cpu = trainer.strategy.root_device.type == "cpu"
    if on_cpu and precision.startswith("bf16") and not has_bf16(trainer.strategy.root_device):
        console.warn(
            f"trainer.precision={precision}: this CPU has no instructions for bfloat16, and emulates them many times "
            "as slowly. 32-true is faster here."
        )
    tuned = tuned_for_large_matmuls() if on_cpu and isinstance(method, MatmulBound) else nullcontext()
    with tuned, compiled(method, on_cpu) if cfg.trainer.compile else nullcontext():
        trainer.fit(learner, ckpt_path=checkpoint, weights_only=True)
    load_final_weights(callbacks, learner)
    method.to(trainer.strategy.root_device, torch.float32).eval()
    set_layout(method, torch.contiguous_format)


def _learner_class(settings: DictConfig, method: nn.Module) -> type[Learner]:
    """Return the LightningModule for a method. Raises InputError for several optimizers on several devices."""
    if not isinstance(method, Alternates):
        return ShardedLearner if settings.strategy == "fsdp" else Learner
    if settings.devices * settings.num_nodes > 1:
        raise InputError(
            f"{type(method).__name__} is trained by several optimizers, on one device: set trainer.devices=1."
        )
    return AlternatingLearner


@contextmanager
def compiled(method: nn.Module, on_cpu: bool) -> Iterator[None]:
    """Run the method's network as compiled by torch.compile while it is open; it is compiled when it first runs.

    Raises InputError if there is no network, or no compiler.
    """
    network = getattr(method, "network", None)
    if not isinstance(network, nn.Module):
        raise InputError(f"trainer.compile=true needs a model with a network; {type(method).__name__} has none.")
    if on_cpu and not any(map(shutil.which, filter(None, (os.environ.get("CXX"), *CXX_COMPILERS)))):
        raise InputError("trainer.compile=true needs a C++ compiler on a CPU: install g++, or leave it false.")
    # Rows of text have one shape. Batches of labelled examples have many, and are compiled once for all of them.
    network.compile(dynamic=None if isinstance(method, SupervisedMethod) else False)
    try:
        yield
    finally:
        network._compiled_call_impl = None


def _trainer(
    settings: DictConfig,
    precision: str,
    callbacks: list[Callback],
    loggers: list[Logger],
    folder: Path,
) -> lightning.Trainer:
    """Return Lightning's Trainer, which runs until the module stops it.

    Raises InputError for settings that this machine does not support.
    """
    try:
        return lightning.Trainer(
            accelerator=settings.accelerator,
            strategy=settings.strategy if settings.devices * settings.num_nodes > 1 else "auto",
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            precision=precision,  # type: ignore[arg-type]
            max_epochs=-1,
            max_time=None if settings.max_time is None else timedelta(seconds=duration_s(settings.max_time)),
            val_check_interval=NEVER,  # the module says after each stretch whether a validation is due
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            logger=loggers,
            callbacks=callbacks,
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
    """Return the environment of whatever has started the processes.

    Lightning would guess it, and under Slurm would handle signals and requeue jobs itself.
    """
    if is_launched_by_torchrun():
        return TorchElasticEnvironment()
    if not is_launched_by_srun():
        return LightningEnvironment()
    try:
        return SLURMEnvironment(auto_requeue=False)
    except RuntimeError as error:
        raise InputError(f"This Slurm job doesn't work: {error}") from error


def _checkpoint(folder: Path, max_steps: int, learner: Learner) -> Path | None:
    """Return the checkpoint to resume from, or None if the run was stopped before its first one.

    Raises InputError if none is sound, or it is beyond `max_steps`.
    """
    shapes = {name: tuple(value.shape) for name, value in learner.state_dict().items()}
    newest = checkpoints.find_newest(folder, shapes)
    if newest is None:
        console.say("no checkpoint yet: starting from step 0")
        return None
    path, step = newest
    if 0 < max_steps < step:
        raise InputError(f"{folder} has taken {step} steps already: its limit can't become {max_steps}.")
    console.say(f"resuming from step {step} of {path}")
    return path


def step_settings(settings: DictConfig, batches_per_epoch: int, max_steps: int, seed: int) -> StepSettings:
    """Return what a step is made of. By default a run is validated ten times, or every 100 steps if time ends it."""
    default_every = max(1, max_steps // DEFAULT_VALIDATIONS) if max_steps > 0 else DEFAULT_VALIDATION_STEPS
    return StepSettings(
        batch_size=settings.batch_size,
        batches_per_epoch=batches_per_epoch,
        accumulate_grad_batches=settings.accumulate_grad_batches,
        gradient_clip_val=settings.gradient_clip_val,
        validate_every_n_steps=settings.validate_every_n_steps or default_every,
        checkpoint_every_n_steps=settings.checkpoint_every_n_steps,
        max_steps=max_steps,
        seed=seed,
        max_s=duration_s(settings.max_time),
    )


def resolve_precision(settings: DictConfig, method: nn.Module) -> str:
    """Return the precision, with `auto` resolved for this machine.

    That is bf16-mixed on a CUDA device that supports it, and on a CPU that supports it for a method whose time goes
    into large matrix products; 32-true otherwise.
    """
    if settings.precision != "auto":
        return settings.precision
    if settings.accelerator in ("auto", "gpu") and torch.cuda.is_available():
        return "bf16-mixed" if has_bf16(torch.device("cuda")) else "32-true"
    on_cpu = settings.accelerator == "cpu" or not torch.backends.mps.is_available()
    pays = on_cpu and isinstance(method, MatmulBound) and has_bf16(torch.device("cpu"))
    return "bf16-mixed" if pays else "32-true"
