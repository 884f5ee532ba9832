"""Sentences with the style of one and the content of another, and a judge that says which label they have."""

from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from ssl_cli.commands.sentences.codec import SentenceCodec
from ssl_cli.commands.sentences.prepare import TokenizedSentences
from ssl_cli.data.sentences.sources import TEST, TRAIN

MAX_TRAIN, MAX_SWAPS = 20_000, 500  # sentences to teach the judge, and to swap
N_SHOWN = 12


@dataclass(frozen=True)
class StyleSwaps:
    """Metrics of swapped sentences, and rows of some: the content's, the style's, what was rebuilt and written."""

    metrics: dict[str, float]
    rows: list[list[str]]


def swap_styles(codec: SentenceCodec, sentences: TokenizedSentences) -> StyleSwaps | None:
    """Write test sentences with the mean style of another label; None for a model without a style.

    The judge is a bag-of-words classifier of the training sentences.
    """
    if not codec.model.style_width:
        return None
    train, test = sentences.rows[TRAIN].arrays["label"].numpy(), sentences.rows[TEST].arrays["label"].numpy()
    known = np.flatnonzero(test >= 0)[:MAX_SWAPS]
    chosen = np.flatnonzero(train >= 0)[:MAX_TRAIN]
    texts = [sentences.splits[TRAIN].texts[row] for row in chosen]
    judge = make_pipeline(CountVectorizer(token_pattern=r"\S+", binary=True), LogisticRegression(max_iter=200))
    judge.fit(texts, train[chosen])

    of_train = codec.posterior(sentences.rows[TRAIN].take(chosen))[0]
    means = {label: of_train[train[chosen] == label].mean(0) for label in np.unique(train[chosen])}
    codes, label = codec.posterior(sentences.rows[TEST].take(known))[0], test[known]
    others = np.array([_next(sorted(means), each) for each in label])
    width, swapped = codec.model.style_width, codes.copy()
    swapped[:, :width] = np.stack([means[other][:width] for other in others])
    originals = [sentences.splits[TEST].texts[row] for row in known]
    rebuilt, written = codec.decode(codes), codec.decode(swapped)
    metrics = {
        "judge_accuracy": float((judge.predict(originals) == label).mean()),
        "rebuilt_label": float((judge.predict(rebuilt) == label).mean()),
        "swapped_label": float((judge.predict(written) == others).mean()),
        "swap_changed": float(np.mean([one != other for one, other in zip(rebuilt, written, strict=True)])),
    }
    names = sentences.label_values[sentences.style or ""]
    rows = [
        [originals[k], names[label[k]], rebuilt[k], names[others[k]], written[k]]
        for k in range(min(N_SHOWN, len(known)))
    ]
    return StyleSwaps({f"test/{name}": value for name, value in metrics.items()}, rows)


def _next(labels: list[int], label: int) -> int:
    """Return the label after one, in a circle."""
    return labels[(labels.index(label) + 1) % len(labels)] if label in labels else labels[0]
