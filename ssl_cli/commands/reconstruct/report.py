"""What is told of a finished run: report.html in its folder, and a few lines on the terminal."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import product
from pathlib import Path

from ssl_cli import console
from ssl_cli.commands.reconstruct.collapse import CollapseWarning
from ssl_cli.evaluation import html as html_page
from ssl_cli.evaluation.html import REPORT, Figure, number, table
from ssl_cli.runs.folder import CONFIG, METRICS

MEANINGS = {  # in the order they are told
    "mse": "squared error a pixel, of pixels in 0..1",
    "squared_error": "squared error an image: its pixels' errors added up",
    "psnr": "peak signal-to-noise ratio in decibels, of the error over all images; larger is better",
    "ssim": "structural similarity; 1 is the image itself",
    "elbo": "evidence lower bound on the log-likelihood, in nats an image; larger is better",
    "nll": "negative log-likelihood by importance weighting, in nats an image; smaller is better",
    "bits_per_dim": "the same in bits a pixel and channel",
    "kl_active_dims": "numbers of the code that say at least 0.01 nats of an image",
    "perplexity": "how many codes, used equally often, would be as uncertain",
    "codes_used": "share of the alphabet that occurs",
    "bits_per_image": "size of a code, before any entropy coding",
    "cluster_accuracy": "labels hit when each class that the model made up is matched with one label at most",
    "majority_accuracy": "labels hit when each such class is named by the commonest label of its training images",
    "nmi": "normalised mutual information of those classes and the labels",
    "ari": "adjusted Rand index of the two; 0 is chance",
}
PROBES = {"linear_probe": "linear probe", "knn": "5 nearest neighbours"}
SIZES = {"100": "100 labels", "1000": "1,000 labels", "all": "all labels"}
KINDS = {"": "code", "_pixels": "pixels", "_pca": "PCA of that size"}


def write(
    folder: Path,
    chosen: Mapping[str, object],
    metrics: Mapping[str, float],
    alarms: Sequence[CollapseWarning],
    figures: Sequence[Figure],
) -> None:
    """The report: warnings, choices, numbers and figures on one page. `chosen` are the choices worth naming."""
    parts = [
        _warnings(alarms),
        "<h2>Numbers</h2>",
        '<p class="fine">All are of test images; docs/reconstruct.md has the formulas.</p>',
        html_page.numbers(_told(metrics)),
        _probes(metrics),
        "<h2>Figures</h2>",
        *map(html_page.shown, figures),
    ]
    html_page.write(folder, "reconstruct", (folder / CONFIG).read_text(), chosen, parts)


def _warnings(alarms: Sequence[CollapseWarning]) -> str:
    if not alarms:
        return '<p class="fine">No sign of collapse was found.</p>'
    return "\n".join(f'<p class="alarm">{escape(alarm.text)}</p>' for alarm in alarms)


def _told(metrics: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Each number but the probes': its key, its value as text, what it means."""
    known = [(f"test/{name}", meaning) for name, meaning in MEANINGS.items() if f"test/{name}" in metrics]
    probes = {f"test/{name}_{size}{kind}" for name, size, kind in product(PROBES, SIZES, KINDS)}
    others = [(key, "") for key in metrics if key not in probes.union(key for key, _ in known)]
    return [(key, number(metrics[key]), meaning) for key, meaning in [*known, *others]]


def _probed(metrics: Mapping[str, float]) -> list[tuple[str, list[float]]]:
    """Each probe in words, with its accuracies on KINDS."""
    found = []
    for name, words in PROBES.items():
        for size, labels in SIZES.items():
            keys = [f"test/{name}_{size}{kind}" for kind in KINDS]
            if all(key in metrics for key in keys):
                found.append((f"{words}, {labels}", [metrics[key] for key in keys]))
    return found


def _probes(metrics: Mapping[str, float]) -> str:
    rows = []
    for words, values in _probed(metrics):
        cells = [f'<td class="number{" best" if value == max(values) else ""}">{value:.2%}</td>' for value in values]
        rows.append([f"<td>{words}</td>", *cells])
    if not rows:
        return ""
    head = "".join(f'<th class="number">{kind}</th>' for kind in KINDS.values())
    what = "Accuracy on the test images of simple classifiers, taught a few labels of training images"
    return f"<p>{what}:</p>\n{table(rows, f'<tr><th></th>{head}</tr>')}"


def print_summary(metrics: Mapping[str, float], alarms: Sequence[CollapseWarning], figures: Sequence[Figure]) -> None:
    """The warnings, the numbers, and what lies where."""
    for alarm in alarms:
        console.warn(alarm.text)
    rows = [list(row) for row in _told(metrics)]
    console.say(
        console.table(
            "",
            ["test", "value", "meaning"],
            [[key.removeprefix("test/"), *rest] for key, *rest in rows],
            right={"value"},
        )
    )
    if probed := _probed(metrics):
        lines = [[words, *(f"{value:.2%}" for value in values)] for words, values in probed]
        console.say(console.table("", ["accuracy of a probe", *KINDS.values()], lines, right=set(KINDS.values())))
    names = ", ".join(figure.name.removesuffix(".png") for figure in figures)
    console.say(f"figures: {names}; all on one page: {REPORT}; numbers: {METRICS}")
