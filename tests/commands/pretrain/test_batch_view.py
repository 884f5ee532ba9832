"""The view of a batch: cells of tokens and targets, and their layout in lines."""

import torch

from ssl_cli.commands.pretrain.batch_view import cell_lines, row_cells
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
        ("[CLS]", "", "special"),
        ("[MASK]", "the", "masked"),
        ("the", "cat", "replaced"),
        ("sat", "sat", "kept"),
        ("down", "", ""),
    ]


def test_each_target_stands_below_its_token() -> None:
    cells = [
        ("[MASK]", "extraordinary", "masked"),
        ("a", "", ""),
        *[("word", "", "")] * 40,
        ("[MASK]", "end", "masked"),
    ]
    lines = [line.plain for line in cell_lines(cells)]
    assert len(lines) % 2 == 0
    assert lines[0].startswith("[MASK]        a word")
    assert lines[1].startswith("extraordinary ")
    assert lines[-1].rindex("end") == lines[-2].rindex("[MASK]")


def test_targets_of_gpt_are_the_next_tokens() -> None:
    tokenizer = word_tokenizer(["one", "two", "three"])
    ids = torch.tensor(tokenizer.encode("one two three"))
    cells = row_cells(tokenizer, {"inputs": ids[:-1], "targets": ids[1:]}, {})
    assert [(token, target) for token, target, _ in cells] == [("one", "two"), ("two", "three")]
