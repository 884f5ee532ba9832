"""report.html: what a finished run shows, on one page that needs no other file than its figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ssl_cli.files import write_text

REPORT = "report.html"
RIGHT, WRONG = "background: #e3f4e4", "background: #fbe3e0"  # of answers
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


@dataclass(frozen=True)
class Figure:
    """A file in figures/, and a sentence on what it shows."""

    name: str
    caption: str


def write(folder: Path, verb: str, config: str, chosen: Mapping[str, object], parts: Sequence[str]) -> None:
    """The page: what was run, then `parts`, HTML each. `chosen` are the choices worth naming, model and data first."""
    title = escape(f"ssl {verb}: {chosen.get('model')} on {chosen.get('data')}")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    above, *rest = [part for part in parts if part]
    text = "\n".join([f"<h1>{title}</h1>", above, *_what_was_run(config, chosen), *rest])
    whole = (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n{text}\n</body></html>\n'
    )
    write_text(folder / REPORT, whole)


def _what_was_run(config: str, chosen: Mapping[str, object]) -> list[str]:
    names = sorted(chosen, key=lambda name: name not in ("model", "data"))
    return [
        "<h2>What was run</h2>",
        table([[f"<td>{escape(name)}</td>", f"<td>{escape(str(chosen[name]))}</td>"] for name in names]),
        f"<details><summary>the whole config</summary><pre>{escape(config)}</pre></details>",
    ]


def numbers(told: Sequence[tuple[str, str, str]]) -> str:
    """A table of (key, value, meaning)"""
    rows = [
        [f"<td><code>{escape(key)}</code></td>", f'<td class="number">{value}</td>', f"<td>{escape(meaning)}</td>"]
        for key, value, meaning in told
    ]
    return table(rows)


def table(rows: Sequence[Sequence[str]], head: str = "") -> str:
    """Rows of cells, each cell HTML from <td> to </td>"""
    return f"<table>{head}\n" + "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows) + "\n</table>"


def shown(figure: Figure) -> str:
    source, caption = escape(f"figures/{figure.name}"), escape(figure.caption)
    return f'<figure><img src="{source}" alt="{caption}" loading="lazy"><figcaption>{caption}</figcaption></figure>'


def number(value: float) -> str:
    """Four digits that count; whole numbers as they are."""
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
