"""Questions and passages as in transformers' example run_qa.py: windows, with the tokens of the answer."""

from pathlib import Path
from typing import Any

import datasets
from transformers import AutoModelForQuestionAnswering

STRIDE = 128  # tokens that two windows share


def model(checkpoint: Path, **_: Any) -> Any:
    """Return the checkpoint with a new span head."""
    return AutoModelForQuestionAnswering.from_pretrained(checkpoint)


def rows(folder: Path, split: str, tokenizer: Any, max_length: int, padded: bool) -> Any:
    """Return a row for each window. If it does not contain the whole answer, its first token stands for no answer."""

    def features(examples: dict[str, list]) -> dict[str, list]:
        encoding = tokenizer(
            [question.lstrip() for question in examples["question"]],
            examples["context"],
            truncation="only_second",
            max_length=max_length,
            stride=STRIDE,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding="max_length" if padded else False,
        )
        sources, offsets = encoding.pop("overflow_to_sample_mapping"), encoding.pop("offset_mapping")
        spans = []
        for k, source in enumerate(sources):
            start, text = examples["at"][source], examples["answer"][source]
            spans.append(answer_tokens(offsets[k], encoding.sequence_ids(k), start, start + len(text)))
        starts, ends = zip(*spans, strict=True)
        length = [len(ids) for ids in encoding["input_ids"]]
        return {**encoding, "start_positions": list(starts), "end_positions": list(ends), "length": length}

    lines = datasets.load_dataset(
        "json", data_files=str(folder / f"{split}.jsonl"), split="train", cache_dir=str(folder / "datasets")
    )
    return lines.map(features, batched=True, remove_columns=lines.column_names)


def answer_tokens(offsets: list[tuple[int, int]], sequence: list[int | None], start: int, end: int) -> tuple[int, int]:
    """Return the first and last token of the characters start..end, (0, 0) if the window lacks some of them."""
    passage = [k for k, index in enumerate(sequence) if index == 1]
    if not passage or offsets[passage[0]][0] > start or offsets[passage[-1]][1] < end:
        return 0, 0
    first = max(k for k in passage if offsets[k][0] <= start)
    return first, min(k for k in passage if offsets[k][1] >= end)
