"""Sections of the report on sentences: what probes read in the code, and sentences with the style of others."""

from ssl_cli.commands.sentences.probes import FEATURES, Probes
from ssl_cli.commands.sentences.style import StyleSwaps
from ssl_cli.evaluation.html import Note, PageTable, Section


def probe_table(probes: Probes) -> tuple[list[str], list[list[str]]]:
    """Return the columns of a table of probes, and a row for each label."""
    names = [name for name in FEATURES if any(name in values for values in probes.values())]
    rows = [
        [label, *(f"{values[name]:.1%}" if name in values else "" for name in names)]
        for label, values in probes.items()
    ]
    return ["accuracy of a probe", *(FEATURES[name] for name in names)], rows


def probe_sections(probes: Probes) -> list[Section]:
    """Return the section of probes; none if there are none."""
    if not probes:
        return []
    columns, rows = probe_table(probes)
    note = "Accuracy on test sentences of linear classifiers, trained on the features of training sentences."
    return [Section("Probes", [Note(note), PageTable(columns, rows, numbers=set(columns[1:]))])]


def swap_sections(swaps: StyleSwaps | None) -> list[Section]:
    """Return the section of sentences with another style; none without a style."""
    if swaps is None:
        return []
    columns = ["sentence", "its label", "rebuilt", "other label", "rebuilt with the style of that"]
    note = "The style is the mean of the training sentences of a label; the content is that of the sentence."
    return [Section("Another style", [Note(note), PageTable(columns, swaps.rows)])]
