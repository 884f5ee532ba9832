"""Report section of predictions that are texts: ROUGE beside lead baselines, lengths, and examples good and bad."""

from collections.abc import Callable, Sequence

import numpy as np

from ssl_cli.commands.finetune.sections import ReportSection, SplitPredictions
from ssl_cli.evaluation.html import Block, Figure, Note, PageTable, Section, format_number
from ssl_cli.evaluation.metrics.lead import lead_sentence, lead_words
from ssl_cli.evaluation.metrics.rouge import ROUGE, TextScores, rouge_f1, rouge_tokens
from ssl_cli.evaluation.plots.text_lengths import text_lengths
from ssl_cli.runs.csv_files import write_csv
from ssl_cli.tasks.task import Prediction

N_EXAMPLES = {"Best": 7, "Middling": 6, "Worst": 7}  # by ROUGE-L
MAX_SOURCE_CHARS = 400  # of an example on the page
LEAD = {"lead_sentence": "first sentence of the source", "lead_words": "first {n} words of the source"}


def text_section(split: SplitPredictions) -> ReportSection:
    """Return ROUGE of the predictions and of the lead baselines, with intervals, their lengths, and 20 examples."""
    sources, targets, written = (
        [each[name] for each in split.predictions] for name in ("source", "target", "prediction")
    )
    lengths = {name: _lengths(texts) for name, texts in (("predictions", written), ("targets", targets))}
    n_words = max(1, round(float(lengths["targets"].mean())))
    baselines = {
        "lead_sentence": [lead_sentence(source) for source in sources],
        "lead_words": [lead_words(source, n_words) for source in sources],
    }
    rows, metrics = {"this run": split.intervals.beside(split.scores, len(written))}, dict[str, float]()
    for name, texts in baselines.items():
        values = split.intervals.beside(TextScores(rouge_f1(texts, targets)), len(texts))
        rows[LEAD[name].format(n=n_words)] = values
        metrics |= {f"{name}_{key}": value for key, value in values.items()}
    table = PageTable(["texts", *ROUGE], [(name, *map(_cell(values), ROUGE)) for name, values in rows.items()])
    beside: list[Block] = [Note("ROUGE by word; of Chinese, Japanese and Korean by character. No stemmer."), table]
    blocks: list[Block] = [Section("Beside the beginning of the source", beside), _length_section(split, lengths)]
    return ReportSection(metrics, blocks + _examples(split, rouge_f1(written, targets)["rougeL"]))


def _lengths(texts: Sequence[str]) -> np.ndarray:
    return np.array([len(rouge_tokens(text)) for text in texts])


def _cell(values: dict[str, float]) -> Callable[[str], str]:
    """Return a function that writes a metric with its interval."""

    def cell(name: str) -> str:
        bounds = [values[key] for key in (f"{name}_low", f"{name}_high") if key in values]
        interval = f" ({' to '.join(map(format_number, bounds))})" if bounds else ""
        return format_number(values[name]) + interval

    return cell


def _length_section(split: SplitPredictions, lengths: dict[str, np.ndarray]) -> Section:
    means = {name: format_number(float(each.mean())) for name, each in lengths.items()}
    n_empty = int((lengths["predictions"] == 0).sum())
    note = f"Predictions have {means['predictions']} words on average, targets {means['targets']}"
    note += f"; {n_empty:,} predictions are empty." if n_empty else "."
    figure = Figure(f"lengths-{split.name}.png", "Lengths of predictions and targets.")
    text_lengths(split.folder / "figures" / figure.name, f"{split.name}: lengths", *lengths.values())
    return Section("Lengths", [Note(note), figure])


def _examples(split: SplitPredictions, scores: np.ndarray) -> list[Block]:
    """Return a section each of the best, the middling and the worst predictions; examples-<split>.csv has all three."""
    columns, written, sections = ["rougeL", "source", "target", "prediction"], list[dict[str, object]](), list[Block]()
    name = f"examples-{split.name}.csv"
    for title, chosen in chosen_examples(scores).items():
        rows = [_row(split.predictions[k], scores[k]) for k in chosen]
        written += [{"which": title.lower(), **row} for row in rows]
        cells = [[_short(str(row[column])) for column in columns] for row in rows]
        if rows:
            sections.append(Section(f"{title} by ROUGE-L", [Note(f"Also in {name}."), PageTable(columns, cells)]))
    write_csv(split.folder / name, ["which", "id", *columns], written, split.escape_formulas)
    return sections


def chosen_examples(scores: np.ndarray) -> dict[str, list[int]]:
    """Return which predictions are shown, given their scores (N,): each once, in the order of the scores."""
    order = np.argsort(-scores, kind="stable")
    n_best, n_middle, n_worst = N_EXAMPLES.values()
    if len(order) <= n_best + n_middle + n_worst:
        return {"All": order.tolist()}
    first = n_best + (len(order) - n_best - n_worst - n_middle) // 2
    parts = (order[:n_best], order[first : first + n_middle], order[-n_worst:])
    return {name: part.tolist() for name, part in zip(N_EXAMPLES, parts, strict=True)}


def _row(prediction: Prediction, score: float) -> dict[str, object]:
    texts = {name: prediction[name] for name in ("source", "target", "prediction")}
    return {"id": prediction["id"], "rougeL": f"{score:.3f}", **texts}


def _short(text: str) -> str:
    return text if len(text) <= MAX_SOURCE_CHARS else f"{text[:MAX_SOURCE_CHARS]}…"
