"""Inference on many examples, in order: as a validation during training, with its batches and its precision.

So `ssl predict` gives the numbers that fine-tuning wrote for the same examples, bit for bit on the same machine.
"""

from contextlib import nullcontext
from typing import Literal

import torch
from omegaconf import DictConfig, OmegaConf

from ssl_cli.data.batches import ArrayDataset, ordered_loader
from ssl_cli.methods.protocols import WritesText
from ssl_cli.methods.scoring import device_of
from ssl_cli.methods.supervised.head import RawPredictions, SupervisedMethod
from ssl_cli.models.cpu import has_bf16, tuned_for_large_matmuls

Precision = Literal["auto", "32-true", "bf16-mixed"]
AUTO = "auto"
TEXTS_IN_MEMORY = 2048  # sources that are sorted by length and written in smaller batches
AUTOCAST_TYPES = {"bf16-mixed": torch.bfloat16, "bf16-true": torch.bfloat16, "16-mixed": torch.float16}


def predict_all(model: SupervisedMethod, rows: ArrayDataset, precision: str) -> RawPredictions:
    """Return the raw predictions of all rows, computed on the model's device, with Lightning's `precision`.

    A model in evaluation mode is required. Autocast converts each matrix once, not for each batch.
    """
    device = device_of(model)
    dtype = AUTOCAST_TYPES.get(precision)
    autocast = nullcontext() if dtype is None else torch.autocast(device.type, dtype)
    tuned = tuned_for_large_matmuls() if device.type == "cpu" else nullcontext()
    with torch.inference_mode(), tuned, autocast:
        n_rows = TEXTS_IN_MEMORY if isinstance(model, WritesText) else rows.eval_batch_size
        loader = ordered_loader(rows.on(device), n_rows)
        return [prediction for batch in loader for prediction in model.predict_batch(batch)]


def precision_of(cfg: DictConfig, device: torch.device) -> str:
    """Return the precision in which a finished run was validated, with `auto` resolved for this device."""
    precision = str(OmegaConf.select(cfg, "trainer.precision", default=AUTO))
    if precision != AUTO:
        return precision
    return "bf16-mixed" if has_bf16(device) else "32-true"
