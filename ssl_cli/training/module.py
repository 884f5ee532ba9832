"""The LightningModule: trains any objective with one optimizer.

Every random draw of step k (dropout, noise, masks) follows from (seed, k), because the generator is reseeded at
each step. So a run resumed at step k goes on as if it had never stopped.
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
from ssl_cli.data.batches import ArrayDataset, InfiniteSampler, endless_loader, ordered_loader
from ssl_cli.errors import InputError
from ssl_cli.methods.protocols import DerivedMetrics, EpochMetrics, monitor_of
from ssl_cli.models.images import numbers
from ssl_cli.training.checkpoints import finite
from ssl_cli.training.nonfinite import NonFiniteLoss
from ssl_cli.training.optim import WeightGroups, Weights
from ssl_cli.training.seeding import reseed
from ssl_cli.training.throughput import Throughput

MakeOptimizer = Callable[[Weights], torch.optim.Optimizer]
# Optimizer steps taken, and a clock of the seconds gone (asked only where time counts) -> factor of the learning rate.
Schedule = Callable[[int, Callable[[], float]], float]
SHOWN = 10  # rows that a message names


class Learner(lightning.LightningModule):
    """`objective(batch)` gives a dict of scalar losses; the one called `loss` is minimised.

    `schedule` multiplies the learning rate. `watched` rows are only looked at, unless early stopping is on.
    """

    def __init__(
        self,
        method: nn.Module,
        train: ArrayDataset,
        val: ArrayDataset,
        make_optimizer: MakeOptimizer,
        schedule: Schedule,
        batch_size: int,
        seed: int,
    ):
        super().__init__()
        self.method = method
        self.train_rows, self.val_rows = train, val
        self.make_optimizer, self.schedule = make_optimizer, schedule
        self.batch_size, self.seed = batch_size, seed
        self.batches_per_epoch = InfiniteSampler(len(train), batch_size, seed).batches_per_epoch
        self._brought: dict[int, ArrayDataset] = {}  # on the device; rows that are learned and watched only once
        self._sums: dict[str, Tensor] = {}
        self._val_sums: dict[str, Tensor] = {}
        self._batches = self._n_val_rows = 0
        self._was_looked_at = False  # what the objective gives: once is enough
        self.nonfinite_loss = NonFiniteLoss()
        self._started = time.monotonic()
        self._throughput = Throughput()
        self.weight_groups = WeightGroups(method)
        self._gradient_norm: Tensor | None = None
        self._rates = [1.0]  # of each group of weights, as parts of the learning rate

    # --- data, from the step that is due ---

    def train_dataloader(self) -> DataLoader:
        start, rows = self.trainer.global_step * self.trainer.accumulate_grad_batches, self._at_hand(self.train_rows)
        rank, world = self.global_rank, self.trainer.world_size
        return endless_loader(
            rows, InfiniteSampler(len(rows), self.batch_size, self.seed, start, rank, world, rows.device)
        )

    def val_dataloader(self) -> DataLoader:
        rows = self._at_hand(self.val_rows)
        return ordered_loader(rows, rows.eval_batch_size)

    def _at_hand(self, rows: ArrayDataset) -> ArrayDataset:
        """On the device, where there is one, once; several take their shares from the host's memory."""
        if self.trainer.world_size > 1:
            return rows
        if id(rows) not in self._brought:
            self._brought[id(rows)] = rows.on(self.trainer.strategy.root_device)
        return self._brought[id(rows)]

    def on_after_batch_transfer(self, batch: dict[str, Any], _: int) -> dict[str, Any]:
        # Lightning has converted what was a number already; bytes take the model's precision here.
        arrays = {name: array for name, array in batch.items() if isinstance(array, Tensor)}
        images = {name: array for name, array in arrays.items() if array.dtype == torch.uint8}
        return batch | {name: numbers(array).to(self.dtype) for name, array in images.items()}

    # --- one step ---

    def training_step(self, batch: dict[str, Any], _: int) -> Tensor:
        self._throughput.start()
        k, weight = batch["k"], batch.pop("weight")  # an objective that warms up asks for k
        reseed(self.seed, k, self.global_rank, self.device)
        losses = self.method(batch)
        if not self._was_looked_at:
            check_losses(self.method, losses)
            self._was_looked_at = True
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach() * (weight / self.trainer.world_size)
        self._batches += 1
        self.nonfinite_loss.note(k, losses["loss"].detach())
        return losses["loss"] * weight

    def on_train_batch_end(self, *_: Any) -> None:
        if self.trainer.global_step == self.trainer.max_steps:
            self.trainer.should_stop = True  # so that the last step is validated too

    def on_validation_start(self) -> None:
        self._throughput.stop()

    def validation_step(self, batch: dict[str, Any], _: int) -> None:
        # The same noise at every validation and on every device: the curve shows the weights and not the draw, and
        # the devices find the same loss.
        reseed(self.seed, batch.pop("k"), 0, self.device)
        n_rows = int(batch.pop("weight"))
        for name, value in self.method(batch).items():
            self._val_sums[name] = self._val_sums.get(name, 0) + value * n_rows
        self._n_val_rows += n_rows

    # --- a loss that is no number any more ---

    def check_finite(self, saved_step: int) -> None:
        """Raise InputError where the loss, or what it has made of the weights, is no number: with its batch's rows."""
        taken = self.trainer.global_step * self.trainer.accumulate_grad_batches
        if self.nonfinite_loss.is_there():
            k, what = self.nonfinite_loss.batch, "The loss"
        elif taken and not finite(self.method.state_dict()):
            k, what = taken - 1, "A weight"
        else:
            return
        rows = self.train_rows.row_ids[InfiniteSampler(len(self.train_rows), self.batch_size, self.seed).batch(k)]
        console.note(f"rows of the batch that broke: {' '.join(str(row) for row in rows.tolist())}")
        shown = ", ".join(str(row) for row in rows[:SHOWN].tolist()) + (" and others" if len(rows) > SHOWN else "")
        last = f"The last good checkpoint is of step {saved_step}." if saved_step else "No checkpoint was written yet."
        raise InputError(
            f"{what} became NaN or infinite in step {k // self.trainer.accumulate_grad_batches + 1}, with the batch of "
            f"these {len(rows)} {self.train_rows.row_name} (the first is 0; log.txt has them all): {shown}. {last} "
            "Try a smaller optim.lr, or trainer.gradient_clip_val=1: both may change in a resumed run."
        )

    # --- what is told to the loggers, once a validation ---

    def on_validation_epoch_end(self) -> None:
        step = self.trainer.global_step
        row = {"epoch": step * self.trainer.accumulate_grad_batches / self.batches_per_epoch}
        row["seconds"] = self.elapsed_s()
        row["lr"] = self.trainer.optimizers[0].param_groups[0]["lr"]
        if self._gradient_norm is not None:
            row["train/grad_norm"] = float(self._gradient_norm)
            self._gradient_norm = None
        if counted := self.train_rows.throughput_unit:
            rows_per_s = self._throughput.batches_per_s() * min(self.batch_size, len(self.train_rows))
            row[f"train/{counted}_per_s"] = rows_per_s * self.train_rows.units_per_row
        row |= {f"train/{name}": total / max(self._batches, 1) for name, total in self._totals().items()}
        means = {name: float(total) / self._n_val_rows for name, total in self._val_sums.items()}
        if isinstance(self.method, DerivedMetrics):
            means |= self.method.derived_metrics(means)
        if isinstance(self.method, EpochMetrics):
            means |= self.method.epoch_metrics()
        row |= {f"{self.val_rows.split}/{name}": value for name, value in means.items()}
        for name in {"loss", monitor_of(self.method)}:
            self.log(f"watched/{name}", means[name], logger=False, sync_dist=self.trainer.world_size > 1, batch_size=1)
        self._sums, self._val_sums, self._batches, self._n_val_rows = {}, {}, 0, 0
        for logger in self.trainer.loggers:
            logger.log_metrics(row, step)

    def _shares(self) -> dict[str, Tensor]:
        """(world,) each device's part of the sums over the batches since the last validation"""
        if self.trainer.world_size == 1 or not self._sums:
            return {name: total.reshape(1) for name, total in self._sums.items()}
        mine = torch.stack(list(self._sums.values()))
        shares = [torch.empty_like(mine) for _ in range(self.trainer.world_size)]
        torch.distributed.all_gather(shares, mine)
        return dict(zip(self._sums, torch.stack(shares, dim=1), strict=True))

    def _totals(self) -> dict[str, float]:
        return {name: float(parts.sum()) for name, parts in self._shares().items()}

    # A row of the history spans the steps since the one before: a resumed run must know the part already gone.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # A checkpoint is written between two batches, where Lightning has already counted the next one as ready.
        loop = checkpoint["loops"]["fit_loop"]
        for progress in (loop["epoch_loop.batch_progress"], loop["epoch_progress"]):
            for count in (progress["total"], progress["current"]):
                count["processed"] = count["completed"]
        for count in (loop["epoch_loop.batch_progress"]["total"], loop["epoch_loop.batch_progress"]["current"]):
            count["ready"] = count["started"] = count["completed"]
        since = {"sums": self._shares(), "batches": self._batches, "elapsed_s": self.elapsed_s()}
        checkpoint["since_validation"] = since

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        part = checkpoint["since_validation"]
        for name, shares in part["sums"].items():
            if shares.numel() != self.trainer.world_size:  # the run goes on with another number of devices
                first = torch.arange(self.trainer.world_size) == 0
                shares = shares.sum() * first
            self._sums[name] = shares.reshape(-1)[self.global_rank].to(self.device)
        self._batches, self._started = part["batches"], time.monotonic() - part["elapsed_s"]

    # --- optimisation ---

    def elapsed_s(self) -> float:
        """Since the run began, without the time that it lay stopped."""
        return time.monotonic() - self._started

    def _agreed_elapsed_s(self) -> float:
        """That of the first process: all must have one learning rate."""
        mine = torch.tensor(self.elapsed_s(), dtype=torch.float64, device=self.device)
        if self.trainer.world_size > 1:
            torch.distributed.broadcast(mine, 0)
        return float(mine)

    def _lr_factor(self, step: int) -> float:
        return self.schedule(step, self._agreed_elapsed_s)

    def _scaled(self, rate: float, step: int) -> float:
        return rate * self._lr_factor(step)

    def is_validated_after(self, step: int) -> bool:
        is_due = step * self.trainer.accumulate_grad_batches % int(self.trainer.val_check_interval) == 0
        return is_due or step == self.trainer.max_steps

    def on_before_optimizer_step(self, _: torch.optim.Optimizer) -> None:
        """The last gradient before a validation is measured, before it is clipped."""
        if self.is_validated_after(self.trainer.global_step + 1):
            gradients = [weight.grad for weight in self.method.parameters() if weight.grad is not None]
            self._gradient_norm = torch.nn.utils.get_total_norm(gradients)

    def on_train_start(self) -> None:
        """A resumed run may have another learning rate than its checkpoint."""
        (schedule,) = self.trainer.lr_scheduler_configs
        optimizer = schedule.scheduler.optimizer
        base = optimizer.defaults["lr"]  # as it was made; a checkpoint restores the groups alone
        for group, rate in zip(optimizer.param_groups, self._rates, strict=True):
            if group["initial_lr"] != base:
                group["initial_lr"], group["lr"] = base, base * rate * self._lr_factor(schedule.scheduler.last_epoch)
        schedule.scheduler.base_lrs = [base] * len(schedule.scheduler.base_lrs)

    def configure_optimizers(self) -> Any:
        weights, self._rates = self.weight_groups.divided()
        optimizer = self.make_optimizer(weights)
        factors: list[Callable[[int], float]] = [partial(self._scaled, rate) for rate in self._rates]
        schedule = {"scheduler": LambdaLR(optimizer, factors), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def check_losses(objective: nn.Module, losses: Any) -> None:
    """Raise InputError where an objective, which may be the user's own, gives something else than it must."""
    if not isinstance(losses, dict):
        gives = f"a {type(losses).__name__}"
    elif "loss" not in losses:
        gives = f"one with {', '.join(map(str, losses)) or 'nothing in it'}"
    elif odd := [name for name, value in losses.items() if not isinstance(value, Tensor) or value.ndim]:
        value = losses[odd[0]]
        kind = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        gives = f"one whose {odd[0]} is {kind}"
    else:
        return
    raise InputError(
        f"{type(objective).__name__}.forward must give a dict of scalar tensors, one of them called loss; "
        f"it gives {gives}."
    )
