"""Report of a run on sentences: report.html and sentences.csv in the run folder, and a summary on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_cli import console
from ssl_cli.commands.reconstruct.collapse import CollapseWarning
from ssl_cli.commands.sentences.evaluate import SentenceEvaluation
from ssl_cli.commands.sentences.probes import Probes, probe_metrics
from ssl_cli.commands.sentences.sections import probe_table
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
from ssl_cli.evaluation.plots import curves
from ssl_cli.evaluation.plots.images import sorted_shares
from ssl_cli.runs.csv_files import write_csv
from ssl_cli.runs.folder import CONFIG, HISTORY, METRICS, read_history

SENTENCES = "sentences.csv"
MEANINGS = {
    "iw_perplexity": "perplexity of a word, ends of sentences included, by importance-weighted samples: an upper bound",
    "lm_perplexity": "the same of the decoder without a code, which is exact",
    "elbo": "evidence lower bound on the log-likelihood, in nats a sentence; larger is better",
    "kl": "KL divergence of the codes from the prior, in nats a sentence",
    "kl_active_dims": "numbers of the code with a mean KL of at least 0.01 nats",
    "active_units": "numbers of the code whose mean varies by more than 0.01 from sentence to sentence",
    "mutual_information": "nats that the code has about the sentence, at most the log of the number of sentences",
    "word_accuracy": "share of the words that are rebuilt at their place from the code alone",
    "other_word_accuracy": "the same of what is rebuilt from the code of another sentence",
    "judge_accuracy": "share of the test sentences whose label a bag-of-words classifier finds",
    "rebuilt_label": "share of what is rebuilt from their codes that it gives their label",
    "swapped_label": "share that it gives the other label, if the code has the style of that",
    "swap_changed": "share of the sentences that another style changes",
}
CURVES = {  # y-axis -> columns of history.csv
    "loss, nats a token": ["train/loss", "val/loss"],
    "-log p(x|z), nats a sentence": ["train/distortion", "val/distortion"],
    "KL, nats a sentence": ["train/rate", "val/rate"],
    "label in the style, nats": ["train/style_loss", "val/style_loss"],
    "label in the content, nats": ["train/adversary_loss", "val/adversary_loss"],
}
N_PRINTED = 3  # sentences of each sort on the terminal


def write(
    folder: Path,
    choices: Mapping[str, object],
    found: SentenceEvaluation,
    warnings: Sequence[CollapseWarning],
    extra: Sequence[Section],
) -> None:
    """Write report.html, with `extra` sections after the metrics, and sentences.csv."""
    opening: list[Block] = [Alert(warning.text) for warning in warnings] or [Note("No sign of collapse was found.")]
    rows = [Metric(key, format_number(value), meaning(key)) for key, value in found.metrics.items()]
    sections = [metrics_section(rows), *extra, *sentence_sections(found), Section("Figures", figures(folder, found))]
    write_sentences(folder / SENTENCES, found)
    write_report(folder, "reconstruct", (folder / CONFIG).read_text(), choices, sections, opening)


def meaning(key: str) -> str:
    """Return what a metric is, "" if its name says it."""
    return MEANINGS.get(key.partition("/")[2], "")


def sentence_sections(found: SentenceEvaluation) -> list[Section]:
    """Return the sections of rebuilt sentences, of those between two others, and of samples."""
    note = f"The likeliest words, given the mean code of each. Also in {SENTENCES}."
    sections = []
    if found.rebuilt:
        table = PageTable(["sentence", "rebuilt from its code"], found.rebuilt)
        sections.append(Section("Rebuilt test sentences", [Note(note), table]))
    if found.interpolations:
        lines = [["\n".join(line)] for line in found.interpolations]
        table = PageTable(["sentences"], lines, lines={"sentences"})
        blocks: list[Block] = [Note("The likeliest words, given codes on the line between the codes of two."), table]
        sections.append(Section("Between two test sentences", blocks))
    if found.samples:
        table = PageTable(["sentence"], [[text] for text in found.samples])
        sections.append(Section("Samples of the prior", [Note("The likeliest words, given a random code."), table]))
    return sections


def figures(folder: Path, found: SentenceEvaluation) -> list[Figure]:
    """Draw the curves and the KL divergence of each number of the code, and return them."""
    drawn = []
    if history := read_history(folder / HISTORY):
        curves.history_panels(folder / "figures" / "training.png", "Learning", history, CURVES)
        drawn.append(Figure("training.png", "Losses over the training steps, those of val without dropped words."))
    if len(found.rates) and found.rates.sum() > 0:
        shares, title = found.rates / found.rates.sum(), "KL of the numbers of the code"
        path, even = folder / "figures" / "kl.png", 1 / len(shares)
        sorted_shares(path, title, shares, even, "numbers of the code, sorted", "share of the KL")
        drawn.append(Figure(path.name, "Share of each number of the code in the KL divergence, on test sentences."))
    return drawn


def write_sentences(path: Path, found: SentenceEvaluation) -> None:
    """Write the sentences of the report: which sort, the sentence, and what it was made of, if anything."""
    rows = [{"which": "rebuilt", "sentence": written, "from": text} for text, written in found.rebuilt]
    for number, line in enumerate(found.interpolations, start=1):
        rows += [{"which": f"between {number}", "sentence": text} for text in line]
    rows += [{"which": "sample", "sentence": text} for text in found.samples]
    write_csv(path, ["which", "sentence", "from"], rows)


def print_summary(found: SentenceEvaluation, warnings: Sequence[CollapseWarning], probes: Probes) -> None:
    """Print the warnings, the metrics, the probes, some sentences and the names of the files."""
    for warning in warnings:
        console.warn(warning.text)
    of_probes = probe_metrics(probes)
    shown = {key: value for key, value in found.metrics.items() if key not in of_probes}
    rows = [[key.removeprefix("test/"), format_number(value), meaning(key)] for key, value in shown.items()]
    console.say(console.table("", ["test", "value", "meaning"], rows, right={"value"}))
    if probes:
        columns, cells = probe_table(probes)
        console.say(console.table("", columns, cells, right=set(columns[1:])))
    for text, written in found.rebuilt[:N_PRINTED]:
        console.say(f"sentence: {text}\nrebuilt:  {written}")
    for text in found.samples[:N_PRINTED]:
        console.say(f"sample:   {text}")
    console.say(f"report: {REPORT}; metrics: {METRICS}; sentences: {SENTENCES}")
