"""Lead baselines of summaries: what comes first in a source is often what it is about."""

import re

from ssl_cli.evaluation.metrics.rouge import rouge_tokens

# A point ends a sentence before a space or a Chinese character: 3.5 and U.S.-made have none.
FIRST_SENTENCE = re.compile(r"\s*.*?(?:[!?。！？]|\.(?=\s|[\u3400-\u9fff]|$)|$)", re.DOTALL)
MAX_CHARS = 4000  # of a source in which its first sentence or words are looked for


def lead_sentence(source: str) -> str:
    """Return the first sentence of a source, all of it if it has no end."""
    found = FIRST_SENTENCE.match(source[:MAX_CHARS])
    return " ".join((found[0] if found else source).split())


def lead_words(source: str, n: int) -> str:
    """Return the first n tokens of a source as ROUGE counts them: words, or Chinese characters."""
    return " ".join(rouge_tokens(source[:MAX_CHARS])[:n])
