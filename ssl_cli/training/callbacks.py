"""Lightning callbacks (early stopping, averaged weights, checkpoints, progress) and the logger of history.csv."""

import csv
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, EarlyStopping, WeightAveraging
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor

from ssl_cli import console
from ssl_cli.process import DeferredSignal, Interrupted
from ssl_cli.runs.csv_files import write_csv
from ssl_cli.runs.folder import read_history
from ssl_cli.training import checkpoints
from ssl_cli.training.checkpoint_record import BEST_VALIDATION, Validation
from ssl_cli.training.limits import duration_s
from ssl_cli.training.module import MONITORED, Learner


def make_callbacks(settings: DictConfig, max_steps: int, folder: Path, monitor: str | None) -> list[Callback]:
    """Return the callbacks in the order in which they must run.

    Early stopping sees the averaged weights, and the checkpoint comes last. A method that names what is monitored keeps
    its best weights even if it may not stop early.
    """
    callbacks: list[Callback] = []
    if settings.patience or monitor is not None:
        callbacks.append(StopEarly(settings.patience or sys.maxsize, monitor or "loss"))
    if settings.ema_decay:
        callbacks.append(AverageWeights(settings.ema_decay))
    only_limit_s = duration_s(settings.max_time) if max_steps < 0 else None
    return [
        *callbacks,
        ShowProgress(max_steps, only_limit_s),
        SaveCheckpoint(settings.checkpoint_every_n_steps, folder),
    ]


def load_final_weights(callbacks: list[Callback], module: lightning.LightningModule) -> None:
    """Load the weights that the module is to keep: the averaged ones, or those of the best validation.

    Raises Interrupted if a signal arrived during the last step, after which no step could handle it.
    """
    for callback in callbacks:
        if isinstance(callback, SaveCheckpoint) and callback.request.signum:
            raise Interrupted(callback.request.signum, " after its last step")
    for callback in callbacks:
        if isinstance(callback, AverageWeights):
            callback.load_average(module)
    for callback in callbacks:
        if isinstance(callback, StopEarly) and callback.best:
            module.load_state_dict(callback.best)


class AverageWeights(WeightAveraging):
    """An exponential moving average of the weights, which validation and the finished model use.

    Buffers are averaged too: a codebook belongs to its weights. Constants (the angles of positions, the ids of tokens)
    keep every bit: they are in no checkpoint, so a resumed run begins with them as they were made.
    """

    def __init__(self, decay: float):
        super().__init__(use_buffers=True, multi_avg_fn=partial(_move_towards, share=1 - decay))

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Update the average after each step; Lightning's callback would do so once a stretch."""
        assert isinstance(module, Learner)
        assert self._average_model is not None
        module.after_step.append(partial(self._average_model.update_parameters, module))

    def on_train_batch_end(self, *_: Any) -> None:
        """Do nothing: each step of the stretch has updated the average."""

    def load_average(self, module: lightning.LightningModule) -> None:
        """Load the average into the module, also if a resumed run had no step left to take."""
        self._copy_average_to_current(module)


def _move_towards(averages: list[Tensor], values: list[Tensor], _: Tensor, share: float) -> None:
    """Move averages by `share` of the way to the values, all of one type; whole numbers are taken as they are.

    What equals its value stays as it is. Lightning's own sum of two products would move it by its last bits.
    """
    if averages[0].is_floating_point():
        torch._foreach_lerp_(averages, values, share)
    else:
        torch._foreach_copy_(averages, values)


class StopEarly(EarlyStopping):
    """Stops after `patience` validations without improvement; `best` are the weights of the best validation.

    `monitor` is "loss", which must fall on the validation rows, or the name of a metric, which must rise.
    """

    def __init__(self, patience: int, monitor: str):
        mode = "min" if monitor == "loss" else "max"
        super().__init__(monitor=f"{MONITORED}{monitor}", patience=patience, mode=mode, check_finite=False)
        self.best: dict[str, Tensor] = {}
        self.candidate: dict[str, Tensor] = {}
        self.best_validation: Validation = {}

    def on_fit_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Keep a run stopped that had stopped before it was resumed."""
        trainer.should_stop = self.wait_count >= self.patience

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Copy the weights now: an average of the weights, if there is one, is in the module only until here."""
        self.candidate = {name: value.detach().clone() for name, value in module.state_dict().items()}

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Compare the monitored value with the best, and keep the weights if it is better."""
        super().on_validation_end(trainer, module)
        assert isinstance(module, Learner)
        if self.wait_count == 0:
            self.best, self.best_validation = self.candidate, module.validation
        self.candidate = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint, with the best weights."""
        return super().state_dict() | {"best": self.best, BEST_VALIDATION: self.best_validation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state from a checkpoint, with the best weights."""
        self.best, self.best_validation = state_dict["best"], state_dict.get(BEST_VALIDATION, {})
        super().load_state_dict(state_dict)


class SaveCheckpoint(Callback):
    """Writes `last.ckpt` every n steps, at the end, and when a signal asks the run to stop.

    It does so between stretches: after a step's validation and before the next step. Weights that are NaN or infinite
    are never saved.
    """

    def __init__(self, every_n_steps: int, folder: Path):
        self.every_n_steps, self.folder = every_n_steps, folder
        self.saved_step, self.request = 0, DeferredSignal()

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Handle signals from here on in place of Lightning's own handlers, which restore those before them."""
        assert isinstance(module, Learner)
        self.saved_step = module.step
        self.request.install()

    def on_train_batch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: Any) -> None:
        """Save between two stretches if a checkpoint is due or a signal has arrived."""
        assert isinstance(module, Learner)
        is_due = module.step % self.every_n_steps == 0 and module.step > self.saved_step
        signum, is_nonfinite = _synchronized(trainer, self.request.signum, module)
        if signum or is_nonfinite or is_due:
            self._save(trainer, module)
        if signum:
            raise Interrupted(signum, f" at step {module.step}")

    def on_validation_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Raise InputError if the loss is NaN or infinite."""
        assert isinstance(module, Learner)
        _synchronized(trainer, 0, module)
        module.check_finite(self.saved_step)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Save the last step: the stream of batches is endless, so its one epoch ends with the run."""
        assert isinstance(module, Learner)
        signum, _ = _synchronized(trainer, self.request.signum, module)
        self._save(trainer, module)
        if signum:
            raise Interrupted(signum, f" at step {module.step}, the last")

    def _save(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, Learner)
        module.check_finite(self.saved_step)
        if module.step == self.saved_step:
            return
        try:
            trainer.save_checkpoint(self.folder / checkpoints.PARTIAL)
            if trainer.is_global_zero:
                checkpoints.promote(self.folder)
        except BaseException:  # a full disk, or a second Ctrl-C: the checkpoint before stays
            (self.folder / checkpoints.PARTIAL).unlink(missing_ok=True)
            raise
        self.saved_step = module.step


def _synchronized(trainer: lightning.Trainer, signum: int, module: Learner) -> tuple[int, bool]:
    """Return the signal that any process has got, and whether any one's loss is NaN or infinite.

    All processes must stop at the same step. A single GPU is not asked here, because the question would make it wait:
    its loss is checked only when a checkpoint is due.
    """
    if trainer.world_size == 1:
        return signum, module.device.type == "cpu" and module.nonfinite_loss.occurred()
    mine = torch.tensor([signum, module.nonfinite_loss.occurred()], dtype=torch.int64, device=module.device)
    torch.distributed.all_reduce(mine, torch.distributed.ReduceOp.MAX)
    if mine[1]:
        # All processes raise the same message, and none waits for another.
        module.nonfinite_loss.synchronize(module.device)
    return int(mine[0]), bool(mine[1])


class ShowProgress(Callback):
    """One progress bar, or a few plain lines, for the whole training.

    It counts steps, or seconds if only `only_limit_s` limits the training.
    """

    def __init__(self, max_steps: int, only_limit_s: float | None):
        self.max_steps, self.only_limit_s = max_steps, only_limit_s

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Open the bar."""
        if self.only_limit_s is None:
            self.open = console.progress("training, step", self.max_steps)
        else:
            self.open = console.progress("training, second", int(self.only_limit_s))
        self.advance = self.open.__enter__()

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: Any) -> None:
        """Advance the bar after each stretch, except where a validation follows, which does it."""
        assert isinstance(module, Learner)
        if not module.is_validated_after(module.step):
            self.advance(self._done(module), None)

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Advance the bar with the new validation's values."""
        assert isinstance(module, Learner)
        values = " ".join(
            f"{module.val_rows.split}/{name.removeprefix(MONITORED)} {value:.4g}"
            for name, value in trainer.callback_metrics.items()
            if name.startswith(MONITORED)
        )
        self.advance(self._done(module), values if self.only_limit_s is None else f"step {module.step} {values}")

    def _done(self, module: Learner) -> int:
        """Return the steps taken, or the seconds if only time limits the training."""
        return module.step if self.only_limit_s is None else min(int(module.elapsed_s()), int(self.only_limit_s))

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Close the bar."""
        self.open.__exit__(None, None, None)

    def on_exception(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, if it was opened."""
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
        """The logger's name for Lightning."""
        return "history"

    @property
    def version(self) -> str:
        """Empty: a run has one history."""
        return ""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Do nothing: config.yaml holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one row."""
        row = {"step": step or 0} | metrics
        if not row.keys() <= set(self.columns):  # the first row, or one with a loss that begins later in the run
            self._begin(list(row), row["step"])
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns, restval="").writerow(row)

    def _begin(self, columns: list[str], step: float) -> None:
        """Write the header, and the rows before `step` if the run was resumed."""
        earlier = [row for row in read_history(self.path) if row["step"] < step]
        self.columns = list(dict.fromkeys(["step", *(name for row in earlier for name in row), *columns]))
        write_csv(self.path, self.columns, (row | {"step": int(row["step"])} for row in earlier))
