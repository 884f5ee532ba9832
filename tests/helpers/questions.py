"""Questions on a small passage, their tasks and tokenizers, and the logits of a perfect or a random model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build
from ssl_cli.data.labelled.packed_examples import IGNORE_INDEX
from ssl_cli.data.labelled.squad import Question
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import ByteLevelBPE, CharLevel, TrainedTokenizer, Unigram, WordPiece
from ssl_cli.tasks.passage_windows import PackedWindows
from ssl_cli.tasks.question_answering import QuestionAnswering

SENTENCE = "The café “Über Zürich” opened in 1990, and Ｆｕｌｌ-width ％ signs cost $3.50 there. "
CHINESE = "鸟会飞，鱼会游泳。1962年以后，𫚭也会游泳？她说：「会」。 "
PASSAGE = SENTENCE * 3 + CHINESE * 3 + "Naïve EXAMPLES end here."
ANSWERS = ["café", "Zürich", "1990", "Ｆｕｌｌ", "Naïve EXAMPLES", "鱼会游泳", "1962年", "𫚭", "here"]
TRAINERS: dict[str, TrainedTokenizer] = {
    "wordpiece": WordPiece(vocab_size=150, sample_bytes=10**6, lowercase=True),
    "bpe": ByteLevelBPE(vocab_size=280, sample_bytes=10**6),
    "unigram": Unigram(vocab_size=110, sample_bytes=10**6),
    "char": CharLevel(vocab_size=120, sample_bytes=10**6),
}


def task(name: str = "question_answering", **options: Any) -> QuestionAnswering:
    """Return the task of a YAML of conf/task."""
    return build(OmegaConf.merge(OmegaConf.load(built_in_conf() / "task" / f"{name}.yaml"), options))


def tokenizer(kind: str = "wordpiece") -> Tokenizer:
    """Return a tokenizer trained on answers and single characters, so that no token exceeds an answer."""
    return TRAINERS[kind].train([" ".join(PASSAGE), *ANSWERS * 3])


def questions(answers: Sequence[str] = ANSWERS, passage: str = PASSAGE) -> list[Question]:
    """Return a question for each answer, at its last place in the passage."""
    return [
        Question(f"q{k}", f"Where is {k}?", passage, "T", ((text, passage.rindex(text)),))
        for k, text in enumerate(answers)
    ]


def logits_of(rows: PackedWindows, rng: np.random.Generator | None = None) -> list[np.ndarray]:
    """What a model would guess that has learned every target by heart, or one that raw_predictions at random"""
    found = []
    for k, (begin, length) in enumerate(zip(rows.sequence_starts, rows.sequences.length, strict=True)):
        allowed = rows.sequences.tokens["allowed"][begin : begin + length] > 0
        logits = np.zeros((2, length), np.float32) if rng is None else rng.normal(size=(2, length)).astype(np.float32)
        for side, name in enumerate(("start", "end")):
            if rng is None and rows.targets[name][k] != IGNORE_INDEX:
                is_null = rows.targets[name][k] == rows.null[k]
                logits[side, rows.targets[name][k]] = 1 if is_null else 9
        found.append(np.where(allowed, logits, -np.inf))
    return found


def squad_file(path: Path, titles: Sequence[str], **further: Any) -> Path:
    data = [
        {
            "title": title,
            "paragraphs": [
                {
                    "context": "The dog ran.",
                    "qas": [
                        {"id": title, "question": "Who?", "answers": [{"text": "dog", "answer_start": 4}]} | further
                    ],
                }
            ],
        }
        for title in titles
    ]
    path.write_text(json.dumps({"data": data}))
    return path
