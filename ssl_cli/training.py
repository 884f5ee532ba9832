"""Training by gradient: config -> Lightning's Trainer -> a trained objective.

The trainer counts steps, not epochs: the stream of batches has no end, and three limits (steps, epochs, time) say
when to stop. `last.ckpt` is written at an interval, first beside its place and then moved into it.
"""

import csv
import logging
import math
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, EarlyStopping, EMAWeightAveraging
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities.exceptions import MisconfigurationException, SIGTERMException
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor, nn

from ssl_cli import console
from ssl_cli.config import build
from ssl_cli.data.batches import Rows
from ssl_cli.errors import INTERRUPTED, TERMINATED, InputError
from ssl_cli.learner import Learner, MakeOptimizer
from ssl_cli.runs import read_history

CHECKPOINT = "last.ckpt"
# Lightning's tips and notices are no part of a run's record.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", category=FutureWarning, module="pytorch_lightning")  # of its own inner workings


def train(objective: nn.Module, rows: Rows, watched: Rows, cfg: DictConfig, folder: Path) -> None:
    """Train `objective` in place. Goes on from `last.ckpt` where `cfg.resume` is set.

    `watched` rows give the validation curve; only early stopping acts on it. Writes `history.csv` and `last.ckpt`.
    """
    settings = cfg.trainer
    batches_per_epoch = -(-len(rows) // settings.batch_size)
    max_steps = step_limit(settings, batches_per_epoch)
    learner = Learner(
        objective,
        rows,
        watched,
        _optimizer_maker(cfg.optim.algorithm),
        lr_schedule(cfg.optim, max_steps),
        settings.batch_size,
        cfg.seed,
    )
    every = settings.validate_every_n_steps if max_steps < 0 else min(settings.validate_every_n_steps, max_steps)
    chosen, best = callbacks(settings, max_steps, folder), {}
    try:
        trainer = lightning.Trainer(
            accelerator=settings.accelerator,
            strategy=settings.strategy,
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            precision=precision(settings),
            max_epochs=-1,
            max_steps=max_steps,
            max_time=settings.max_time,
            accumulate_grad_batches=settings.accumulate_grad_batches,
            gradient_clip_val=settings.gradient_clip_val,
            val_check_interval=every * settings.accumulate_grad_batches,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            logger=[History(folder / "history.csv")],
            callbacks=chosen,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=folder,
        )
    except (MisconfigurationException, ValueError) as error:
        raise InputError(f"The trainer doesn't work on this machine: {error}") from error
    checkpoint = folder / CHECKPOINT
    resuming = cfg.resume is not None and checkpoint.is_file()
    if cfg.resume is not None:
        taken = _steps_taken(checkpoint) if resuming else 0
        if 0 < max_steps < taken:
            raise InputError(f"{folder} has taken {taken} steps already: its limit can't become {max_steps}.")
        console.say(
            f"going on from step {taken} of {checkpoint}" if resuming else "no checkpoint yet: starting from step 0"
        )
    try:
        trainer.fit(learner, ckpt_path=checkpoint if resuming else None, weights_only=True)
    except SystemExit as stop:  # Lightning's answer to SIGTERM and to Ctrl-C
        resume = f"ssl {cfg.verb} resume={folder}"
        console.warn(f"stopped at step {trainer.global_step}; go on from the last checkpoint with `{resume}`")
        raise SystemExit(TERMINATED if isinstance(stop, SIGTERMException) else INTERRUPTED) from None
    for callback in chosen:
        if isinstance(callback, AverageWeights):
            callback.finish(learner)
        if isinstance(callback, StopEarly) and callback.best:
            best = callback.best
    if best:
        learner.load_state_dict(best)
    objective.to(trainer.strategy.root_device, torch.float32).eval()


def _optimizer_maker(algorithm: DictConfig) -> MakeOptimizer:
    make = build(algorithm)

    def careful(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        try:
            return make(parameters)
        except ValueError as error:  # torch's own sentence about a learning rate or a beta out of range
            raise InputError(f"optim.algorithm can't be built: {error}.") from error

    return careful


def _steps_taken(checkpoint: Path) -> int:
    """The step at which a checkpoint was written. Raises InputError where it is damaged."""
    try:
        return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"])
    except Exception as error:
        raise InputError(f"{checkpoint} is damaged and can't be read; delete it to start the run again.") from error


def step_limit(settings: DictConfig, batches_per_epoch: int) -> int:
    """Optimizer steps until the nearer of max_steps and max_epochs; -1 where only time ends the run."""
    limits = [settings.max_steps] if settings.max_steps else []
    if settings.max_epochs:
        limits.append(math.ceil(settings.max_epochs * batches_per_epoch / settings.accumulate_grad_batches))
    if not limits and not settings.max_time:
        limits.append(settings.default_steps)
    return min(limits, default=-1)


def lr_schedule(optim: DictConfig, max_steps: int) -> Callable[[int], float]:
    """step -> factor of the learning rate: a linear rise over `warmup_steps`, then constant, linear or cosine to 0."""
    warmup, kind = optim.warmup_steps, optim.schedule

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if kind == "constant":
            return 1.0
        done = min(1.0, (step - warmup) / max(1, max_steps - warmup))
        return 1 - done if kind == "linear" else 0.5 * (1 + math.cos(math.pi * done))

    return factor


def precision(settings: DictConfig) -> Any:
    """What `auto` means here: bf16-mixed on a CUDA device that has it, 32-true elsewhere."""
    if settings.precision != "auto":
        return settings.precision
    on_cuda = settings.accelerator in ("auto", "gpu") and torch.cuda.is_available()
    return "bf16-mixed" if on_cuda and torch.cuda.is_bf16_supported() else "32-true"


def callbacks(settings: DictConfig, max_steps: int, folder: Path) -> list[Callback]:
    """In the order they must run: early stopping sees the averaged weights, and what saves them comes last."""
    chosen: list[Callback] = []
    if settings.patience:
        chosen.append(StopEarly(settings.patience))
    if settings.ema_decay:
        chosen.append(AverageWeights(decay=settings.ema_decay))
    return [*chosen, ShowProgress(max_steps), SaveLast(settings.checkpoint_every_n_steps, folder)]


class AverageWeights(EMAWeightAveraging):
    """An exponential moving average of the weights, which validation and the finished model use."""

    def finish(self, module: lightning.LightningModule) -> None:
        """Put the average into the module: also where a resumed run had no step left to take."""
        self._copy_average_to_current(module)


class StopEarly(EarlyStopping):
    """Stops when `val/loss` has not fallen for `patience` validations; `best` are the weights of its minimum."""

    def __init__(self, patience: int):
        super().__init__(monitor="val/loss", patience=patience, mode="min", check_finite=False)
        self.best: dict[str, Tensor] = {}
        self.candidate: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        trainer.should_stop = self.wait_count >= self.patience  # a run that had stopped stays stopped when resumed

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        # Now, not later: an average of the weights, where there is one, is swapped in only until here.
        self.candidate = {name: value.detach().clone() for name, value in module.state_dict().items()}

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        super().on_validation_end(trainer, module)
        if self.wait_count == 0:
            self.best = self.candidate

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]
        super().load_state_dict(state_dict)


class SaveLast(Callback):
    """Writes `last.ckpt` every so many steps and at the end, so that a crash while writing leaves the one before.

    Between steps: once a step's validation is over, before the next batch begins.
    """

    def __init__(self, every_n_steps: int, folder: Path):
        self.every_n_steps, self.path, self.saved_step = every_n_steps, folder / CHECKPOINT, 0

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.saved_step = trainer.global_step

    def on_train_batch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step % self.every_n_steps == 0:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._save(trainer)  # the stream has no end: its one epoch ends with the run

    def _save(self, trainer: lightning.Trainer) -> None:
        if trainer.global_step == self.saved_step:
            return
        self.saved_step = trainer.global_step
        partial = self.path.with_suffix(".part")
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            partial.replace(self.path)


class ShowProgress(Callback):
    """One bar, or a few plain lines, for the whole training."""

    def __init__(self, max_steps: int):
        self.total = max_steps if max_steps > 0 else None

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.open = console.progress("training, step", self.total)
        self.advance = self.open.__enter__()

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step % 20 == 0 or trainer.global_step == self.total:
            loss = trainer.callback_metrics.get("val/loss")
            self.advance(trainer.global_step, "" if loss is None else f"val/loss {loss:.4g}")

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.open.__exit__(None, None, None)

    def on_exception(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException
    ) -> None:
        if hasattr(self, "open"):
            self.open.__exit__(None, None, None)


class History(Logger):
    """history.csv: one row a validation, written at once. A resumed run drops the rows after its checkpoint."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.columns: list[str] = []

    @property
    def name(self) -> str:
        return "history"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row = {"step": step or 0} | metrics
        if not self.columns:
            self._begin(list(row), row["step"])
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns, restval="").writerow(row)

    def _begin(self, columns: list[str], step: float) -> None:
        """The header, and what an earlier part of this run wrote before `step`."""
        earlier = [row for row in read_history(self.path) if row["step"] < step]
        self.columns = list(dict.fromkeys(["step", *(earlier[0] if earlier else []), *columns]))
        with self.path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            writer.writeheader()
            writer.writerows(row | {"step": int(row["step"])} for row in earlier)
