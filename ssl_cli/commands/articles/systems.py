"""Systems that stand beside a summarizer in its table: beginnings of the article, rare and random words, people."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from ssl_cli.data.articles.sources import Pair
from ssl_cli.data.articles.words import WITHOUT_SPACES
from ssl_cli.evaluation.metrics.lead import MAX_CHARS
from ssl_cli.evaluation.metrics.rouge import rouge_tokens

RARE_WORDS, RARE_AMONG = 6, 60  # how many of the rarest words, among how many first ones
DRAWN_AMONG = 30  # of how many first words random ones are drawn
RANDOM = "random_words"


@dataclass(frozen=True)
class SimpleSystems:
    """Simple systems by their keys in metrics: `names` in the table, and the `strongest` of them, the one to beat.

    Words are characters if the titles are Chinese; it has no list of stop words, and its titles are longer.
    """

    names: dict[str, str]
    leads: dict[str, int]  # key -> how many of the first words
    strongest: str

    @classmethod
    def for_titles(cls, titles: Sequence[str]) -> "SimpleSystems":
        """Return those for titles of this language."""
        is_chinese = sum(bool(WITHOUT_SPACES.search(title)) for title in titles) > len(titles) / 2
        unit, leads = ("characters", (12, 20)) if is_chinese else ("words", (8, 12))
        names = {f"lead_{n}": f"first {n} {unit}" for n in leads}
        sizes, strongest = {f"lead_{n}": n for n in leads}, f"lead_{leads[-1]}"
        if not is_chinese:
            strongest = "content_lead_8"
            names[strongest] = "first 8 words without stop words"
        names |= {"rare_words": f"{RARE_WORDS} rarest {unit}", RANDOM: f"as many random {unit}"}
        return cls(names, sizes, strongest)

    def write(
        self, pairs: Sequence[Pair], summaries: Sequence[str], articles: Sequence[str], seed: int
    ) -> dict[str, list[str]]:
        """Return what each system writes for the articles of pairs; `articles` are those of training."""
        firsts = [rouge_tokens(pair.article[:MAX_CHARS]) for pair in pairs]
        written = {key: [" ".join(words[:n]) for words in firsts] for key, n in self.leads.items()}
        if "content_lead_8" in self.names:
            contents = ([word for word in words if word not in ENGLISH_STOP_WORDS] for words in firsts)
            written["content_lead_8"] = [" ".join(words[:8]) for words in contents]
        rarest = _rarest_words(articles)
        written["rare_words"] = [" ".join(rarest(words)) for words in firsts]
        sizes, rng = [len(rouge_tokens(text)) for text in summaries], np.random.default_rng(seed)
        written[RANDOM] = [" ".join(_drawn(words, n, rng)) for words, n in zip(firsts, sizes, strict=True)]
        return written


def _rarest_words(articles: Sequence[str]) -> Callable[[list[str]], list[str]]:
    counts = Counter(word for article in articles for word in set(rouge_tokens(article)))

    def rarest(words: list[str]) -> list[str]:
        among = list(dict.fromkeys(words[:RARE_AMONG]))
        chosen = set(sorted(among, key=lambda word: counts[word])[:RARE_WORDS])
        return [word for word in among if word in chosen]

    return rarest


def _drawn(words: list[str], n: int, rng: np.random.Generator) -> list[str]:
    """Return n of the first words at random, in their order."""
    among = words[:DRAWN_AMONG]
    return [among[k] for k in sorted(rng.permutation(len(among))[:n])]
