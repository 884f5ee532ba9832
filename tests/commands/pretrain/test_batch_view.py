"""The view of a batch: cells of tokens and targets, and their layout in lines."""

import pytest
import torch

from ssl_cli.commands.pretrain.batch_view import Cell, cell_lines, legend, row_cells, show
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import WordLevel
from ssl_cli.models.losses import IGNORE_INDEX


def word_tokenizer(words: list[str]) -> Tokenizer:
    return WordLevel(vocab_size=50, sample_bytes=1000, lowercase=False).train([" ".join(words)] * 3)


def test_masked_replaced_and_kept_tokens() -> None:
    tokenizer = word_tokenizer(["the", "cat", "sat", "down"])
    the, cat, sat, down = tokenizer.encode("the cat sat down")
    cls, mask = tokenizer.specials["cls"], tokenizer.specials["mask"]
    inputs = {
        "inputs": torch.tensor([cls, mask, the, sat, down]),
        "positions": torch.tensor([1, 2, 3, 4]),
        "targets": torch.tensor([the, cat, sat, IGNORE_INDEX]),
    }
    cells = row_cells(tokenizer, inputs, {token_id: role for role, token_id in tokenizer.specials.items()})
    assert cells == [
        Cell("[CLS]", "", "special"),
        Cell("[MASK]", "the", "masked"),
        Cell("the", "cat", "replaced"),
        Cell("sat", "sat", "kept"),
        Cell("down", "", ""),
    ]


def test_each_target_stands_below_its_token() -> None:
    cells = [
        Cell("[MASK]", "extraordinary", "masked"),
        Cell("a", "", ""),
        *[Cell("word", "", "")] * 40,
        Cell("[MASK]", "end", "masked"),
    ]
    lines = [line.plain for line in cell_lines(cells)]
    assert len(lines) % 2 == 0
    assert lines[0].startswith("[MASK]        a word")
    assert lines[1].startswith("extraordinary ")
    assert lines[-1].rindex("end") == lines[-2].rindex("[MASK]")


def test_the_view_is_short_and_has_a_legend(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    tokenizer = word_tokenizer(["one", "two", "three"])
    ids = torch.tensor(tokenizer.encode("one two three " * 100)).repeat(5, 1)  # (5, 300)
    show(tokenizer, {"inputs": ids, "targets": ids, "positions": torch.arange(300).repeat(5, 1)})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("below each token that is to be predicted: the original. Shown in its place: [MASK]")
    assert "[MASK] (masked); another token (replaced); the token itself (kept). " in lines[0]
    assert len(lines) + len(lines[0]) // 80 < 20
    assert "example 2: 300 tokens, 300 kept; it begins" in lines
    assert max(map(len, lines[1:])) <= 80


def test_the_legend_names_the_marks_that_are_there() -> None:
    text = legend(False, ["a", "·b", "c⏎"]).plain
    assert text.endswith("from all up to there. · a blank, ⏎ a line break.")
    assert "##" not in text and "masked" not in text


def test_targets_of_gpt_are_the_next_tokens() -> None:
    tokenizer = word_tokenizer(["one", "two", "three"])
    ids = torch.tensor(tokenizer.encode("one two three"))
    cells = row_cells(tokenizer, {"inputs": ids[:-1], "targets": ids[1:]}, {})
    assert [cell[:2] for cell in cells] == [("one", "two"), ("two", "three")]
