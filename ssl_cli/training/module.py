"""The LightningModule: trains any method with one optimizer.

Every random draw of step k (dropout, noise, masks) follows from (seed, k), because the generators are reseeded at each
step. So a run resumed at step k repeats what an uninterrupted run does.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from ssl_cli import console
from ssl_cli.data.batches import ArrayDataset, InfiniteSampler, infinite_loader, ordered_loader
from ssl_cli.errors import InputError
from ssl_cli.methods.training_protocols import DerivedMetrics, EpochMetrics, monitor_of
from ssl_cli.models.images import to_float
from ssl_cli.training.checkpoints import all_finite
from ssl_cli.training.nonfinite import NonFiniteLoss
from ssl_cli.training.optim import LRSchedule, OptimizerFactory, WeightGroups
from ssl_cli.training.seeding import reseed
from ssl_cli.training.throughput import Throughput

MONITORED = "monitored/"  # prefix of the logged values that early stopping and the progress bar read
MAX_SHOWN_ROWS = 10  # that a message names


class Learner(lightning.LightningModule):
    """Minimises `method(batch)["loss"]`; the method returns a dict of scalar losses.

    `schedule` multiplies the learning rate. The `val` rows have no effect unless early stopping is on.
    """

    def __init__(
        self,
        method: nn.Module,
        train: ArrayDataset,
        val: ArrayDataset,
        make_optimizer: OptimizerFactory,
        schedule: LRSchedule,
        batch_size: int,
        seed: int,
    ):
        super().__init__()
        self.method = method
        self.train_rows, self.val_rows = train, val
        self.make_optimizer, self.schedule = make_optimizer, schedule
        self.batch_size, self.seed = batch_size, seed
        self.batches_per_epoch = InfiniteSampler(len(train), batch_size, seed).batches_per_epoch
        # By id: if the training rows are also the validation rows, they are copied once.
        self._rows_on_device: dict[int, ArrayDataset] = {}
        self._sums: dict[str, Tensor] = {}
        self._val_sums: dict[str, Tensor] = {}
        self._n_batches = self._n_val_rows = 0
        self._losses_are_checked = False
        self.nonfinite_loss = NonFiniteLoss()
        self._started_s = time.monotonic()
        self._throughput = Throughput()
        self.weight_groups = WeightGroups(method)
        self._gradient_norm: Tensor | None = None
        self._lr_scales = [1.0]  # of each group of weights

    # --- data, from the next step on ---

    def train_dataloader(self) -> DataLoader:
        """Return the endless stream of training batches, from the next step on."""
        rows, first = self._on_device(self.train_rows), self.trainer.global_step * self.trainer.accumulate_grad_batches
        rank, world = self.global_rank, self.trainer.world_size
        return infinite_loader(
            rows, InfiniteSampler(len(rows), self.batch_size, self.seed, first, rank, world, rows.device)
        )

    def val_dataloader(self) -> DataLoader:
        """Return the validation batches, in order."""
        rows = self._on_device(self.val_rows)
        return ordered_loader(rows, rows.eval_batch_size)

    def _on_device(self, rows: ArrayDataset) -> ArrayDataset:
        """Return the rows on a single device, copied once; several devices read their shares from the host's memory."""
        if self.trainer.world_size > 1:
            return rows
        if id(rows) not in self._rows_on_device:
            self._rows_on_device[id(rows)] = rows.on(self.trainer.strategy.root_device)
        return self._rows_on_device[id(rows)]

    def on_after_batch_transfer(self, batch: dict[str, Any], _: int) -> dict[str, Any]:
        """Convert images from bytes to the model's precision; Lightning has converted floating-point arrays already."""
        arrays = {name: array for name, array in batch.items() if isinstance(array, Tensor)}
        images = {name: array for name, array in arrays.items() if array.dtype == torch.uint8}
        return batch | {name: to_float(array).to(self.dtype) for name, array in images.items()}

    # --- one step ---

    def training_step(self, batch: dict[str, Any], _: int) -> Tensor:
        """Return the loss of a batch, weighted by this process's share of it."""
        self._throughput.start()
        k, weight = batch["k"], batch.pop("weight")  # k stays: a method with a warm-up reads it
        reseed(self.seed, k, self.global_rank, self.device)
        losses = self.method(batch)
        if not self._losses_are_checked:
            check_losses(self.method, losses)
            self._losses_are_checked = True
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach() * (weight / self.trainer.world_size)
        self._n_batches += 1
        self.nonfinite_loss.record(k, losses["loss"].detach())
        return losses["loss"] * weight

    def on_train_batch_end(self, *_: Any) -> None:
        """Stop after the last step, so that it is validated too."""
        if self.trainer.global_step == self.trainer.max_steps:
            self.trainer.should_stop = True

    def on_validation_start(self) -> None:
        """Stop the clock of the training throughput."""
        self._throughput.stop()

    def validation_step(self, batch: dict[str, Any], _: int) -> None:
        """Add the losses of a batch to the sums, with the same noise at every validation and on every device.

        So the curve shows the weights and not the draw, and all devices compute the same loss.
        """
        reseed(self.seed, batch.pop("k"), 0, self.device)
        n_rows = int(batch.pop("weight"))
        for name, value in self.method(batch).items():
            self._val_sums[name] = self._val_sums.get(name, 0) + value * n_rows
        self._n_val_rows += n_rows

    def check_finite(self, saved_step: int) -> None:
        """Raise InputError, with the rows of the batch, if a loss or a weight has become NaN or infinite."""
        n_batches = self.trainer.global_step * self.trainer.accumulate_grad_batches
        if self.nonfinite_loss.occurred():
            k, what = self.nonfinite_loss.batch, "The loss"
        elif n_batches and not all_finite(self.method.state_dict()):
            k, what = n_batches - 1, "A weight"
        else:
            return
        rows = self.train_rows.row_ids[InfiniteSampler(len(self.train_rows), self.batch_size, self.seed).batch(k)]
        console.note(f"rows of the batch that broke: {' '.join(str(row) for row in rows.tolist())}")
        shown = ", ".join(str(row) for row in rows[:MAX_SHOWN_ROWS].tolist())
        shown += " and others" if len(rows) > MAX_SHOWN_ROWS else ""
        last = f"The last good checkpoint is of step {saved_step}." if saved_step else "No checkpoint was written yet."
        raise InputError(
            f"{what} became NaN or infinite in step {k // self.trainer.accumulate_grad_batches + 1}, with the batch of "
            f"these {len(rows)} {self.train_rows.row_name} (the first is 0; log.txt has them all): {shown}. {last} "
            "Try a smaller optim.lr, or trainer.gradient_clip_val=1: both may change in a resumed run."
        )

    # --- rows for the loggers, once a validation ---

    def on_validation_epoch_end(self) -> None:
        """Send a row of the history to the loggers: mean training losses since the last one, and validation metrics."""
        step = self.trainer.global_step
        row = {"epoch": step * self.trainer.accumulate_grad_batches / self.batches_per_epoch}
        row["seconds"] = self.elapsed_s()
        row["lr"] = self.trainer.optimizers[0].param_groups[0]["lr"]
        if self._gradient_norm is not None:
            row["train/grad_norm"] = float(self._gradient_norm)
            self._gradient_norm = None
        if unit := self.train_rows.throughput_unit:
            rows_per_s = self._throughput.batches_per_s() * min(self.batch_size, len(self.train_rows))
            row[f"train/{unit}_per_s"] = rows_per_s * self.train_rows.units_per_row
        row |= {f"train/{name}": total / max(self._n_batches, 1) for name, total in self._totals().items()}
        metrics = self._val_metrics()
        row |= {f"{self.val_rows.split}/{name}": value for name, value in metrics.items()}
        several = self.trainer.world_size > 1
        for name in {"loss", monitor_of(self.method)}:
            self.log(f"{MONITORED}{name}", metrics[name], logger=False, sync_dist=several, batch_size=1)
        self._sums, self._val_sums, self._n_batches, self._n_val_rows = {}, {}, 0, 0
        for logger in self.trainer.loggers:
            logger.log_metrics(row, step)

    def _val_metrics(self) -> dict[str, float]:
        """Return the mean losses over the validation rows, and the metrics that the method computes."""
        metrics = {name: float(total) / self._n_val_rows for name, total in self._val_sums.items()}
        if isinstance(self.method, DerivedMetrics):
            metrics |= self.method.derived_metrics(metrics)
        if isinstance(self.method, EpochMetrics):
            metrics |= self.method.epoch_metrics()
        return metrics

    def _shares(self) -> dict[str, Tensor]:
        """Return each device's part of the sums over the batches since the last validation, (world,) each."""
        if self.trainer.world_size == 1 or not self._sums:
            return {name: total.reshape(1) for name, total in self._sums.items()}
        mine = torch.stack(list(self._sums.values()))
        shares = [torch.empty_like(mine) for _ in range(self.trainer.world_size)]
        torch.distributed.all_gather(shares, mine)
        return dict(zip(self._sums, torch.stack(shares, dim=1), strict=True))

    def _totals(self) -> dict[str, float]:
        return {name: float(shares.sum()) for name, shares in self._shares().items()}

    # --- checkpoints: a row of the history spans the steps since the last one, so a resumed run must know the sums ---

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the sums since the last validation, and set Lightning's counts back to the completed batches.

        A checkpoint is written between two batches, when Lightning has already counted the next one as ready.
        """
        loop = checkpoint["loops"]["fit_loop"]
        for progress in (loop["epoch_loop.batch_progress"], loop["epoch_progress"]):
            for count in (progress["total"], progress["current"]):
                count["processed"] = count["completed"]
        for count in (loop["epoch_loop.batch_progress"]["total"], loop["epoch_loop.batch_progress"]["current"]):
            count["ready"] = count["started"] = count["completed"]
        since = {"sums": self._shares(), "batches": self._n_batches, "elapsed_s": self.elapsed_s()}
        checkpoint["since_validation"] = since

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the sums since the last validation, also on another number of devices."""
        since = checkpoint["since_validation"]
        for name, shares in since["sums"].items():
            if shares.numel() != self.trainer.world_size:
                is_first = torch.arange(self.trainer.world_size) == 0
                shares = shares.sum() * is_first
            self._sums[name] = shares.reshape(-1)[self.global_rank].to(self.device)
        self._n_batches, self._started_s = since["batches"], time.monotonic() - since["elapsed_s"]

    # --- optimisation ---

    def elapsed_s(self) -> float:
        """Return the seconds since the run began, without the time that it was stopped."""
        return time.monotonic() - self._started_s

    def _shared_elapsed_s(self) -> float:
        """Return the elapsed time of the first process: all must use one learning rate."""
        elapsed_s = torch.tensor(self.elapsed_s(), dtype=torch.float64, device=self.device)
        if self.trainer.world_size > 1:
            torch.distributed.broadcast(elapsed_s, 0)
        return float(elapsed_s)

    def _lr_factor(self, scale: float, step: int) -> float:
        return scale * self.schedule(step, self._shared_elapsed_s)

    def is_validated_after(self, step: int) -> bool:
        """Return whether a validation follows this step."""
        is_due = step * self.trainer.accumulate_grad_batches % int(self.trainer.val_check_interval) == 0
        return is_due or step == self.trainer.max_steps

    def on_before_optimizer_step(self, _: torch.optim.Optimizer) -> None:
        """Measure the last gradient before a validation, before it is clipped."""
        if self.is_validated_after(self.trainer.global_step + 1):
            gradients = [weight.grad for weight in self.method.parameters() if weight.grad is not None]
            self._gradient_norm = torch.nn.utils.get_total_norm(gradients)

    def on_train_start(self) -> None:
        """Apply the config's learning rate: a resumed run may have another one than its checkpoint."""
        (schedule,) = self.trainer.lr_scheduler_configs
        optimizer = schedule.scheduler.optimizer
        base_lr = optimizer.defaults["lr"]  # the config's; a checkpoint restores only the groups' values
        for group, scale in zip(optimizer.param_groups, self._lr_scales, strict=True):
            if group["initial_lr"] != base_lr:
                group["initial_lr"] = base_lr
                group["lr"] = base_lr * scale * self._lr_factor(1.0, schedule.scheduler.last_epoch)
        schedule.scheduler.base_lrs = [base_lr] * len(schedule.scheduler.base_lrs)

    def configure_optimizers(self) -> Any:
        """Return the optimizer over the groups of weights, and the schedule of each group's learning rate."""
        groups, self._lr_scales = self.weight_groups.split()
        optimizer = self.make_optimizer(groups)
        factors: list[Callable[[int], float]] = [partial(self._lr_factor, scale) for scale in self._lr_scales]
        schedule = {"scheduler": LambdaLR(optimizer, factors), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def check_losses(method: nn.Module, losses: Any) -> None:
    """Raise InputError if a method, which may be the user's own, returns anything but a dict of scalar losses."""
    if not isinstance(losses, dict):
        returned = f"a {type(losses).__name__}"
    elif "loss" not in losses:
        returned = f"one with {', '.join(map(str, losses)) or 'nothing in it'}"
    elif wrong := [name for name, value in losses.items() if not isinstance(value, Tensor) or value.ndim]:
        value = losses[wrong[0]]
        kind = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        returned = f"one whose {wrong[0]} is {kind}"
    else:
        return
    raise InputError(
        f"{type(method).__name__}.forward must return a dict of scalar tensors, one of them called loss; "
        f"it returns {returned}."
    )
