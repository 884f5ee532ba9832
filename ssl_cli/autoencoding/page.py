"""What is told of a finished run: report.html in its folder, and a few lines on the terminal."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import product
from pathlib import Path

from ssl_cli import console
from ssl_cli.autoencoding.collapse import Alarm
from ssl_cli.autoencoding.figures import Figure
from ssl_cli.runs import CONFIG, METRICS, write_text

REPORT = "report.html"
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
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd }
table { border-collapse: collapse } td, th { padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
tr + tr td { border-top: 1px solid #eee } .best { font-weight: 700 }
.alarm { background: #fdeeec; border-left: 4px solid #d9483b; padding: .5rem .9rem; margin: .8rem 0 }
.fine { color: #666 } code, pre { font-size: .85rem } pre { background: #f6f6f6; padding: .8rem; overflow-x: auto }
figure { margin: 1.6rem 0 } img { max-width: 100%; height: auto } figcaption { color: #555; font-size: .9rem }
"""


def write(
    folder: Path,
    chosen: Mapping[str, object],
    metrics: Mapping[str, float],
    alarms: Sequence[Alarm],
    figures: Sequence[Figure],
) -> None:
    """The report: warnings, choices, numbers and figures on one page. `chosen` are the choices worth naming."""
    title = escape(f"ssl reconstruct: {chosen.get('model')} on {chosen.get('data')}")
    names = sorted(chosen, key=lambda name: name not in ("model", "data"))
    parts = [
        f"<h1>{title}</h1>",
        _warnings(alarms),
        "<h2>What was run</h2>",
        _table([[f"<td>{escape(name)}</td>", f"<td>{escape(str(chosen[name]))}</td>"] for name in names]),
        f"<details><summary>the whole config</summary><pre>{escape((folder / CONFIG).read_text())}</pre></details>",
        "<h2>Numbers</h2>",
        '<p class="fine">All are of test images; docs/reconstruct.md has the formulas.</p>',
        _numbers(metrics),
        _probes(metrics),
        "<h2>Figures</h2>",
        *map(_figure, figures),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    text = "\n".join(part for part in parts if part)
    whole = (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n{text}\n</body></html>\n'
    )
    write_text(folder / REPORT, whole)


def _warnings(alarms: Sequence[Alarm]) -> str:
    if not alarms:
        return '<p class="fine">No sign of collapse was found.</p>'
    return "\n".join(f'<p class="alarm">{escape(alarm.text)}</p>' for alarm in alarms)


def _numbers(metrics: Mapping[str, float]) -> str:
    rows = [
        [f"<td><code>{escape(key)}</code></td>", f'<td class="number">{value}</td>', f"<td>{escape(meaning)}</td>"]
        for key, value, meaning in _told(metrics)
    ]
    return _table(rows)


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
    return f"<p>{what}:</p>\n{_table(rows, f'<tr><th></th>{head}</tr>')}"


def _table(rows: list[list[str]], head: str = "") -> str:
    return f"<table>{head}\n" + "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows) + "\n</table>"


def _figure(figure: Figure) -> str:
    source, caption = escape(f"figures/{figure.name}"), escape(figure.caption)
    return f'<figure><img src="{source}" alt="{caption}" loading="lazy"><figcaption>{caption}</figcaption></figure>'


def number(value: float) -> str:
    """Four digits that count; whole numbers as they are."""
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def tell(metrics: Mapping[str, float], alarms: Sequence[Alarm], figures: Sequence[Figure]) -> None:
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
