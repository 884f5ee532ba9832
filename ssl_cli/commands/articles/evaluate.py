"""What summaries are worth: ROUGE by the titles that were held back, beside the beginnings of the articles."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from ssl_cli.data.articles.sources import ArticleData, Pair
from ssl_cli.data.articles.words import WordVocabulary, words_of
from ssl_cli.evaluation.metrics.bootstrap import bootstrap_intervals
from ssl_cli.evaluation.metrics.lead import MAX_CHARS
from ssl_cli.evaluation.metrics.rouge import ROUGE, TextScores, rouge_f1, rouge_tokens
from ssl_cli.methods.text_latent.protocols import LearnsFromSearch, RebuildsTexts, Summarizes
from ssl_cli.models.ngram import TrigramModel

BOOTSTRAP_SAMPLES = 1000
MODEL, TEACHER, TITLES = "this run", "the search it learned from", "titles by people"
RANDOM_WORDS = "as many random words"
STRONGEST = "first 8 words without stop words"
RARE_WORDS, RARE_AMONG = 6, 60  # how many of the rarest words, among how many first ones
DRAWN_AMONG = 30  # of how many first words random ones are drawn
KEYS = {  # system -> the beginning of the keys of its metrics
    TEACHER: "search",
    "first 8 words": "lead_8",
    "first 12 words": "lead_12",
    STRONGEST: "content_lead_8",
    f"{RARE_WORDS} rarest words": "rare_words",
    RANDOM_WORDS: "random_words",
    TITLES: "titles",
}
REBUILT = (MODEL, "first 8 words", RANDOM_WORDS, TITLES)  # the systems from whose texts articles are rebuilt
COMPARED = (*ROUGE, "perplexity", "words", "copied", "rebuilding_loss", "token_accuracy")


@dataclass(frozen=True)
class ArticleEvaluation:
    """Metrics of a run, and of each system its `rows` (name -> metric -> value); `summaries` of the test articles."""

    metrics: dict[str, float]
    rows: dict[str, dict[str, float]]
    pairs: list[Pair]
    summaries: list[str]
    rouge_l: np.ndarray
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    rebuilt: list[str] | None = None  # the articles, from the summaries alone


def evaluate(model: Summarizes, data: ArticleData, seed: int) -> ArticleEvaluation:
    """Measure the summaries of the test articles, those of simple systems beside them, and those of val."""
    test, readability = data.splits["test"], Readability(data)
    texts = systems(model, test, data.articles, seed)
    titles = [pair.title for pair in test]
    scores = {name: rouge_f1(written, titles) for name, written in texts.items() if name != TITLES}
    rows = {name: measure(written, test, readability) for name, written in texts.items()}
    for name, values in scores.items():
        rows[name] = TextScores(values).metrics() | rows[name]
    gains = {f"{name}_gain": scores[MODEL][name] - scores[STRONGEST][name] for name in ROUGE}
    if isinstance(model, RebuildsTexts):
        losses = add_rebuilding(model, test, texts, rows)
        gains["rebuilding_gain"] = losses[RANDOM_WORDS] - losses[MODEL]
    metrics = {f"test/{name}": value for name, value in rows[MODEL].items()}
    for name, key in KEYS.items():
        if name in rows:
            metrics |= {f"test/{key}_{metric}": rows[name][metric] for metric in rows[name] if metric in COMPARED}
    intervals = bootstrap_intervals(TextScores(scores[MODEL] | gains).metrics, len(test), BOOTSTRAP_SAMPLES, seed)
    metrics |= {f"test/{name}": float(values.mean()) for name, values in gains.items()}
    for name, (low, high) in intervals.items():
        metrics |= {f"test/{name}_low": low, f"test/{name}_high": high}
    val = data.splits["val"]
    of_val = rouge_f1(model.summarize([pair.article for pair in val]), [pair.title for pair in val])
    metrics |= {f"val/{name}": value for name, value in TextScores(of_val).metrics().items()}
    rebuilt = model.rebuild(texts[MODEL]) if isinstance(model, RebuildsTexts) else None
    return ArticleEvaluation(metrics, rows, test, texts[MODEL], scores[MODEL]["rougeL"], intervals, rebuilt)


def add_rebuilding(
    model: RebuildsTexts, pairs: Sequence[Pair], texts: Mapping[str, list[str]], rows: Mapping[str, dict[str, float]]
) -> dict[str, np.ndarray]:
    """Add to the rows of some systems how well the model rebuilds articles from its texts; return the losses, (N,) each."""
    losses, articles = {}, [pair.article for pair in pairs]
    for name in REBUILT:
        loss, accuracy = model.rebuilding(articles, texts[name])
        losses[name] = loss.double().numpy()
        rows[name] |= {"rebuilding_loss": float(loss.double().mean()), "token_accuracy": float(accuracy.mean())}
    return losses


def systems(model: Summarizes, pairs: Sequence[Pair], articles: Sequence[str], seed: int) -> dict[str, list[str]]:
    """Return what each system writes for the articles of pairs: the model, simple ones, and people."""
    firsts = [rouge_tokens(pair.article[:MAX_CHARS]) for pair in pairs]
    counts = Counter(word for article in articles for word in set(rouge_tokens(article)))

    def rarest(words: list[str]) -> list[str]:
        among = list(dict.fromkeys(words[:RARE_AMONG]))
        chosen = set(sorted(among, key=lambda word: counts[word])[:RARE_WORDS])
        return [word for word in among if word in chosen]

    texts = [pair.article for pair in pairs]
    summaries, rng = model.summarize(texts), np.random.default_rng(seed)

    def drawn(words: list[str], n: int) -> list[str]:
        among = words[:DRAWN_AMONG]
        return [among[k] for k in sorted(rng.permutation(len(among))[:n])]

    found = {
        MODEL: summaries,
        **({TEACHER: model.teacher.summarize(texts)} if isinstance(model, LearnsFromSearch) else {}),
        "first 8 words": [" ".join(words[:8]) for words in firsts],
        "first 12 words": [" ".join(words[:12]) for words in firsts],
        STRONGEST: [" ".join([word for word in words if word not in ENGLISH_STOP_WORDS][:8]) for words in firsts],
        f"{RARE_WORDS} rarest words": [" ".join(rarest(words)) for words in firsts],
        RANDOM_WORDS: [
            " ".join(drawn(words, len(rouge_tokens(of)))) for words, of in zip(firsts, summaries, strict=True)
        ],
    }
    return found | {TITLES: [pair.title for pair in pairs]}


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
