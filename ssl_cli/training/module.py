"""The LightningModule: trains any method with one optimizer.

Every random draw of batch k (dropout, noise, masks) follows from (seed, k), because the generators are reseeded for
each batch. So a run resumed at step k repeats what an uninterrupted run does. Optimization is manual: one call of
`training_step` takes a stretch of steps (`stretches`).
"""

import functools
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.plugins.precision import FSDPPrecision, MixedPrecision
from pytorch_lightning.strategies import ParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.utils.data import DataLoader

from ssl_cli.data.batches import ArrayDataset, InfiniteSampler, batch_stream, ordered_loader
from ssl_cli.methods.training_protocols import DerivedMetrics, EpochMetrics, monitor_of
from ssl_cli.models.images import to_float
from ssl_cli.training.checkpoint_record import Validation
from ssl_cli.training.checkpoints import all_finite
from ssl_cli.training.limits import share_done
from ssl_cli.training.loss_checks import NonFiniteLoss, check_losses, nonfinite_error
from ssl_cli.training.means import LossMeans, ValidationMeans
from ssl_cli.training.optim import LRSchedule, OptimizerFactory, WeightGroups, clear_gradients
from ssl_cli.training.seeding import reseed
from ssl_cli.training.stretches import StepSettings, StretchLength
from ssl_cli.training.throughput import Throughput

MONITORED = "monitored/"  # prefix of the logged values that early stopping and the progress bar read
NEVER = sys.maxsize  # Lightning batches until the next validation, where none is due


class Learner(lightning.LightningModule):
    """Minimises `method(batch)["loss"]`; the method returns a dict of scalar losses.

    `schedule` multiplies the learning rate. The `val` rows have no effect unless early stopping is on.
    """

    automatic_optimization = False

    def __init__(
        self,
        method: nn.Module,
        train: ArrayDataset,
        val: ArrayDataset,
        make_optimizer: OptimizerFactory,
        schedule: LRSchedule,
        settings: StepSettings,
    ):
        super().__init__()
        self.method = method
        self.train_rows, self.val_rows = train, val
        self.make_optimizer, self.schedule, self.settings = make_optimizer, schedule, settings
        due = (settings.validate_every_n_steps, settings.checkpoint_every_n_steps)
        self._stretch = StretchLength(due, settings.max_steps)
        self.done = 0.0  # the share of the run before this step
        self.step = 0  # optimizer steps taken; Lightning counts stretches
        self.after_step: list[Callable[[], None]] = []  # what callbacks do after each step
        self._rows_on_device: dict[int, ArrayDataset] = {}  # by id: the rows of training may also be of validation
        self._means, self._val_means = LossMeans(), ValidationMeans()
        self.validation: Validation = {}  # the newest
        self.live_metrics: dict[str, float] = {}  # that a callback adds to the next row of the history
        self._losses_are_checked = False
        self.nonfinite_loss = NonFiniteLoss()
        self._started_s, self._throughput = time.monotonic(), Throughput()
        self.weight_groups = WeightGroups(method)
        self._gradient_norm: Tensor | None = None

    # --- data, from the next step on ---

    def _sampler(self, **share: Any) -> InfiniteSampler:
        rows, size, limit = len(self.train_rows), self.settings.batch_size, self.settings.batches_per_epoch
        return InfiniteSampler(rows, size, self.settings.seed, limit_batches=limit, **share)

    def train_dataloader(self) -> Iterable[Iterator[dict[str, Any]]]:
        """Return what Lightning takes its batches from: each is the same endless stream, from the next step on."""
        rows, first = self._on_device(self.train_rows), self.step * self.settings.accumulate_grad_batches
        world = self.trainer.world_size
        sampler = self._sampler(start=first, rank=self.global_rank, world=world, device=rows.device)
        return itertools.repeat(batch_stream(rows, sampler))

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

    def on_before_batch_transfer(self, batch: Any, _: int) -> Any:
        """Return a validation batch as the method takes it; a stretch prepares its batches one by one."""
        return batch if isinstance(batch, Iterator) else self._prepared(batch, self.device)

    def _prepared(self, batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
        """Return a batch on the device, with images as numbers and all numbers in the model's precision."""
        batch = self.trainer.precision_plugin.convert_input(batch)
        for name, array in batch.items():
            if isinstance(array, Tensor):
                array = array if array.device == device else array.to(device, non_blocking=True)
                batch[name] = to_float(array).to(self.dtype) if array.dtype == torch.uint8 else array
        return batch

    # --- a stretch of steps ---

    def training_step(self, batches: Iterator[dict[str, Any]], _: int) -> None:
        """Take a stretch of optimizer steps on the next batches of the stream."""
        started_s, per_step = time.perf_counter(), self.settings.accumulate_grad_batches
        n_steps = self._stretch.choose(self.step, self.trainer.world_size, self.device)
        # Lightning opens autocast for the whole stretch, but it is for the forward passes alone.
        with torch.autocast(self.device.type, enabled=False):
            for _ in range(n_steps):
                self._take_step(itertools.islice(batches, per_step))
                self._set_lr()
                for hook in self.after_step:
                    hook()
        elapsed_s = time.perf_counter() - started_s
        self._throughput.add(n_steps * per_step, elapsed_s)
        self._stretch.observe(n_steps, elapsed_s)
        self.trainer.should_stop |= self.step == self.settings.max_steps
        self.trainer.val_check_batch = 1 if self.is_validated_after(self.step) else NEVER

    def _take_step(self, batches: Iterable[dict[str, Any]]) -> None:
        """Take the optimizer's step on the gradients of some batches."""
        for batch in batches:
            weight = batch.pop("weight")
            self._means.add(self._add_gradient(batch, weight, self.method), weight / self.trainer.world_size)
        self.step += 1
        self._update_weights(*self.trainer.optimizers)

    def _add_gradient(self, batch: dict[str, Any], weight: float, losses_of: Callable[..., Any]) -> dict[str, Tensor]:
        """Add the gradient of a batch's loss, weighted by this process's share of its rows; return the losses."""
        k, trainer, device = batch["k"], self.trainer, self.device
        reseed(self.settings.seed, k, trainer.global_rank, device)
        with trainer.precision_plugin.forward_context():
            losses = losses_of(self._prepared(batch, device) | {"progress": self.done})  # for a causal start, say
        if not self._losses_are_checked:
            check_losses(self.method, losses)
            self._losses_are_checked = True
        loss, share = losses["loss"], weight / self.settings.accumulate_grad_batches
        self.nonfinite_loss.record(k, loss.detach())
        with self._without_reduction(k):
            self._backward(loss if share == 1 else loss * share)
        return losses

    def _without_reduction(self, k: int) -> AbstractContextManager[Any]:
        """Return a context in which processes keep their gradients, unless batch `k` is the last of its step."""
        if (k + 1) % self.settings.accumulate_grad_batches == 0 or self.trainer.world_size == 1:
            return nullcontext()
        assert isinstance(self.trainer.strategy, ParallelStrategy)
        return self.trainer.strategy.block_backward_sync()

    def _backward(self, loss: Tensor) -> None:
        self.trainer.strategy.pre_backward(loss)
        scaler = self._loss_scaler()
        (loss if scaler is None else scaler.scale(loss)).backward()

    def _update_weights(self, optimizer: torch.optim.Optimizer) -> None:
        """Update an optimizer's weights by their gradients, and clear these."""
        scaler = self._loss_scaler()
        if scaler is not None:
            scaler.unscale_(optimizer)
        if self.is_validated_after(self.step):  # the last gradient before a validation, unclipped
            gradients = [weight.grad for weight in self.method.parameters() if weight.grad is not None]
            self._gradient_norm = torch.nn.utils.get_total_norm(gradients)
        if self.settings.gradient_clip_val:
            self.clip_gradients(optimizer, self.settings.gradient_clip_val, "norm")
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        clear_gradients(optimizer)

    def _loss_scaler(self) -> torch.amp.GradScaler | None:
        """Return what scales the loss in 16-mixed, so that small gradients are not rounded to 0."""
        plugin = self.trainer.precision_plugin
        return plugin.scaler if isinstance(plugin, MixedPrecision | FSDPPrecision) else None

    # --- validation ---

    def validation_step(self, batch: dict[str, Any], _: int) -> None:
        """Add the losses of a batch to the sums, with the same noise at every validation and on every device.

        So the curve shows the weights and not the draw, and all devices compute the same loss.
        """
        reseed(self.settings.seed, batch.pop("k"), 0, self.device)
        n_rows = int(batch.pop("weight"))
        self._val_means.add(self.method(batch), n_rows)

    def check_finite(self, saved_step: int) -> None:
        """Raise InputError, with the rows of the batch, if a loss or a weight has become NaN or infinite."""
        per_step = self.settings.accumulate_grad_batches
        if self.nonfinite_loss.occurred():
            k, what = self.nonfinite_loss.batch, "The loss"
        elif self.step and not all_finite(self.method.state_dict()):
            k, what = self.step * per_step - 1, "A weight"
        else:
            return
        row_ids = self.train_rows.row_ids[self._sampler().batch(k)]
        raise nonfinite_error(what, k // per_step + 1, row_ids, self.train_rows.row_name, saved_step)

    # --- rows for the loggers, once a validation ---

    def on_validation_epoch_end(self) -> None:
        """Send a row of the history to the loggers: mean training losses since the last one, and validation metrics."""
        step = self.step
        lr = self.trainer.optimizers[0].param_groups[0]["lr"]
        row = {"epoch": self.epoch(), "seconds": self.elapsed_s(), "lr": lr, **self.live_metrics}
        if self._gradient_norm is not None:
            row["train/grad_norm"] = float(self._gradient_norm)
            self._gradient_norm = None
        if unit := self.train_rows.throughput_unit:
            rows_per_s = self._throughput.batches_per_s() * min(self.settings.batch_size, len(self.train_rows))
            row[f"train/{unit}_per_s"] = rows_per_s * self.train_rows.units_per_row
        row |= {f"train/{name}": mean for name, mean in self._means.take(self.trainer.world_size, self.device).items()}
        metrics = self._val_metrics()
        row |= {f"{self.val_rows.split}/{name}": value for name, value in metrics.items()}
        several, monitored = self.trainer.world_size > 1, sorted({"loss", monitor_of(self.method)})
        self.validation = {"step": step} | {f"{self.val_rows.split}/{name}": metrics[name] for name in monitored}
        for name in monitored:
            self.log(f"{MONITORED}{name}", metrics[name], logger=False, sync_dist=several, batch_size=1)
        for logger in self.trainer.loggers:
            logger.log_metrics(row, step)

    def _val_metrics(self) -> dict[str, float]:
        """Return the mean losses over the validation rows, and the metrics that the method computes."""
        metrics = self._val_means.take()
        method = self.method.module if isinstance(self.method, FullyShardedDataParallel) else self.method
        if isinstance(method, DerivedMetrics):
            metrics |= method.derived_metrics(metrics)
        if isinstance(method, EpochMetrics):
            metrics |= method.epoch_metrics()
        return metrics

    # --- checkpoints ---

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the record, the time, and the means since the last validation, which are to be in the next row."""
        monitor = f"{self.val_rows.split}/{monitor_of(self.method)}"
        record = {"epoch": self.epoch(), "monitor": monitor, "validation": self.validation}
        progress = {"step": self.step, "elapsed_s": self.elapsed_s()} | record
        checkpoint["progress"] = progress | {"means": self._means.state(self.trainer.world_size, self.device)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore them, also on another number of devices."""
        progress = checkpoint["progress"]
        self.step, self._started_s = progress["step"], time.monotonic() - progress["elapsed_s"]
        self.validation = progress.get("validation", {})
        self._means.restore(progress["means"], self.global_rank, self.trainer.world_size)

    # --- optimisation ---

    def epoch(self) -> float:
        """Return the passes over the training rows so far."""
        return self.step * self.settings.accumulate_grad_batches / self.settings.batches_per_epoch

    def elapsed_s(self) -> float:
        """Return the seconds since the run began, without the time that it was stopped."""
        return time.monotonic() - self._started_s

    def _shared_elapsed_s(self) -> float:
        """Return the elapsed time of the first process, by which all go."""
        elapsed_s = torch.tensor(self.elapsed_s(), dtype=torch.float64, device=self.device)
        if self.trainer.world_size > 1:
            torch.distributed.broadcast(elapsed_s, 0)
        return float(elapsed_s)

    def is_validated_after(self, step: int) -> bool:
        """Return whether a validation follows this step."""
        return step % self.settings.validate_every_n_steps == 0 or step == self.settings.max_steps

    def on_fit_start(self) -> None:
        """Set the learning rate of the next step, from the config: a resumed run may have another one."""
        self.trainer.should_stop |= self.step == self.settings.max_steps
        self._set_lr()

    def _set_lr(self) -> None:
        """Set the learning rate of each group of weights for the next step, and how much of the run precedes it."""
        clock = functools.cache(self._shared_elapsed_s)
        factor = self.schedule(self.step, clock)
        self.done = share_done(self.step, self.settings.max_steps, clock, self.settings.max_s)
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = optimizer.defaults["lr"] * (group.get("lr_scale", 1.0) * factor)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return the optimizer over the groups of weights."""
        return [self.make_optimizer(self.weight_groups.split())]
