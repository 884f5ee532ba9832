"""report.html: the report of a finished run, one page that needs no other files than its figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ssl_cli.files import write_text

REPORT = "report.html"
CORRECT_STYLE, WRONG_STYLE = "background: #e3f4e4", "background: #fbe3e0"  # of predictions
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd }
table { border-collapse: collapse } td, th { padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
tr + tr td { border-top: 1px solid #eee } .best { font-weight: 700 }
.warning { background: #fdeeec; border-left: 4px solid #d9483b; padding: .5rem .9rem; margin: .8rem 0 }
.fine { color: #666 } code, pre { font-size: .85rem } pre { background: #f6f6f6; padding: .8rem; overflow-x: auto }
figure { margin: 1.6rem 0 } img { max-width: 100%; height: auto } figcaption { color: #555; font-size: .9rem }
"""


@dataclass(frozen=True)
class Figure:
    """A file in figures/ and its caption."""

    name: str
    caption: str


def write_report(folder: Path, verb: str, config: str, choices: Mapping[str, object], sections: Sequence[str]) -> None:
    """Write the page: the first of `sections` (HTML each, "" for none), what was run, and the other sections.

    `choices` are the config choices to name, model and data among them.
    """
    title = escape(f"ssl {verb}: {choices.get('model')} on {choices.get('data')}")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    first, *others = [section for section in sections if section]
    body = "\n".join([f"<h1>{title}</h1>", first, *_run_section(config, choices), *others])
    page = (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'
    )
    write_text(folder / REPORT, page)


def _run_section(config: str, choices: Mapping[str, object]) -> list[str]:
    names = sorted(choices, key=lambda name: name not in ("model", "data"))
    return [
        "<h2>What was run</h2>",
        table([[f"<td>{escape(name)}</td>", f"<td>{escape(str(choices[name]))}</td>"] for name in names]),
        f"<details><summary>the whole config</summary><pre>{escape(config)}</pre></details>",
    ]


def metrics_table(metrics: Sequence[tuple[str, str, str]]) -> str:
    """Return a table of (key, value, meaning)."""
    rows = [
        [f"<td><code>{escape(key)}</code></td>", f'<td class="number">{value}</td>', f"<td>{escape(meaning)}</td>"]
        for key, value, meaning in metrics
    ]
    return table(rows)


def table(rows: Sequence[Sequence[str]], head: str = "") -> str:
    """Return a table of rows of cells; each cell is HTML from <td> to </td>."""
    return f"<table>{head}\n" + "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows) + "\n</table>"


def figure_html(figure: Figure) -> str:
    """Return the HTML of a figure with its caption."""
    source, caption = escape(f"figures/{figure.name}"), escape(figure.caption)
    return f'<figure><img src="{source}" alt="{caption}" loading="lazy"><figcaption>{caption}</figcaption></figure>'


def format_number(value: float) -> str:
    """Return a number with four significant digits; whole numbers are written in full."""
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
