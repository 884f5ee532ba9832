"""Questions and their passages as transformers' example run_qa.py reads them: in windows, with the answer's tokens."""

from pathlib import Path
from typing import Any

import datasets
from transformers import AutoModelForQuestionAnswering

STRIDE = 128  # tokens that two windows share


def model(checkpoint: Path, **_: Any) -> Any:
    return AutoModelForQuestionAnswering.from_pretrained(checkpoint)


def rows(folder: Path, split: str, tokenizer: Any, max_length: int, padded: bool) -> Any:
    """A window a row. Where the answer isn't whole in it, the first token stands for none."""

    def features(examples: dict[str, list]) -> dict[str, list]:
        found = tokenizer(
            [question.lstrip() for question in examples["question"]],
            examples["context"],
            truncation="only_second",
            max_length=max_length,
            stride=STRIDE,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding="max_length" if padded else False,
        )
        sources, offsets = found.pop("overflow_to_sample_mapping"), found.pop("offset_mapping")
        places = []
        for k, source in enumerate(sources):
            start, text = examples["at"][source], examples["answer"][source]
            places.append(answer_tokens(offsets[k], found.sequence_ids(k), start, start + len(text)))
        starts, ends = zip(*places, strict=True)
        length = [len(ids) for ids in found["input_ids"]]
        return {**found, "start_positions": list(starts), "end_positions": list(ends), "length": length}

    lines = datasets.load_dataset(
        "json", data_files=str(folder / f"{split}.jsonl"), split="train", cache_dir=str(folder / "datasets")
    )
    return lines.map(features, batched=True, remove_columns=lines.column_names)


def answer_tokens(offsets: list[tuple[int, int]], part: list[int | None], start: int, end: int) -> tuple[int, int]:
    """First and last token of the characters start..end, (0, 0) where the window lacks some of them"""
    passage = [k for k, which in enumerate(part) if which == 1]
    if not passage or offsets[passage[0]][0] > start or offsets[passage[-1]][1] < end:
        return 0, 0
    first = max(k for k in passage if offsets[k][0] <= start)
    return first, min(k for k in passage if offsets[k][1] >= end)
