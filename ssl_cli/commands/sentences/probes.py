"""Probes of codes of sentences: what linear classifiers read in them of syntax and of meaning, and in simpler features.

Every label of the data is read, and the length of a sentence. docs/text_latents.md says what the features are.
"""

from collections.abc import Sequence

import numpy as np
from omegaconf import DictConfig
from sklearn.feature_extraction.text import CountVectorizer

from ssl_cli.commands.sentences.codec import SentenceCodec
from ssl_cli.commands.sentences.prepare import TokenizedSentences
from ssl_cli.commands.speech.probes import linear_probe, majority_share
from ssl_cli.data.sentences.rows import SentenceRows
from ssl_cli.data.sentences.sources import TEST, TRAIN, SentenceSplit
from ssl_cli.data.sentences.words import sentence_words
from ssl_cli.evaluation.metrics.probes import ProbeData
from ssl_cli.methods.build import new_model

MAX_TRAIN, MAX_TEST = 4000, 1000  # sentences of a probe
MAX_WORDS = 500  # of a bag of words
LENGTH, LENGTH_CLASSES = "length", 4
MAJORITY, BAG, RANDOM, CODE, STYLE, CONTENT = "majority", "bag", "random", "code", "style", "content"
BESIDE = "beside"
# What a probe reads -> its name in tables. The keys end those of the metrics, except that of the code.
FEATURES = {
    CODE: "code",
    STYLE: "its style",
    CONTENT: "its content",
    BESIDE: "the run beside it",
    RANDOM: "untrained encoder",
    BAG: "bag of words",
    MAJORITY: "most frequent",
}
Pair = tuple[np.ndarray, np.ndarray]  # of training and test sentences
Probes = dict[str, dict[str, float]]  # label -> what is read -> accuracy on test sentences


def probe(
    codec: SentenceCodec, sentences: TokenizedSentences, cfg: DictConfig, beside: Pair | None = None
) -> Probes:
    """Return the accuracy of linear probes on test sentences, of each label and each of FEATURES that there is.

    `beside`: vectors that another run gives of the `probed_rows` of each split.
    """
    rows = probed_rows(sentences, cfg.seed)
    splits = [sentences.splits[name].take(chosen.tolist()) for name, chosen in rows.items()]
    tokens = [sentences.rows[name].take(chosen) for name, chosen in rows.items()]
    features = features_of(codec, tokens, splits, cfg) | ({} if beside is None else {BESIDE: beside})
    found: Probes = {}
    for label, of_splits in labels_of(splits, list(sentences.label_values)).items():
        known = [np.flatnonzero(each >= 0) for each in of_splits]
        train, test = (each[rows] for each, rows in zip(of_splits, known, strict=True))
        if len(np.unique(train)) < 2 or not len(test):
            continue
        found[label] = {
            name: linear_probe(ProbeData(pair[0][known[0]], pair[1][known[1]], train, test), cfg.seed)
            for name, pair in features.items()
        }
        found[label][MAJORITY] = majority_share(train, test)
    return found


def probed_rows(sentences: TokenizedSentences, seed: int) -> dict[str, np.ndarray]:
    """Return which sentences of the training and of the test split probes read, at random."""
    most = {TRAIN: MAX_TRAIN, TEST: MAX_TEST}
    return {name: _some(len(sentences.splits[name]), n, seed) for name, n in most.items()}


def probe_metrics(probes: Probes) -> dict[str, float]:
    """Return the accuracies as metrics: `test/sentiment_probe`, `test/sentiment_probe_bag`, ..."""
    return {
        f"test/{label}_probe{'' if name == CODE else f'_{name}'}": value
        for label, accuracies in probes.items()
        for name, value in accuracies.items()
    }


def features_of(
    codec: SentenceCodec, tokens: Sequence[SentenceRows], splits: Sequence[SentenceSplit], cfg: DictConfig
) -> dict[str, Pair]:
    """Return what probes read of training and test sentences: the code and its parts, and what has learned nothing."""
    untrained = SentenceCodec(new_model(cfg).eval(), codec.tokenizer, codec.lowercase)
    code, of_untrained = ([each.posterior(rows)[0] for rows in tokens] for each in (codec, untrained))
    bag = CountVectorizer(token_pattern=r"\S+", max_features=MAX_WORDS, binary=True).fit(splits[0].texts)
    words = [bag.transform(split.texts).toarray().astype(np.float32) for split in splits]
    features = {CODE: code, RANDOM: of_untrained, BAG: words}
    if width := codec.model.style_width:
        features |= {STYLE: [each[:, :width] for each in code], CONTENT: [each[:, width:] for each in code]}
    return {name: (train, test) for name, (train, test) in features.items()}


def labels_of(splits: Sequence[SentenceSplit], names: Sequence[str]) -> dict[str, list[np.ndarray]]:
    """Return the numbers of each label's values in each split, -1 where there is none, and of the length's quarters."""
    labels = {}
    for name in names:
        values = sorted({value for each in splits[0].labels if (value := each[name]) is not None})
        number = {value: k for k, value in enumerate(values)}
        labels[name] = [np.array([number.get(str(each[name]), -1) for each in split.labels]) for split in splits]
    lengths = [np.array([len(sentence_words(text)) for text in split.texts]) for split in splits]
    edges = np.unique(np.quantile(lengths[0], np.linspace(0, 1, LENGTH_CLASSES + 1)[1:-1]))
    return labels | {LENGTH: [np.searchsorted(edges, each) for each in lengths]}


def _some(n: int, most: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng([seed, 23]).permutation(n)[:most])
