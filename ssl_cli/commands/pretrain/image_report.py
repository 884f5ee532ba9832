"""Report of a finished pretraining run on images: figures, report.html in its folder, and a summary on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.pretrain.image_probes import DRAWS, FEW_LABELS, NAMES, Table
from ssl_cli.commands.reconstruct.collapse import CollapseWarning
from ssl_cli.commands.reconstruct.latent_plots import MAX_MAPPED, MIN_MAPPED, draw_map
from ssl_cli.data.images.datasets import ImageData
from ssl_cli.evaluation.html import (
    REPORT,
    Alert,
    Block,
    Figure,
    Metric,
    Note,
    PageTable,
    Section,
    format_number,
    metrics_section,
    write_report,
)
from ssl_cli.evaluation.metrics.representations import unit_rows
from ssl_cli.evaluation.plots import curves, image_grid
from ssl_cli.methods.protocols import AdvisesOnCollapse, LearnsFromImages
from ssl_cli.methods.scoring import device_of
from ssl_cli.models.images import to_float, to_uint8
from ssl_cli.runs.folder import CONFIG, HISTORY, METRICS, read_history
from ssl_cli.runs.outputs import output_folder
from ssl_cli.training import live_probes
from ssl_cli.training.live_probes import vectors
from ssl_cli.training.seeding import reseed

BATCH_VIEW = "batch.png"
N_SHOWN, N_QUERIES, N_NEAREST = 10, 12, 8
MAX_SEARCHED = 10_000  # training images among which neighbours are shown
CURVES = {  # y-axis -> columns of history.csv
    "loss": ["train/loss", "val/loss"],
    **live_probes.CURVES,
    "learning rate": ["lr"],
    "gradient norm": ["train/grad_norm"],
    "training images per second": ["train/images_per_s"],
}
MEANINGS = {
    "val/loss": "the training loss, of random views of held-out images",
    "val/pair_accuracy": "share of views whose other view is the nearest of the batch",
    "val/invariance": "squared distance of the projections of an image's views from their mean",
    "val/gaussian": "distance of the projections to a Gaussian; smaller is better",
    "val/knn_accuracy": "accuracy of a vote of the 20 nearest training images, on held-out ones",
    "val/linear_accuracy": "accuracy of a linear classifier of the vectors, on held-out images",
    "val/effective_rank": "how many directions the vectors use, at most their width (RankMe)",
    "val/alignment": "squared distance of two views of an image; smaller is better",
    "val/uniformity": "how evenly vectors are spread; smaller is better, 0 is one point",
    "train/images_per_s": "training images per second",
}
COLUMNS = {"knn_accuracy": "20 neighbours"}
COLUMNS |= {f"linear_accuracy_{n}": f"linear, {n:,} labels" for n in FEW_LABELS}
COLUMNS |= {"linear_accuracy": "linear, all labels"}
# Below these effective ranks (a number, and a share of the width) or above this uniformity, vectors have collapsed.
MIN_RANK, MIN_RANK_SHARE, MAX_UNIFORMITY = 1.5, 0.05, -0.5
COLLAPSED = "collapsed vectors"


# --- figures ------------------------------------------------------------------------------------------------


def show_batch(cfg: DictConfig, model: Any, data: ImageData) -> None:
    """Draw what the model reads in its first step into a PNG in a new folder of the outputs, and print where."""
    parent = Path(cfg.paths.outputs) / "show" / f"{cfg.choices.model}-{cfg.choices.data}"
    with output_folder(None, False, parent) as (folder, place):
        captions = draw_pictures(folder / BATCH_VIEW, model, data, cfg.seed)
    console.say(f"{place / BATCH_VIEW}: from the top {', '.join(captions)}")


def draw_pictures(path: Path, model: LearnsFromImages, data: ImageData, seed: int) -> list[str]:
    """Draw training images, and below each what the model reads or makes of it; return the captions of the rows."""
    shown = evenly_spaced(data.splits["train"].x, N_SHOWN)
    device = device_of(model)
    with torch.random.fork_rng(), torch.inference_mode():
        reseed(seed, 0, 0, device)
        pictures = model.pictures({"x": to_float(torch.from_numpy(shown).to(device))})
    image_grid.columns(path, [to_uint8(each).cpu().numpy() for each in pictures.values()])
    return list(pictures)


def draw(folder: Path, model: Any, data: ImageData, seed: int) -> list[Figure]:
    """Draw the curves, what the model reads, the nearest images of some, and a map, into the run folder."""
    figures, drawn = folder / "figures", []
    if history := read_history(folder / HISTORY):
        curves.history_panels(figures / "training.png", "Learning", history, CURVES)
        drawn.append(Figure("training.png", "Losses, live probes and optimizer over the steps; val is not trained on."))
    captions = draw_pictures(figures / "views.png", model, data, seed)
    drawn.append(Figure("views.png", f"From the top: {', '.join(captions)}."))
    test, train = evenly_spaced(data.splits["test"].x, MAX_MAPPED), evenly_spaced(data.splits["train"].x, MAX_SEARCHED)
    codes = vectors(model, test)
    draw_neighbours(figures / "neighbours.png", test, codes, train, vectors(model, train))
    caption = "Left, test images; right of each, the training images with the nearest vectors, by cosine."
    drawn.append(Figure("neighbours.png", caption))
    if len(codes) >= MIN_MAPPED and codes.std() > 0:
        label = data.splits["test"].label
        known = np.full(len(codes), -1) if label is None else evenly_spaced(label, MAX_MAPPED)
        draw_map(figures / "map.png", codes, [data.classes[k] if k >= 0 else None for k in known], "tsne", seed)
        drawn.append(Figure("map.png", "The vectors of test images on a plane, by t-SNE: neighbours stay together."))
    return drawn


def draw_neighbours(path: Path, x: np.ndarray, codes: np.ndarray, train: np.ndarray, of_train: np.ndarray) -> None:
    """Draw evenly spaced images of x (N, C, H, W), each beside the nearest training images."""
    cosine = unit_rows(evenly_spaced(codes, N_QUERIES)) @ unit_rows(of_train).T
    nearest = np.argsort(-cosine, axis=1)[:, :N_NEAREST]
    image_grid.lines(path, evenly_spaced(x, N_QUERIES), [train[row] for row in nearest])


def evenly_spaced(x: np.ndarray, n: int) -> np.ndarray:
    """Return n of the rows (N, ...), or all of fewer: they may be sorted by class."""
    return x[np.linspace(0, len(x) - 1, min(n, len(x))).round().astype(np.int64)]


# --- the page -----------------------------------------------------------------------------------------------


def collapse_warnings(history: Sequence[Mapping[str, float]], model: Any) -> list[CollapseWarning]:
    """Return a warning if the vectors of held-out images lie near one line or point, with what to try."""
    row = history[-1] if history else {}
    rank, uniformity = row.get("val/effective_rank"), row.get("val/uniformity", -4.0)
    enough = max(MIN_RANK, MIN_RANK_SHARE * model.network.width)
    if rank is None or (rank >= enough and uniformity <= MAX_UNIFORMITY):
        return []
    advice = "more steps, or a smaller optim.lr"
    if isinstance(model, AdvisesOnCollapse):
        advice += f", or {model.collapse_advice(COLLAPSED, round(rank))}"
    return [
        CollapseWarning(
            COLLAPSED,
            f"Collapse: the vectors of held-out images use {rank:.1f} of {model.network.width} directions, and their "
            f"uniformity is {uniformity:.2f} (0 is one point): different images look alike to the network. Try "
            f"{advice}.",
        )
    ]


def loss_note(history: Sequence[Mapping[str, float]]) -> str:
    """Return whether a loss that does not fall is normal, by what the live probes of this run say."""
    rows = [row for row in history if "val/knn_accuracy" in row]
    general = (
        "The loss of these methods does not measure how good the vectors are: to distinguish views becomes harder as "
        "the network becomes better, and hidden patches can be rebuilt without knowing what an image shows. It cannot "
        "reach 0. Judge a run by the live probes."
    )
    if len(rows) < 2:
        return general
    first, last = rows[0], rows[-1]
    return (
        f"{general} Here val/loss went from {first['val/loss']:.4g} to {last['val/loss']:.4g}, and the accuracy of "
        f"neighbours from {first['val/knn_accuracy']:.1%} to {last['val/knn_accuracy']:.1%}."
    )


def write(
    folder: Path,
    chosen: Mapping[str, object],
    metrics: Mapping[str, float],
    table: Table,
    figures: Sequence[Figure],
    warnings: Sequence[CollapseWarning],
) -> None:
    """Write the report: warnings, choices, metrics, probes and figures."""
    opening: list[Block] = [Alert(warning.text) for warning in warnings]
    note = Note(loss_note(read_history(folder / HISTORY)))
    sections = [metrics_section([Metric(*row) for row in _rows(metrics)], note)]
    if table:
        columns, rows = probe_table(table)
        about = Note(
            f"Accuracy on test images of classifiers that read the features of training images; with few labels the "
            f"mean of {DRAWS} draws, the same for all features."
        )
        sections.append(Section("Probes", [about, PageTable(columns, rows, numbers=set(columns[1:]))]))
    sections.append(Section("Figures", figures))
    write_report(folder, "pretrain", (folder / CONFIG).read_text(), chosen, sections, opening)


def probe_table(table: Table) -> tuple[list[str], list[list[str]]]:
    """Return the columns of the table of probes, and a row for each feature."""
    metrics = [name for name in COLUMNS if any(name in row for row in table.values())]
    rows = [
        [NAMES[name], *(f"{row[metric]:.1%}" if metric in row else "" for metric in metrics)]
        for name, row in table.items()
    ]
    return ["accuracy of a probe", *(COLUMNS[metric] for metric in metrics)], rows


def print_summary(
    metrics: Mapping[str, float], table: Table, figures: Sequence[Figure], warnings: Sequence[CollapseWarning]
) -> None:
    """Print the warnings, the metrics, the probes and the names of the files."""
    for warning in warnings:
        console.warn(warning.text)
    rows = [list(row) for row in _rows(metrics)]
    console.say(console.table("", ["metric", "value", "meaning"], rows, right={"value"}))
    if table:
        columns, cells = probe_table(table)
        console.say(console.table("", columns, cells, right=set(columns[1:])))
    names = ", ".join(figure.name.removesuffix(".png") for figure in figures)
    console.say(f"\nfigures: {names}; report: {REPORT}; metrics: {METRICS}")


def _rows(metrics: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Return the key, value and meaning of each metric; those of the test images stand in the table of probes."""
    shown = {key: value for key, value in metrics.items() if not key.startswith("test/")}
    return [(key, format_number(value), MEANINGS.get(key, "")) for key, value in shown.items()]
