"""Tasks of sequence classification, and small files for them."""

from pathlib import Path
from typing import Any

import pytest

from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build, read_yaml
from ssl_cli.data.labelled.sources import LabelledFiles
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.errors import InputError
from tests.helpers.pretrain_runs import tokenizer_of

CONF = built_in_conf() / "task"
GOOD = "text,label\ngood,1\nbad,0\n"


def task_of(name: str, **options: Any) -> Any:
    node = read_yaml(CONF / f"{name}.yaml")
    for option, value in options.items():
        node[option] = value
    return build(node)


def files(folder: Path, suffix: str, **contents: str) -> LabelledFiles:
    """Write files such as train="...", and return them as data.files."""
    paths = {}
    for split, content in contents.items():
        path = folder / f"{split}{suffix}"
        path.write_text(content, encoding="utf-8")
        paths[split] = str(path)
    return LabelledFiles(None, paths, folder)


def read_error(task: Any, published: LabelledFiles) -> str:
    with pytest.raises(InputError) as refused:
        task.read(published)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def template(max_length: int = 64, kind: str = "char") -> SequenceTemplate:
    return SequenceTemplate.for_tokenizer(tokenizer_of(kind), False, max_length)


def text_of(rows: Any, number: int) -> str:
    start = int(rows.sequence_starts[number])
    ids = rows.tokens["ids"][start : start + int(rows.sequences.length[number])]
    return str(tokenizer_of("char").decode(ids.numpy()))
