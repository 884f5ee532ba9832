"""Schema of a saved preprocessor: a run folder may be untrusted, so that everything in its JSON is checked."""

from collections.abc import Iterator
from typing import Annotated, Any, get_type_hints

from ssl_cli.config.typecheck import expected, fits
from ssl_cli.config.types import Count, Natural, Pattern, Positive, Range
from ssl_cli.data.io.arrow import FileLayout
from ssl_cli.data.io.columns import QUANTITIES
from ssl_cli.data.io.notation import Notation
from ssl_cli.data.tables.dates import Part
from ssl_cli.data.tables.features import source_of

Schema = dict[str, Any]
STATE: Schema = {
    "columns": list[dict[str, Any]],
    "dropped": dict[str, str],
    "names": list[str],
    "layout": dict[str, Any],
}
QUANTITY = Annotated[str, Pattern("|".join(QUANTITIES), f"one of {', '.join(QUANTITIES)}")]
NUMBER: Schema = {"type": QUANTITY, "name": str, "kind": str, "mean": float, "std": Positive, "missing": bool}
POWER: Schema = {"lambda": Annotated[float, Range(-1e3, 1e3)], "mean": float, "std": Positive}
CATEGORY: Schema = {"name": str, "kind": str, "values": list[str]}
CLOCK: Schema = {"name": str, "kind": str, "missing": bool}
KINDS = {"number": NUMBER, "symbol": CATEGORY, "clock": CLOCK}
# What a column may have besides: a transform, the notation of a text, the type of a category, the date it is part of.
POWERED: Schema = {"power": dict[str, float]}
NOTED: Schema = {"notation": dict[str, Any]}
TYPED: Schema = {"type": QUANTITY}
PART: Schema = {"source": str, "part": Part, "type": QUANTITY}
# How often a category's values, or missing ones, are among the training rows; older runs saved without.
COUNTED: Schema = {"counts": list[Natural], "rows": Count}
COUNTED_MISSING: Schema = {"n_missing": Natural, "rows": Count}


def state_errors(state: Any) -> Iterator[str]:
    """Yield what in a saved preprocessor does not follow the schema."""
    yield from _entry_errors("it", state, STATE)
    yield from _entry_errors("layout", state["layout"], get_type_hints(FileLayout, include_extras=True))
    for index, column in enumerate(state["columns"]):
        yield from _column_errors(f"columns[{index}]", column)
    names = [column["name"] for column in state["columns"]]
    sources = {source_of(column) for column in state["columns"]}
    if not names or len(set(names)) < len(names) or not sources <= set(state["names"]):
        yield "its columns must be among its names, each once"


def _column_errors(where: str, column: dict[str, Any]) -> Iterator[str]:
    kind = column.get("kind")
    if kind not in KINDS:
        yield f"{where}.kind must be one of {', '.join(KINDS)}, not {repr(kind)[:100]}"
        return
    is_part = "part" in column or kind == "clock"
    wanted = KINDS[kind] | (PART if is_part else TYPED if kind == "symbol" and "type" in column else {})
    for name, group, schema in (
        ("power", POWERED, POWER),
        ("notation", NOTED, get_type_hints(Notation, include_extras=True)),
    ):
        if kind == "number" and name in column:
            wanted = wanted | group
            yield from _entry_errors(f"{where}.{name}", column[name], schema)
    if "rows" in column:
        wanted = wanted | (COUNTED if kind == "symbol" else COUNTED_MISSING)
    yield from _entry_errors(where, column, wanted)
    if kind == "symbol" and "rows" in column:
        n_each = column["counts"]
        if len(n_each) != len(column["values"]) or sum(n_each) > column["rows"]:
            yield f"{where}.counts must have a number for each of the values, which add up to at most the rows"


def _entry_errors(where: str, entries: Any, wanted: dict[str, Any]) -> Iterator[str]:
    if not isinstance(entries, dict) or set(entries) != set(wanted):
        yield f"{where} must have {', '.join(wanted)}, and nothing else"
        return
    for name, annotation in wanted.items():
        if not fits(entries[name], annotation):
            yield f"{where}.{name} must be {expected(annotation)}, not {repr(entries[name])[:100]}"
