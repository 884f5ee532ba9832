"""What summaries are worth: ROUGE by the titles that were held back, beside simple systems and another run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ssl_cli.commands.articles.systems import RANDOM, SimpleSystems
from ssl_cli.commands.finetune.text_section import chosen_examples
from ssl_cli.data.articles.sources import ArticleData, Pair
from ssl_cli.data.articles.words import WordVocabulary, words_of
from ssl_cli.evaluation.metrics.bootstrap import bootstrap_intervals
from ssl_cli.evaluation.metrics.rouge import ROUGE, TextScores, rouge_f1, rouge_tokens
from ssl_cli.methods.text_latent.protocols import LearnsFromSearch, RebuildsTexts, Summarizes
from ssl_cli.models.ngram import TrigramModel

BOOTSTRAP_SAMPLES = 1000
REBUILT_ARTICLES = 1000  # of the test articles, at most: to rebuild all would take longer than to summarize them
MODEL, TEACHER, BESIDE, TITLES = "model", "search", "beside", "titles"  # beside the keys of SimpleSystems
NAMES = {
    MODEL: "this run",
    BESIDE: "the run beside it",
    TEACHER: "the search it learned from",
    TITLES: "titles by people",
}
COMPARED = (*ROUGE, "perplexity", "words", "copied", "rebuilding_loss", "token_accuracy")


@dataclass(frozen=True)
class ArticleEvaluation:
    """Metrics of a run; `rows`: of each system, by its name, metric -> value; what is written of the test articles."""

    metrics: dict[str, float]
    rows: dict[str, dict[str, float]]
    pairs: list[Pair]
    summaries: list[str]
    rouge_l: np.ndarray
    strongest: str  # name of the simple system to beat
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    rebuilt: dict[int, str] | None = None  # the articles of the examples, from their summaries alone
    beside: list[str] | None = None  # the summaries of the other run


def evaluate(model: Summarizes, data: ArticleData, seed: int, other: Summarizes | None = None) -> ArticleEvaluation:
    """Measure the summaries of the test articles, those of `other` and of simple systems, and those of val."""
    test, readability = data.splits["test"], Readability(data)
    titles, articles = [pair.title for pair in test], [pair.article for pair in test]
    simple = SimpleSystems.for_titles(data.other_titles)
    texts = {MODEL: model.summarize(articles)}
    if other is not None:
        texts[BESIDE] = other.summarize(articles)
    if isinstance(model, LearnsFromSearch):
        texts[TEACHER] = model.teacher.summarize(articles)
    texts |= simple.write(test, texts[MODEL], data.articles, seed) | {TITLES: titles}
    scores = {key: rouge_f1(written, titles) for key, written in texts.items() if key != TITLES}
    rows = {key: measure(written, test, readability) for key, written in texts.items()}
    for key, values in scores.items():
        rows[key] = TextScores(values).metrics() | rows[key]
    gains = {f"{name}_gain": scores[MODEL][name] - scores[simple.strongest][name] for name in ROUGE}
    rebuilt, lower = None, dict[str, np.ndarray]()
    if isinstance(model, RebuildsTexts):
        losses = add_rebuilding(model, articles, {key: texts[key] for key in (MODEL, RANDOM, TITLES)}, rows)
        lower = {"rebuilding_gain": losses[RANDOM] - losses[MODEL]}
        examples = sorted({k for chosen in chosen_examples(scores[MODEL]["rougeL"]).values() for k in chosen})
        rebuilt = dict(zip(examples, model.rebuild([texts[MODEL][k] for k in examples]), strict=True))
    if isinstance(other, RebuildsTexts):
        add_rebuilding(other, articles, {BESIDE: texts[BESIDE]}, rows)
    intervals = bootstrap_intervals(TextScores(scores[MODEL] | gains).metrics, len(test), BOOTSTRAP_SAMPLES, seed)
    for name, differences in lower.items():
        of_gain = TextScores({name: differences}).metrics
        intervals |= bootstrap_intervals(of_gain, len(differences), BOOTSTRAP_SAMPLES, seed)
    metrics = metrics_of(rows, gains | lower, intervals) | of_validation(model, data.splits["val"])
    named = {(NAMES | simple.names)[key]: row for key, row in rows.items()}
    of_model = (texts[MODEL], scores[MODEL]["rougeL"], simple.names[simple.strongest])
    return ArticleEvaluation(metrics, named, test, *of_model, intervals, rebuilt, texts.get(BESIDE))


def metrics_of(
    rows: Mapping[str, Mapping[str, float]],
    gains: Mapping[str, np.ndarray],
    intervals: Mapping[str, tuple[float, float]],
) -> dict[str, float]:
    """Return the metrics of the test articles: those of the run, of other systems, gains, and 95 % intervals."""
    metrics = {f"test/{name}": value for name, value in rows[MODEL].items()}
    for key, row in rows.items():
        if key != MODEL:
            metrics |= {f"test/{key}_{name}": value for name, value in row.items() if name in COMPARED}
    metrics |= {f"test/{name}": float(values.mean()) for name, values in gains.items()}
    for name, (low, high) in intervals.items():
        metrics |= {f"test/{name}_low": low, f"test/{name}_high": high}
    return metrics


def of_validation(model: Summarizes, pairs: Sequence[Pair]) -> dict[str, float]:
    """Return ROUGE of the validation articles, to choose settings by."""
    scores = rouge_f1(model.summarize([pair.article for pair in pairs]), [pair.title for pair in pairs])
    return {f"val/{name}": value for name, value in TextScores(scores).metrics().items()}


def add_rebuilding(
    model: RebuildsTexts,
    articles: Sequence[str],
    texts: Mapping[str, Sequence[str]],
    rows: Mapping[str, dict[str, float]],
) -> dict[str, np.ndarray]:
    """Add to the row of each text how well the model rebuilds evenly spaced articles from it; return the losses."""
    losses, step = {}, -(-len(articles) // REBUILT_ARTICLES)
    for key, written in texts.items():
        loss, accuracy = model.rebuilding(articles[::step], written[::step])
        losses[key] = loss.double().numpy()
        rows[key].update(rebuilding_loss=float(loss.double().mean()), token_accuracy=float(accuracy.mean()))
    return losses


def measure(written: Sequence[str], pairs: Sequence[Pair], readability: "Readability") -> dict[str, float]:
    """Return what can be measured of summaries without titles: length, readability, copied and different words."""
    words = [rouge_tokens(text) for text in written]
    articles = [set(rouge_tokens(pair.article)) for pair in pairs]
    n_words = sum(map(len, words))
    copied = sum(word in article for text, article in zip(words, articles, strict=True) for word in text)
    two = [pair for text in words for pair in pairwise(text)]
    return {
        "words": n_words / len(words),
        "perplexity": readability.perplexity(written),
        "copied": copied / max(n_words, 1),
        "distinct_2": len(set(two)) / max(len(two), 1),
    }


class Readability:
    """Perplexity under a trigram model of titles that no method has learned from: those of the training articles."""

    def __init__(self, data: ArticleData):
        titles = [words_of(title) for title in data.other_titles]
        self.vocabulary = WordVocabulary.of_texts([*titles, *map(words_of, data.articles)])
        encoded = [self.vocabulary.encode(title) for title in titles]
        self.model = TrigramModel(encoded, len(self.vocabulary), self.vocabulary.end)

    def perplexity(self, texts: Sequence[str]) -> float:
        """Return the perplexity of texts per word, their ends included; lower reads more like a title."""
        encoded = [self.vocabulary.encode(words_of(text)) for text in texts]
        total = sum(self.model.log_probability(words, self.vocabulary.end) for words in encoded)
        return float(np.exp(-total / sum(len(words) + 1 for words in encoded)))
