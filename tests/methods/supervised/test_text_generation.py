"""Text generation: the loss of packed pairs, and the text that is written, each as if the pair were alone."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from ssl_cli.data.labelled.packed_pairs import PackedPairs
from ssl_cli.data.labelled.pair_template import PairTemplate
from ssl_cli.errors import InputError
from ssl_cli.methods.protocols import PredictsLabels, WritesText
from ssl_cli.methods.supervised.text_generation import TextGenerator
from ssl_cli.models.encoder_decoder import EncoderDecoder
from tests.helpers.pretrain_runs import tokenizer_of

V, CONTEXT = 160, 64
SOURCES = [[20, 31, 42], [50] * 9, [7, 8], [90, 91, 92, 93, 94, 95], [11] * 20]
TARGETS = [[21, 32], [51], [9, 10, 11, 12, 13], [96], [60, 61, 62]]


def generator(style: str = "t5", max_target: int = 12, **options: Any) -> TextGenerator:
    torch.manual_seed(0)
    shape = {"layers": 2, "width": 32, "heads": 2, "positions": "rotary", "norm": "pre", "dropout": 0.0} | options
    network = EncoderDecoder(V, CONTEXT, **shape)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.4 * torch.randn_like(weight))
    return TextGenerator(network, tokenizer_of("wordpiece").specials, style, max_target).eval()  # type: ignore[arg-type]


def packed(style: str = "t5") -> PackedPairs:
    template = PairTemplate.for_network(tokenizer_of("wordpiece"), style, 40, 12, CONTEXT)  # type: ignore[arg-type]
    return PackedPairs(SOURCES, TARGETS, template)


@pytest.mark.parametrize("style", ["t5", "bart"])
@pytest.mark.parametrize("positions", ["rotary", "relative", "learned"])
def test_the_loss_is_the_mean_over_all_tokens_of_targets_that_are_alone(style: str, positions: str) -> None:
    model = generator(style, positions=positions)
    total, n = torch.zeros(()), 0
    for ids, target_ids in zip(SOURCES, TARGETS, strict=True):
        source, target = model.template.source(ids, 99), model.template.target(target_ids, 99)
        inputs = [model.template.start, *target[:-1]]
        logits = model.network.logits(model.network(torch.tensor([source]), torch.tensor([inputs])))
        total = total + functional.cross_entropy(logits[0], torch.tensor(target), reduction="sum")
        n += len(target)
    loss = model(packed(style)[0, slice(0, 5), 5.0])["loss"]
    torch.testing.assert_close(loss, total / n)
    (grad,) = torch.autograd.grad(loss, model.network.encoder.blocks[0].up.weight)  # type: ignore[union-attr]
    assert grad.abs().max() > 0, "the encoder learns too"


@pytest.mark.parametrize("style", ["t5", "bart"])
def test_each_text_is_the_likeliest_token_by_token(style: str) -> None:
    model = generator(style)
    with torch.no_grad():  # so that the end is not the likeliest at once
        model.network.token_table.weight[model.template.end] = 0
    template, special = model.template, set(model.specials.values())
    written = model.predict_batch(packed(style)[0, slice(0, 5), 5.0])
    assert [text.tolist() for text in model.write([template.source(ids, 99) for ids in SOURCES])] == [
        text.tolist() for text in written
    ]
    assert len({text.tobytes() for text in written}) > 2, "texts differ"
    for ids, text in zip(SOURCES, written, strict=True):
        source, own = torch.tensor([template.source(ids, 99)]), [template.start, *template.target_prefix]
        wanted: list[int] = []
        for _ in range(12 - len(template.target_prefix)):
            logits = model.network.logits(model.network(source, torch.tensor([own + wanted])))[0, -1]
            logits[[token for token in special if token != template.end]] = -torch.inf
            wanted.append(int(logits.argmax()))
            if wanted[-1] == template.end:
                break
        n = min(len(text), 11)  # the last token that fits is the end, in BART's style
        assert text.tolist()[:n] == [token for token in wanted if token != template.end][:n]


def test_it_writes_and_predicts() -> None:
    assert isinstance(generator(), WritesText) and isinstance(generator(), PredictsLabels)


def test_targets_longer_than_the_decoder_has_positions() -> None:
    with pytest.raises(InputError, match=f"task.max_target=65: the decoder has {CONTEXT} positions"):
        generator(max_target=65)


def test_more_beams_than_the_vocabulary_can_fill() -> None:
    with pytest.raises(InputError, match=r"task\.beams=5000 is too many for a vocabulary of 160 tokens: set fewer"):
        TextGenerator(generator().network, tokenizer_of("wordpiece").specials, "t5", 12, beams=5000)
