"""Words of a sentence, by which its length is counted, and the one way in which sentences are written."""

import re

from ssl_cli.evaluation.metrics.rouge import SCRIPTS_WITHOUT_SPACES

# What stands between spaces; a character of a script without spaces is a word of its own.
WORD = re.compile(rf"[{SCRIPTS_WITHOUT_SPACES}]|[^\s{SCRIPTS_WITHOUT_SPACES}]+")


def sentence_words(text: str) -> list[str]:
    """Return the words of a sentence, with the punctuation that is attached to them."""
    return WORD.findall(text)


def normalize(text: str, lowercase: bool) -> str:
    """Return a sentence with single spaces, in lower case if a data set asks for it."""
    text = " ".join(text.split())
    return text.lower() if lowercase else text
