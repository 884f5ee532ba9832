"""Report of a summarizer: report.html and examples.csv in the run folder, and a summary on the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ssl_cli import console
from ssl_cli.commands.articles.evaluate import BESIDE, MODEL, NAMES, ArticleEvaluation
from ssl_cli.commands.finetune.text_section import chosen_examples
from ssl_cli.evaluation.html import (
    REPORT,
    Block,
    Figure,
    Headline,
    Metric,
    Note,
    PageTable,
    Section,
    format_number,
    metrics_section,
    write_report,
)
from ssl_cli.evaluation.metrics.rouge import ROUGE, rouge_tokens
from ssl_cli.evaluation.plots import curves
from ssl_cli.evaluation.plots.text_lengths import text_lengths
from ssl_cli.runs.csv_files import write_csv
from ssl_cli.runs.folder import CONFIG, HISTORY, METRICS, read_history

EXAMPLES = "examples.csv"
RECONSTRUCTOR_LOSS = "train/reconstructor_loss"
CURVES = {  # y-axis -> columns of history.csv
    "loss": ["train/loss", "val/loss"],
    "agreement with the search": ["train/agreement", "val/agreement"],
}
CURVES_OF_AUTOENCODER = {  # of several networks, whose losses are different ones
    "rebuilding articles, nats a token": [RECONSTRUCTOR_LOSS, "val/loss"],
    "finding hidden titles, nats a token": ["train/denoising"],
    "accuracy of the discriminator": ["train/discriminator_accuracy"],
}
COLUMNS = [*ROUGE, "words", "perplexity", "copied", "distinct_2", "rebuilding_loss", "token_accuracy"]
MEANINGS = {
    "rouge1": "F1 of the words that a summary shares with the title; of Chinese, of the characters",
    "rouge2": "the same of pairs of neighbouring words",
    "rougeL": "the same of the longest sequence of words, in their order, with gaps",
    "words": "words of a summary, on average",
    "perplexity": "how surprising a word is to a trigram model of other titles; lower reads more like a title",
    "copied": "share of the words that the article has, too",
    "distinct_2": "different pairs of neighbouring words, as a share of all",
    "rebuilding_loss": "nats a token of the article's beginning, rebuilt from the summary; lower is better",
    "token_accuracy": "share of those tokens that are predicted, given the ones before",
    "rebuilding_gain": "how much lower rebuilding_loss is than from as many random words of the article",
    "rouge1_gain": "rouge1 above that of the strongest simple system",
    "rouge2_gain": "the same of rouge2",
    "rougeL_gain": "the same of rougeL",
}
N_PRINTED = 3  # summaries on the terminal
MAX_ARTICLE_CHARS = 400  # of an example on the page


def write(folder: Path, choices: Mapping[str, object], found: ArticleEvaluation) -> None:
    """Write report.html and examples.csv."""
    lengths = Figure("lengths.png", "Lengths of summaries and of the titles.")
    counts = [np.array([len(rouge_tokens(text)) for text in texts]) for texts in (found.summaries, titles_of(found))]
    text_lengths(folder / "figures" / lengths.name, "test: lengths", *counts)
    note = "ROUGE by word, without a stemmer, beside the title that was held back. No title was seen with its article."
    shown = columns_of(found)
    table = PageTable(["summaries", *shown], table_rows(found), numbers=set(shown))
    sections = [
        Section("Beside simple systems", [Note(note), table]),
        Section("Lengths", [lengths]),
        *learning_sections(folder),
        *example_sections(folder, found),
        metrics_section([Metric(key, format_number(value), meaning(key)) for key, value in found.metrics.items()]),
    ]
    config = (folder / CONFIG).read_text()
    write_report(folder, "reconstruct", config, choices, sections, [Headline(headline(found))])


def learning_sections(folder: Path) -> list[Section]:
    """Draw the curves of training into the run folder; none of a model that is fitted in one go."""
    if not (history := read_history(folder / HISTORY)):
        return []
    panels = CURVES_OF_AUTOENCODER if RECONSTRUCTOR_LOSS in history[-1] else CURVES
    curves.history_panels(folder / "figures" / "training.png", "Learning", history, panels)
    return [Section("Learning", [Figure("training.png", "Means over the steps between validations.")])]


def headline(found: ArticleEvaluation) -> str:
    """Return the sentence that a reader wants first: ROUGE-1, and how far it is from the strongest simple system."""
    gain, rouge = found.metrics["test/rouge1_gain"], found.metrics["test/rouge1"]
    interval = ""
    if "rouge1_gain" in found.intervals:
        low, high = found.intervals["rouge1_gain"]
        interval = f" (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
    return f"ROUGE-1 {100 * rouge:.1f}: {100 * gain:+.1f}{interval} above the {found.strongest}."


def columns_of(found: ArticleEvaluation) -> list[str]:
    """Return the metrics that any system has."""
    return [column for column in COLUMNS if any(column in values for values in found.rows.values())]


def table_rows(found: ArticleEvaluation) -> list[list[str]]:
    """Return the row of each system: its name, and its metrics as text."""
    return [
        [name, *(format_number(values[column]) if column in values else "" for column in columns_of(found))]
        for name, values in found.rows.items()
    ]


def titles_of(found: ArticleEvaluation) -> list[str]:
    """Return the titles of the test articles."""
    return [pair.title for pair in found.pairs]


def meaning(key: str) -> str:
    """Return what a metric is, "" if its name says it."""
    return MEANINGS.get(key.partition("/")[2], "")


def example_sections(folder: Path, found: ArticleEvaluation) -> list[Section]:
    """Return a section each of the best, the middling and the worst summaries; examples.csv has all three."""
    rows, sections = list[dict[str, object]](), list[Section]()
    written = {"summary": found.summaries, "rebuilt": found.rebuilt, BESIDE: found.beside}
    texts: dict[str, Any] = {name: each for name, each in written.items() if each is not None}
    columns = ["rougeL", "article", "title", *texts]
    for which, chosen in chosen_examples(found.rouge_l).items():
        cells = [
            [f"{found.rouge_l[k]:.3f}", found.pairs[k].article, found.pairs[k].title]
            + [each[k] for each in texts.values()]
            for k in chosen
        ]
        rows += [{"which": which.lower(), **dict(zip(columns, row, strict=True))} for row in cells]
        shown = [[row[0], row[1][:MAX_ARTICLE_CHARS], *row[2:]] for row in cells]
        blocks: list[Block] = [Note(f"Also in {EXAMPLES}."), PageTable(columns, shown)]
        if cells:
            sections.append(Section(f"{which} by ROUGE-L", blocks))
    write_csv(folder / EXAMPLES, ["which", *columns], rows)
    return sections


def print_summary(found: ArticleEvaluation) -> None:
    """Print the table of systems, the headline, some examples and the names of the files."""
    shown = columns_of(found)
    console.say(console.table("", ["test", *shown], table_rows(found), right=set(shown)))
    console.say(headline(found))
    for k in range(min(N_PRINTED, len(found.pairs))):
        console.say(f"title: {found.pairs[k].title}\n{NAMES[MODEL]}: {found.summaries[k]}")
    console.say(f"report: {REPORT}; metrics: {METRICS}; examples: {EXAMPLES}")
