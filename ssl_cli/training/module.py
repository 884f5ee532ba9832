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
from ssl_cli.data.batches import IndexStream, Rows, endless_loader, ordered_loader
from ssl_cli.errors import InputError
from ssl_cli.methods.protocols import CountsOverEpoch, Derives, best_by
from ssl_cli.models.images import numbers
from ssl_cli.training.checkpoints import finite
from ssl_cli.training.nonfinite import Breakage
from ssl_cli.training.optim import WeightGroups, Weights
from ssl_cli.training.seeding import reseed
from ssl_cli.training.throughput import Pace

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
        objective: nn.Module,
        train: Rows,
        watched: Rows,
        make_optimizer: MakeOptimizer,
        schedule: Schedule,
        batch_size: int,
        seed: int,
    ):
        super().__init__()
        self.objective = objective
        self.train_rows, self.watched = train, watched
        self.make_optimizer, self.schedule = make_optimizer, schedule
        self.batch_size, self.seed = batch_size, seed
        self.batches_per_epoch = IndexStream(len(train), batch_size, seed).batches_per_epoch
        self._brought: dict[int, Rows] = {}  # on the device; rows that are learned and watched only once
        self._sums: dict[str, Tensor] = {}
        self._watched_sums: dict[str, Tensor] = {}
        self._batches = self._watched_rows = 0
        self._was_looked_at = False  # what the objective gives: once is enough
        self.breakage = Breakage()
        self._started = time.monotonic()
        self._pace = Pace()
        self.weight_groups = WeightGroups(objective)
        self._gradient_norm: Tensor | None = None
        self._rates = [1.0]  # of each group of weights, as parts of the learning rate

    # --- data, from the step that is due ---

    def train_dataloader(self) -> DataLoader:
        start, rows = self.trainer.global_step * self.trainer.accumulate_grad_batches, self._at_hand(self.train_rows)
        rank, world = self.global_rank, self.trainer.world_size
        return endless_loader(rows, IndexStream(len(rows), self.batch_size, self.seed, start, rank, world, rows.device))

    def val_dataloader(self) -> DataLoader:
        rows = self._at_hand(self.watched)
        return ordered_loader(rows, rows.watched_at_once)

    def _at_hand(self, rows: Rows) -> Rows:
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
        self._pace.go_on()
        k, weight = batch["k"], batch.pop("weight")  # an objective that warms up asks for k
        reseed(self.seed, k, self.global_rank, self.device)
        losses = self.objective(batch)
        if not self._was_looked_at:
            refuse_no_losses(self.objective, losses)
            self._was_looked_at = True
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach() * (weight / self.trainer.world_size)
        self._batches += 1
        self.breakage.note(k, losses["loss"].detach())
        return losses["loss"] * weight

    def on_train_batch_end(self, *_: Any) -> None:
        if self.trainer.global_step == self.trainer.max_steps:
            self.trainer.should_stop = True  # so that the last step is validated too

    def on_validation_start(self) -> None:
        self._pace.pause()

    def validation_step(self, batch: dict[str, Any], _: int) -> None:
        # The same noise at every validation and on every device: the curve shows the weights and not the draw, and
        # the devices find the same loss.
        reseed(self.seed, batch.pop("k"), 0, self.device)
        n_rows = int(batch.pop("weight"))
        for name, value in self.objective(batch).items():
            self._watched_sums[name] = self._watched_sums.get(name, 0) + value * n_rows
        self._watched_rows += n_rows

    # --- a loss that is no number any more ---

    def refuse_broken(self, saved_step: int) -> None:
        """Raise InputError where the loss, or what it has made of the weights, is no number: with its batch's rows."""
        taken = self.trainer.global_step * self.trainer.accumulate_grad_batches
        if self.breakage.is_there():
            k, what = self.breakage.batch, "The loss"
        elif taken and not finite(self.objective.state_dict()):
            k, what = taken - 1, "A weight"
        else:
            return
        rows = self.train_rows.number[IndexStream(len(self.train_rows), self.batch_size, self.seed).batch(k)]
        console.note(f"rows of the batch that broke: {' '.join(str(row) for row in rows.tolist())}")
        shown = ", ".join(str(row) for row in rows[:SHOWN].tolist()) + (" and others" if len(rows) > SHOWN else "")
        last = f"The last good checkpoint is of step {saved_step}." if saved_step else "No checkpoint was written yet."
        raise InputError(
            f"{what} became NaN or infinite in step {k // self.trainer.accumulate_grad_batches + 1}, with the batch of "
            f"these {len(rows)} {self.train_rows.named} (the first is 0; log.txt has them all): {shown}. {last} "
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
        if counted := self.train_rows.counted:
            rows_per_s = self._pace.batches_per_s() * min(self.batch_size, len(self.train_rows))
            row[f"train/{counted}_per_s"] = rows_per_s * self.train_rows.per_row
        row |= {f"train/{name}": total / max(self._batches, 1) for name, total in self._totals().items()}
        means = {name: float(total) / self._watched_rows for name, total in self._watched_sums.items()}
        if isinstance(self.objective, Derives):
            means |= self.objective.derived(means)
        if isinstance(self.objective, CountsOverEpoch):
            means |= self.objective.over_epoch()
        row |= {f"{self.watched.split}/{name}": value for name, value in means.items()}
        for name in {"loss", best_by(self.objective)}:
            self.log(f"watched/{name}", means[name], logger=False, sync_dist=self.trainer.world_size > 1, batch_size=1)
        self._sums, self._watched_sums, self._batches, self._watched_rows = {}, {}, 0, 0
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
            gradients = [weight.grad for weight in self.objective.parameters() if weight.grad is not None]
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


def refuse_no_losses(objective: nn.Module, losses: Any) -> None:
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
