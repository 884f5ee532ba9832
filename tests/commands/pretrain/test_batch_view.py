"""A batch as people are shown it."""

import torch

from ssl_cli.commands.pretrain.batch_view import cells_of, lines_of
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import WordLevel
from ssl_cli.models.losses import IGNORED


def word_tokenizer(words: list[str]) -> Tokenizer:
    return WordLevel(vocab_size=50, sample_bytes=1000, lowercase=False).train([" ".join(words)] * 3)


def test_what_is_hidden_replaced_and_kept_is_told_apart() -> None:
    tokenizer = word_tokenizer(["the", "cat", "sat", "down"])
    the, cat, sat, down = tokenizer.encode("the cat sat down")
    cls, mask = tokenizer.specials["cls"], tokenizer.specials["mask"]
    given = {
        "inputs": torch.tensor([cls, mask, the, sat, down]),
        "positions": torch.tensor([1, 2, 3, 4]),
        "targets": torch.tensor([the, cat, sat, IGNORED]),
    }
    cells = cells_of(tokenizer, given, {number: role for role, number in tokenizer.specials.items()})
    assert cells == [
        ("[CLS]", "", "special"),
        ("[MASK]", "the", "hidden"),
        ("the", "cat", "replaced"),
        ("sat", "sat", "kept"),
        ("down", "", ""),
    ]


def test_each_target_stands_beneath_its_token() -> None:
    cells = [
        ("[MASK]", "extraordinary", "hidden"),
        ("a", "", ""),
        *[("word", "", "")] * 40,
        ("[MASK]", "end", "hidden"),
    ]
    lines = [line.plain for line in lines_of(cells)]
    assert len(lines) % 2 == 0
    assert lines[0].startswith("[MASK]        a word")
    assert lines[1].startswith("extraordinary ")
    assert lines[-1].rindex("end") == lines[-2].rindex("[MASK]")


def test_of_gpt_every_token_has_the_next_one_beneath() -> None:
    tokenizer = word_tokenizer(["one", "two", "three"])
    ids = torch.tensor(tokenizer.encode("one two three"))
    cells = cells_of(tokenizer, {"inputs": ids[:-1], "targets": ids[1:]}, {})
    assert [(seen, goal) for seen, goal, _ in cells] == [("one", "two"), ("two", "three")]
