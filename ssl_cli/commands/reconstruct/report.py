"""Report of ssl reconstruct: report.html in the run folder, and a summary on the terminal."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from ssl_cli import console
from ssl_cli.commands.reconstruct.collapse import CollapseWarning
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
from ssl_cli.runs.folder import CONFIG, METRICS

MEANINGS = {  # in the order of the report
    "mse": "squared error per pixel, for pixels in 0..1",
    "squared_error": "squared error per image: the sum over its pixels",
    "psnr": "peak signal-to-noise ratio in dB, of the error over all images; larger is better",
    "ssim": "structural similarity; 1 for identical images",
    "elbo": "evidence lower bound on the log-likelihood, in nats per image; larger is better",
    "nll": "importance-weighted negative log-likelihood, in nats per image; smaller is better",
    "bits_per_dim": "the same in bits per pixel and channel",
    "kl_active_dims": "latent dimensions with a mean KL of at least 0.01 nats",
    "perplexity": "number of codes that would be as uncertain if all were used equally often",
    "codes_used": "share of the codes that occur",
    "bits_per_image": "size of an image's codes, before any entropy coding",
    "cluster_accuracy": "accuracy if each learned class is matched with at most one label",
    "majority_accuracy": "accuracy if each learned class has the most frequent label of its training images",
    "nmi": "normalized mutual information of the learned classes and the labels",
    "ari": "adjusted Rand index of the two; 0 is chance",
}
PROBES = {"linear_probe": "linear probe", "knn": "5 nearest neighbours"}
SIZES = {"100": "100 labels", "1000": "1,000 labels", "all": "all labels"}
FEATURES = {"": "code", "_pixels": "pixels", "_pca": "PCA of that size"}


def write(
    folder: Path,
    choices: Mapping[str, object],
    metrics: Mapping[str, float],
    warnings: Sequence[CollapseWarning],
    figures: Sequence[Figure],
) -> None:
    """Write report.html: warnings, config choices, metrics and figures on one page."""
    rows = [Metric(*row) for row in _metric_rows(metrics)]
    numbers = metrics_section(rows, Note("All are of test images; docs/reconstruct.md has the formulas."))
    sections = [numbers, Section("Probes", _probes_table(metrics)), Section("Figures", figures)]
    opening: list[Block] = [Alert(warning.text) for warning in warnings]
    opening = opening or [Note("No sign of collapse was found.")]
    write_report(folder, "reconstruct", (folder / CONFIG).read_text(), choices, sections, opening)


def _metric_rows(metrics: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Return key, value as text, and meaning of each metric except those of probes."""
    known = [(f"test/{name}", meaning) for name, meaning in MEANINGS.items() if f"test/{name}" in metrics]
    probes = {f"test/{name}_{size}{suffix}" for name, size, suffix in product(PROBES, SIZES, FEATURES)}
    others = [(key, "") for key in metrics if key not in probes.union(key for key, _ in known)]
    return [(key, format_number(metrics[key]), meaning) for key, meaning in [*known, *others]]


def _probe_rows(metrics: Mapping[str, float]) -> list[tuple[str, list[float]]]:
    """Return the name of each probe, and its accuracy on each of FEATURES."""
    rows = []
    for name, probe in PROBES.items():
        for size, labels in SIZES.items():
            keys = [f"test/{name}_{size}{suffix}" for suffix in FEATURES]
            if all(key in metrics for key in keys):
                rows.append((f"{probe}, {labels}", [metrics[key] for key in keys]))
    return rows


def _probes_table(metrics: Mapping[str, float]) -> list[PageTable]:
    """Return a table of probes, in which the best features of each stand out; nothing if there are none."""
    probes = _probe_rows(metrics)
    if not probes:
        return []
    rows = [[name, *(f"{value:.2%}" for value in values)] for name, values in probes]
    best = {(k, j) for k, (_, values) in enumerate(probes) for j, value in enumerate(values, 1) if value == max(values)}
    caption = "Accuracy on test images of simple classifiers, trained on a few labelled training images"
    features = list(FEATURES.values())
    return [PageTable(["probe", *features], rows, numbers=set(features), best=best, caption=f"{caption}:")]


def print_summary(metrics: Mapping[str, float], warnings: Sequence[CollapseWarning], figures: Sequence[Figure]) -> None:
    """Print the warnings, the metrics and the names of the files."""
    for warning in warnings:
        console.warn(warning.text)
    rows = [[key.removeprefix("test/"), *rest] for key, *rest in _metric_rows(metrics)]
    console.say(console.table("", ["test", "value", "meaning"], rows, right={"value"}))
    if probes := _probe_rows(metrics):
        lines = [[name, *(f"{value:.2%}" for value in values)] for name, values in probes]
        columns = ["accuracy of a probe", *FEATURES.values()]
        console.say(console.table("", columns, lines, right=set(FEATURES.values())))
    names = ", ".join(figure.name.removesuffix(".png") for figure in figures)
    console.say(f"figures: {names}; report: {REPORT}; metrics: {METRICS}")
