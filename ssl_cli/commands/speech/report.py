"""Report of an autoencoder of speech: report.html in the run folder, and a summary on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_cli import console
from ssl_cli.commands.speech.evaluate import SpeechEvaluation
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
    "word_kept": "share of conversions in which the word judge hears the word of the source",
    "target_voice": "share of conversions in which the speaker judge hears the target",
    "source_voice": "share in which it still hears the source",
    "mcd_db": "mel-cepstral distortion of the conversion from the target's own takes of the word, in dB",
    "mcd_source_db": "the same of the unconverted source",
    "mcd_take_db": "the same of the target's takes from each other",
    "rebuilt_mcd_db": "mel-cepstral distortion of rebuilt recordings, frame by frame, in dB, before a waveform is made",
    "word_judge": "accuracy of the word judge on real test recordings",
    "word_judge_resynthesized": "on the same through Griffin-Lim or the vocoder: the ceiling of a conversion",
    "speaker_judge": "accuracy of the speaker judge on real test recordings",
    "speaker_judge_resynthesized": "on the same through Griffin-Lim or the vocoder",
    "pnmi": "mutual information of phones and units over the entropy of phones",
    "phone_purity": "share of frames whose phone is the most frequent one of their unit",
    "cluster_purity": "share of frames whose unit is the most frequent one of their phone",
    "abx_across": "ABX error across speakers: how often another phone is nearer than the same one; chance is 0.5",
    "unit_speaker": "mutual information of speakers and units over the entropy of speakers; less is better",
    "units_used": "units that occur",
    "unit_perplexity": "number of units that would be as uncertain if all were used equally often",
    "units_per_s": "units a second",
    "bitrate": "bits a second with an entropy code for single units",
    "content_speaker_probe": "accuracy of a linear classifier of speakers on frames of the content code",
    "content_word_probe": "accuracy of a linear classifier of words on the content code",
    "speaker_code_speaker_probe": "accuracy of a linear classifier of speakers on the speaker code",
    "speaker_code_word_probe": "accuracy of a linear classifier of words on the speaker code: what leaks",
}
GROUPS = {
    "": "test recordings, training voices",
    "without_word": "the same, the voice without recordings of the word",
    "unheard_source": "an unheard speaker as source",
    "unheard_target": "an unheard speaker as target",
}
JUDGED = ("word_kept", "target_voice", "source_voice", "mcd_db", "mcd_source_db", "mcd_take_db")
SYSTEMS = {"": "the model", "kmeans": "k-means, single frames", "kmeans7": "k-means, 7 frames"}
OF_UNITS = ("pnmi", "phone_purity", "cluster_purity", "pnmi_without_silence", "abx_across", "unit_speaker", "bitrate")


def write(
    folder: Path,
    choices: Mapping[str, object],
    found: SpeechEvaluation,
    figures: Sequence[Figure],
    sounds: Sequence[Section],
) -> None:
    """Write report.html: warnings, choices, what judges heard, sounds, units, metrics and figures on one page."""
    note = Note("All are of test recordings; docs/speech.md has the formulas. Judges listen to waveforms.")
    sections = [
        Section("Conversions", [*_table(conversion_rows(found), "Judged conversions:")]),
        Section("Sounds", sounds),
        Section("Units", [*_table(unit_rows(found), "The units beside k-means classes of log-mels:")]),
        Section("Figures", figures),
        metrics_section([Metric(*row) for row in metric_rows(found)], note),
    ]
    opening: list[Block] = [Alert(warning.text) for warning in found.warnings]
    opening = opening or [Note("No sign of collapse was found.")]
    config = (folder / CONFIG).read_text()
    write_report(folder, "reconstruct", config, choices, [part for part in sections if part.blocks], opening)


def metric_rows(found: SpeechEvaluation) -> list[tuple[str, str, str, str]]:
    """Return the key, value, meaning and interval of each metric, the known ones first."""
    metrics = found.metrics
    keys = [key for key in (f"test/{name}" for name in MEANINGS) if key in metrics]
    keys += [key for key in metrics if key not in keys]
    return [(key, format_number(metrics[key]), meaning_of(key), interval_of(found, key)) for key in keys]


def meaning_of(key: str) -> str:
    """Return what a metric is, "" if its name says it."""
    return MEANINGS.get(key.removeprefix("test/"), "")


def interval_of(found: SpeechEvaluation, key: str) -> str:
    """Return the 95 % interval of a metric, "" if it has none."""
    if key not in found.intervals:
        return ""
    return " to ".join(format_number(end) for end in found.intervals[key])


def conversion_rows(found: SpeechEvaluation) -> list[list[str]]:
    """Return a header and a row for each group of conversions; nothing if none was judged."""
    rows = []
    for group, title in GROUPS.items():
        values = [found.metrics.get(f"test/{group}_{name}" if group else f"test/{name}") for name in JUDGED]
        if any(value is not None for value in values):
            shown = ["" if value is None else _as_text(name, value) for name, value in zip(JUDGED, values, strict=True)]
            rows.append([title, *shown])
    header = ["", "word kept", "target voice", "source voice", "MCD dB", "source's MCD", "own takes' MCD"]
    return [header, *rows] if rows else []


def unit_rows(found: SpeechEvaluation) -> list[list[str]]:
    """Return a header and a row for each system of units; nothing if the model has none."""
    rows, names = [], [name for name in OF_UNITS if f"test/{name}" in found.metrics]
    for system, title in SYSTEMS.items():
        values = [found.metrics.get(f"test/{name}_{system}" if system else f"test/{name}") for name in names]
        if any(value is not None for value in values):
            rows.append([title, *("" if value is None else format_number(value) for value in values)])
    return [["", *names], *rows] if rows and found.systems else []


def _as_text(name: str, value: float) -> str:
    return f"{value:.2f}" if name.startswith("mcd") else f"{value:.1%}"


def _table(rows: list[list[str]], caption: str) -> list[PageTable]:
    return [PageTable(rows[0], rows[1:], numbers=set(rows[0][1:]), caption=caption)] if rows else []


def print_summary(found: SpeechEvaluation, figures: Sequence[Figure]) -> None:
    """Print the warnings, the tables, the other metrics and the names of the files."""
    for warning in found.warnings:
        console.warn(warning.text)
    tables = [rows for rows in (conversion_rows(found), unit_rows(found)) if rows]
    for header, *rows in tables:
        console.say(console.table("", header, rows, right=set(header[1:])))
    shown = {f"test/{name}" for name in (*JUDGED, *OF_UNITS)} if tables else set()
    rest = [row for row in metric_rows(found) if row[0] not in shown and row[2]]
    lines = [[key.removeprefix("test/"), value, meaning] for key, value, meaning, _ in rest]
    console.say(console.table("", ["test", "value", "meaning"], lines, right={"value"}))
    names = ", ".join(figure.name.removesuffix(".png") for figure in figures)
    console.say(f"figures: {names}; report, with sounds: {REPORT}; metrics: {METRICS}")
