"""Report of a finished pretraining run on speech: figures, report.html in its folder, and a summary on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_cli import console
from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.windows import SpeechWindows
from ssl_cli.evaluation.html import REPORT, Figure, Metric, Note, Section, format_number, metrics_section, write_report
from ssl_cli.evaluation.plots import curves, frame_predictions
from ssl_cli.evaluation.plots.frame_predictions import PredictedUtterance
from ssl_cli.methods.scoring import device_of
from ssl_cli.methods.speech.frame_protocols import LearnsFromFrames
from ssl_cli.methods.speech.masked_frames import MaskedFrames
from ssl_cli.runs.folder import CONFIG, HISTORY, METRICS, read_history
from ssl_cli.training.seeding import reseed

N_SHOWN = 3  # utterances in the figure
CURVES = {  # y-axis -> columns of history.csv
    "loss": ["train/loss", "val/loss"],
    "accuracy on masked frames": ["train/masked_accuracy", "val/masked_accuracy"],
    "learning rate": ["lr"],
    "gradient norm": ["train/grad_norm"],
    "training frames per second": ["train/frames_per_s"],
}
MEANINGS = {
    "val/loss": "the training loss: nats per masked frame, or the mean absolute difference in standard deviations",
    "val/masked_accuracy": "share of masked frames whose unit is predicted",
    "val/bits_per_frame": "bits per masked frame",
    "train/frames_per_s": "training frames per second",
}
OF_MASKED = (
    "Held-out utterances: the frames with the masked spans shaded; the same with what is predicted of them, and the "
    "unit of each frame, where a circle is a right prediction and a cross a wrong one."
)
OF_NEXT = "Held-out utterances: the frames, and below each the prediction from the frames a few steps before it."
OF_UNITS = "How many of the held-out frames are of each unit, and the middle frame of its center."


def draw(folder: Path, model: Any, held_out: SpeechWindows, data: SpeechData, seed: int) -> list[Figure]:
    """Draw the curves, predictions for held-out utterances, and the units if there are any, into the run folder."""
    figures, drawn = folder / "figures", []
    if history := read_history(folder / HISTORY):
        curves.history_panels(figures / "training.png", "Learning", history, CURVES)
        drawn.append(Figure("training.png", "Loss, accuracy and optimizer over the steps; val is not trained on."))
    shown, is_masked = predicted_utterances(model, held_out, data, seed), isinstance(model, MaskedFrames)
    seconds = 1 / data.reader.settings.frames_per_s
    frame_predictions.predictions(figures / "predictions.png", shown, seconds, is_masked)
    drawn.append(Figure("predictions.png", OF_MASKED if is_masked else OF_NEXT))
    if isinstance(model, MaskedFrames) and model.target == "units":
        counts = count_units(model, held_out)
        frame_predictions.unit_use(figures / "units.png", counts, model.unit_frames.cpu().numpy())
        drawn.append(Figure("units.png", f"{OF_UNITS} {int((counts > 0).sum())} of {len(counts)} units occur."))
    return drawn


def predicted_utterances(
    model: LearnsFromFrames, held_out: SpeechWindows, data: SpeechData, seed: int
) -> list[PredictedUtterance]:
    """Return a few held-out utterances, evenly spaced, with what the model predicts of them."""
    which = torch.linspace(0, len(held_out) - 1, min(N_SHOWN, len(held_out))).round().long()
    names = data.splits.get("val", data.splits["train"]).names
    device = device_of(model)
    reseed(seed, 0, 0, device)
    batch = held_out[0, which, 1.0]
    with torch.inference_mode():
        out = model.predict_frames({name: batch[name].to(device) for name in ("frames", "length")})
    arrays: Any = [None if part is None else part.float().cpu().numpy() for part in out]
    shown = []
    for row, (utterance, length) in enumerate(zip(which.tolist(), batch["length"].tolist(), strict=True)):
        own = batch["frames"][row, :length].cpu().numpy()
        predictions: Any = [None if part is None else part[row, :length] for part in arrays]
        shown.append(PredictedUtterance(names[utterance], own, predictions[0] > 0, *predictions[1:]))
    return shown


def count_units(model: MaskedFrames, held_out: SpeechWindows) -> np.ndarray:
    """Return how many held-out frames are of each unit, (K,)."""
    counts = torch.zeros(model.n_units, dtype=torch.int64)
    for start in range(0, len(held_out), held_out.eval_batch_size):
        batch = held_out[0, slice(start, start + held_out.eval_batch_size), 1.0]
        valid = torch.arange(batch["frames"].shape[1]) < batch["length"][:, None]
        units = model.target_units(batch["frames"].to(model.centers.device)).cpu()[valid]
        counts += torch.bincount(units, minlength=model.n_units)
    return counts.numpy()


def write(
    folder: Path, chosen: Mapping[str, object], metrics: Mapping[str, float], figures: Sequence[Figure]
) -> None:
    """Write the report: choices, metrics and figures."""
    note = Note("Metrics of val are of held-out utterances; docs/speech.md has the formulas.")
    sections = [metrics_section([Metric(*row) for row in _rows(metrics)], note), Section("Figures", figures)]
    write_report(folder, "pretrain", (folder / CONFIG).read_text(), chosen, sections)


def print_summary(metrics: Mapping[str, float], figures: Sequence[Figure]) -> None:
    """Print the metrics and the names of the files."""
    rows = [list(row) for row in _rows(metrics)]
    console.say(console.table("", ["metric", "value", "meaning"], rows, right={"value"}))
    names = ", ".join(figure.name.removesuffix(".png") for figure in figures)
    console.say(f"\nfigures: {names}; report: {REPORT}; metrics: {METRICS}")


def _rows(metrics: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Return the key, value and meaning of each metric."""
    return [(key, format_number(value), MEANINGS.get(key) or _meaning_of_probe(key)) for key, value in metrics.items()]


def _meaning_of_probe(key: str) -> str:
    """Return the meaning of test/word_probe_10_mean and the like; "" for another metric."""
    name, is_probe, rest = key.removeprefix("test/").partition("word_probe_")
    n, _, pool = rest.partition("_")
    of = "log-mels" if name else "the last layer"
    return f"accuracy of words by a linear probe of {of}, {pool}, from {n} labels: mean of 5 draws" if is_probe else ""
