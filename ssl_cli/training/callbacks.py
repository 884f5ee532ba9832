"""What happens around Lightning's training steps: stopping early, averaging weights, saving, showing, recording."""

import csv
import math
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, EarlyStopping, EMAWeightAveraging
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor

from ssl_cli import console
from ssl_cli.files import write_csv
from ssl_cli.process import DeferredSignal, Interrupted
from ssl_cli.runs.folder import read_history
from ssl_cli.training import checkpoints
from ssl_cli.training.module import Learner


def callbacks(settings: DictConfig, max_steps: int, folder: Path, judged_by: str = "loss") -> list[Callback]:
    """In the order they must run: early stopping sees the averaged weights, and what saves them comes last.

    What is judged by another thing than its loss keeps its best weights even where it may not stop early.
    """
    chosen: list[Callback] = []
    if settings.patience or judged_by != "loss":
        chosen.append(StopEarly(settings.patience or sys.maxsize, judged_by))
    if settings.ema_decay:
        chosen.append(AverageWeights(decay=settings.ema_decay))
    only_time = seconds(settings.max_time) if max_steps < 0 else None
    return [*chosen, ShowProgress(max_steps, only_time), Save(settings.checkpoint_every_n_steps, folder)]


def seconds(max_time: str | None) -> float:
    """HH:MM:SS or DD:HH:MM:SS as seconds; infinite where there is no limit"""
    if max_time is None:
        return math.inf
    units = (1, 60, 3600, 86400)
    return float(sum(unit * int(part) for unit, part in zip(units, reversed(max_time.split(":")), strict=False)))


def finish(chosen: list[Callback], module: lightning.LightningModule) -> None:
    """Give the module the weights it is to keep: the average's, or those of the best validation.

    Raises Stopped where a signal came when no step was left to put it off to.
    """
    for callback in chosen:
        if isinstance(callback, Save) and callback.request.signum:
            raise Interrupted(callback.request.signum, " after its last step")
    for callback in chosen:
        if isinstance(callback, AverageWeights):
            callback.average(module)
    for callback in chosen:
        if isinstance(callback, StopEarly) and callback.best:
            module.load_state_dict(callback.best)


class AverageWeights(EMAWeightAveraging):
    """An exponential moving average of the weights, which validation and the finished model use."""

    def average(self, module: lightning.LightningModule) -> None:
        """Put the average into the module: also where a resumed run had no step left to take."""
        self._copy_average_to_current(module)


class StopEarly(EarlyStopping):
    """Stops when the loss of the watched rows has not fallen for `patience` validations, or the metric that they are
    judged by not risen; `best` are the weights of its best."""

    def __init__(self, patience: int, judged_by: str):
        mode = "min" if judged_by == "loss" else "max"
        super().__init__(monitor=f"watched/{judged_by}", patience=patience, mode=mode, check_finite=False)
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
        self.candidate = {}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]
        super().load_state_dict(state_dict)


class Save(Callback):
    """Writes `last.ckpt` every so many steps, at the end, and when a signal asks the run to stop.

    Between steps: once a step's validation is over, before the next batch begins. Broken weights are never saved.
    """

    def __init__(self, every_n_steps: int, folder: Path):
        self.every_n_steps, self.folder = every_n_steps, folder
        self.saved_step, self.request = 0, DeferredSignal()

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.saved_step = trainer.global_step
        self.request.listen()  # from here on Lightning's own listener, set up before, hears nothing; it sets ours back

    def on_train_batch_start(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: dict[str, Any], batch_idx: int
    ) -> None:
        if batch["k"] % trainer.accumulate_grad_batches:
            return  # in the middle of a step
        assert isinstance(module, Learner)
        due = trainer.global_step % self.every_n_steps == 0 and trainer.global_step > self.saved_step
        signum, broken = _agreed(trainer, self.request.signum, module)
        if signum or broken or due:
            self._save(trainer, module)
        if signum:
            raise Interrupted(signum, f" at step {trainer.global_step}")

    def on_validation_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, Learner)
        _agreed(trainer, 0, module)
        module.check_finite(self.saved_step)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, Learner)
        signum, _ = _agreed(trainer, self.request.signum, module)
        self._save(trainer, module)  # the stream has no end: its one epoch ends with the run
        if signum:
            raise Interrupted(signum, f" at step {trainer.global_step}, the last")

    def _save(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, Learner)
        module.check_finite(self.saved_step)
        if trainer.global_step == self.saved_step:
            return
        try:
            trainer.save_checkpoint(self.folder / checkpoints.PARTIAL)
            if trainer.is_global_zero:
                checkpoints.keep(self.folder)
        except BaseException:  # a full disk, or a second Ctrl-C: what is half written goes, and the one before stays
            (self.folder / checkpoints.PARTIAL).unlink(missing_ok=True)
            raise
        self.saved_step = trainer.global_step


def _agreed(trainer: lightning.Trainer, signum: int, module: Learner) -> tuple[int, bool]:
    """The signal that any process has got, and whether any one's loss is broken: all must stop at the same step.

    Asking a GPU would make it wait, so a single one is asked only where a checkpoint is due.
    """
    if trainer.world_size == 1:
        return signum, module.device.type == "cpu" and module.nonfinite_loss.is_there()
    mine = torch.tensor([signum, module.nonfinite_loss.is_there()], dtype=torch.int64, device=module.device)
    torch.distributed.all_reduce(mine, torch.distributed.ReduceOp.MAX)
    if mine[1]:
        module.nonfinite_loss.share(
            module.device
        )  # so that all refuse it in the same words, and none waits for another
    return int(mine[0]), bool(mine[1])


class ShowProgress(Callback):
    """One bar, or a few plain lines, for the whole training: of its steps, or of its seconds where only time is
    limited."""

    def __init__(self, max_steps: int, only_time: float | None):
        self.total, self.only_time = max_steps, only_time

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        limit = ("training, step", self.total) if self.only_time is None else ("training, second", int(self.only_time))
        self.open = console.progress(*limit)
        self.advance = self.open.__enter__()

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: Any) -> None:
        assert isinstance(module, Learner)
        if trainer.global_step % 20 == 0 and not module.is_validated_after(trainer.global_step):
            self._tell(trainer, module)

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._tell(trainer, module)

    def _tell(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """How far it is, and the last validation's figures"""
        assert isinstance(module, Learner)
        told = " ".join(
            f"{name.replace('watched', module.val_rows.split)} {value:.4g}"
            for name, value in trainer.callback_metrics.items()
            if name.startswith("watched/")
        )
        if self.only_time is None:
            self.advance(trainer.global_step, told)
        else:
            self.advance(min(int(module.elapsed_s()), int(self.only_time)), f"step {trainer.global_step} {told}")

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
        write_csv(self.path, self.columns, (row | {"step": int(row["step"])} for row in earlier))
