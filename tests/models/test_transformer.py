"""Transformer encoders and decoders: attention masks, positions, sizes, initialization."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import flex_attention

from ssl_cli.errors import InputError
from ssl_cli.models.attention import attend, document_block_mask, document_mask
from ssl_cli.models.encoder import SIZES
from ssl_cli.models.heads import MaskedLMHead, PairHead
from ssl_cli.models.positions import apply_rotary, document_positions, position_angles, relative_bias
from ssl_cli.models.transformer import Transformer

VOCABULARY = 50
DOCUMENT = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2], [0] * 12])
KINDS = ("learned", "sinusoidal", "rotary", "relative")  # of positions
VARIANTS = list(product(KINDS, ("pre", "post"), (False, True)))


def network(**options: object) -> Transformer:
    torch.manual_seed(0)
    return Transformer(VOCABULARY, 16, layers=2, width=32, heads=4, **options).eval()  # type: ignore[arg-type]


def tokens(rows: int = 2, length: int = 12) -> Tensor:
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("positions", "norm", "causal"), VARIANTS)
def test_only_in_an_encoder_does_a_token_see_later_ones(positions: str, norm: str, causal: bool) -> None:
    model, ids = network(positions=positions, norm=norm, causal=causal), tokens()
    changed = ids.clone()
    changed[:, 7] += 1
    changed %= VOCABULARY
    before = (model(ids) - model(changed))[:, :7].abs().max()
    assert before == 0 if causal else before > 1e-4


@pytest.mark.parametrize("positions", KINDS)
def test_an_encoder_reads_from_left_to_right_by_the_same_positions(positions: str) -> None:
    """In its only block a token then sees what it does at the end of a shorter text."""
    torch.manual_seed(0)
    model = Transformer(VOCABULARY, 16, layers=1, width=32, heads=4, positions=positions).eval()  # type: ignore[arg-type]
    if model.relative_table is not None:
        nn.init.normal_(model.relative_table.weight, std=2)
    ids = tokens()
    with model.left_to_right():
        hidden = model(ids)
    for place in range(12):
        torch.testing.assert_close(hidden[:, place], model(ids[:, : place + 1])[:, place], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("positions", "norm", "causal"), VARIANTS)
def test_an_isolated_document_gives_the_same_as_alone(positions: str, norm: str, causal: bool) -> None:
    model, ids = network(positions=positions, norm=norm, causal=causal), tokens()
    together = model(ids, document=DOCUMENT)
    for row, first, end in ((0, 0, 5), (0, 5, 9), (0, 9, 12), (1, 0, 12)):
        alone = model(ids[row : row + 1, first:end])
        torch.testing.assert_close(together[row : row + 1, first:end], alone, atol=1e-5, rtol=0)


def test_documents_are_isolated_in_gradients_too() -> None:
    model = network(causal=True)
    x = model.token_table(tokens(1)).detach().requires_grad_()
    mask = document_mask(DOCUMENT[:1], causal=True, dropout=0.0)
    model.blocks[0](x, mask, True)[:, 6].sum().backward()
    assert x.grad is not None
    touched = x.grad.abs().sum(-1)[0] > 0
    assert touched.tolist() == [5 <= place <= 6 for place in range(12)]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_block_masks_equal_full_masks(causal: bool) -> None:
    """The computation for a GPU, run on the CPU, where it is slow."""
    q, k, v = torch.randn(3, 2, 4, 12, 8)
    full = attend(q, k, v, document_mask(DOCUMENT, causal, 0.0), causal, 0.0)
    blocks = flex_attention(q, k, v, block_mask=document_block_mask(DOCUMENT, causal))
    torch.testing.assert_close(blocks, full, atol=1e-5, rtol=0)


def test_positions_restart_in_each_document() -> None:
    assert document_positions(DOCUMENT).tolist() == [[0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 1, 2], list(range(12))]


@pytest.mark.parametrize(("positions", "norm"), list(product(KINDS, ("pre", "post"))))
def test_reading_token_by_token_gives_the_same(positions: str, norm: str) -> None:
    model, ids = network(positions=positions, norm=norm, causal=True), tokens()
    cache = model.new_cache(rows=2, capacity=12)
    parts = [
        model(ids[:, :5], cache=cache),
        model(ids[:, 5:8], cache=cache),
    ]  # a prompt in two parts, then one by one
    parts += [model(ids[:, place : place + 1], cache=cache) for place in range(8, 12)]
    torch.testing.assert_close(torch.cat(parts, 1), model(ids), atol=1e-5, rtol=0)


@pytest.mark.parametrize("positions", KINDS)
def test_prompts_of_different_lengths_do_not_affect_each_other(positions: str) -> None:
    model, ids = network(positions=positions, causal=True), tokens(3, 10)
    padding = torch.tensor([0, 4, 6])
    cache = model.new_cache(rows=3, left_padding=padding)
    found = torch.cat([model(ids[:, :7], cache=cache), *(model(ids[:, [i]], cache=cache) for i in (7, 8, 9))], 1)
    assert found.isfinite().all()
    for row, first in enumerate(padding.tolist()):
        torch.testing.assert_close(found[row, first:], model(ids[row : row + 1, first:])[0], atol=1e-5, rtol=0)


def test_more_tokens_than_the_context_are_rejected() -> None:
    model = network(causal=True)
    with pytest.raises(InputError, match=r"17 tokens are more than the model's context of 16"):
        model(tokens(1, 17))
    cache = model.new_cache(rows=1, capacity=4)
    model(tokens(1, 4), cache=cache)
    with pytest.raises(InputError, match="5 tokens are more than the model's context of 4"):
        model(tokens(1, 1), cache=cache)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 32}, "needs a size, such as mini, or both layers and width"),
        ({"layers": 1, "width": 30, "heads": 4}, "A width of 30 can't be split into 4 heads"),
        ({"layers": 1, "width": 12, "heads": 4, "positions": "rotary"}, "a width of 12 in 4 heads makes 3"),
    ],
)
def test_sizes_that_do_not_fit_are_rejected(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Transformer(VOCABULARY, 16, **options)


@pytest.mark.parametrize(
    ("size", "millions"), [("tiny", 4.4), ("mini", 11.2), ("small", 28.8), ("base", 109.5), ("large", 335.1)]
)
def test_sizes_are_those_of_bert(size: str, millions: float) -> None:
    """The parameter counts of the papers and the hub's model cards, which include the pooler."""
    with torch.device("meta"):
        model = Transformer(30_522, 512, size=size, segments=2)  # type: ignore[arg-type]
        pooler = PairHead(model).pool
    n = sum(p.numel() for part in (model, pooler) for p in part.parameters())
    assert n / 1e6 == pytest.approx(millions, abs=0.06)
    assert SIZES[size][1] // model.heads == 64  # type: ignore[index]


def test_options_override_the_size() -> None:
    model = Transformer(VOCABULARY, 8, size="tiny", layers=1, feedforward=7)
    assert (model.layers, model.width, model.heads, model.blocks[0].up.out_features) == (1, 128, 2, 7)


def test_rotary_scores_depend_only_on_distance() -> None:
    angles = position_angles(16, 8)
    q, k = torch.randn(2, 1, 1, 1, 8)
    at = lambda x, place: apply_rotary(x, angles[[place]].cos(), angles[[place]].sin())  # noqa: E731
    scores = [(at(q, place + 3) * at(k, place)).sum() for place in (0, 5, 12)]
    torch.testing.assert_close(scores[1:], scores[:1] * 2)


def test_sinusoids_equal_the_papers() -> None:
    """PE(pos, 2i) = sin(pos / 10000^(2i/C)), as many sines as cosines."""
    model = network(positions="sinusoidal")
    assert model.sin[3, 5].item() == pytest.approx(math.sin(3 / 10_000 ** (10 / 32)), abs=1e-6)
    assert model.cos[7, 2].item() == pytest.approx(math.cos(7 / 10_000 ** (4 / 32)), abs=1e-6)


def test_initial_weights_are_as_published() -> None:
    torch.manual_seed(0)
    model = Transformer(2000, 64, layers=8, width=128, norm="pre")
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            adds = name.endswith(("out.weight", "down.weight"))
            assert parameter.std().item() == pytest.approx(0.02 / math.sqrt(16) if adds else 0.02, rel=0.05), name


def test_the_output_is_tied_to_the_input() -> None:
    model = network()
    head = MaskedLMHead(model)
    hidden = model(tokens())
    assert (model.logits(hidden) == hidden @ model.token_table.weight.T).all()
    assert head(hidden, model.token_table.weight).shape == (2, 12, VOCABULARY)
    assert not any(p.shape == (VOCABULARY, 32) for p in head.parameters())


def test_each_dropout_option_drops() -> None:
    for name, other in (("dropout", "attention_dropout"), ("attention_dropout", "dropout")):
        model = network(**{name: 0.5, other: 0.0})
        assert (model(tokens()) == model(tokens())).all()
        model.train()
        assert not torch.equal(model(tokens()), model(tokens())), name


def test_every_parameter_gets_a_gradient() -> None:
    model = network(segments=2)
    segment = torch.tensor([[0] * 6 + [1] * 6] * 2)
    head, pair = MaskedLMHead(model), PairHead(model)
    hidden = model(tokens(length=12), segment=segment)
    loss = head(hidden, model.token_table.weight).logsumexp(-1).mean() + pair(hidden).square().mean()
    (loss + hidden.pow(3).mean()).backward()
    for module in (model, head, pair):
        for name, parameter in nn.Module.named_parameters(module):
            assert parameter.grad is not None and parameter.grad.any(), name


@pytest.mark.long
def test_the_compiled_network_gives_the_same() -> None:
    model, ids = network(causal=True), tokens()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(ids), model(ids), atol=1e-5, rtol=0)


@pytest.mark.parametrize("positions", ["rotary", "relative"])
@pytest.mark.parametrize("causal", [False, True])
def test_new_heads_look_at_tokens_beside_them(positions: str, causal: bool) -> None:
    """Of a row of one token the content says nothing: all that attention knows is the distance."""
    net = network(positions=positions, causal=causal)
    q, k, _ = net.blocks[0].attention.qkv.bias.view(3, 4, 1, 8)  # (H, 1, D) each
    if positions == "rotary":
        q, k = (apply_rotary(x.expand(4, 16, 8), net.cos, net.sin) for x in (q, k))
        scores = q @ k.mT  # (H, T, T)
    else:
        scores = relative_bias(net.relative_table.weight, 16, 16, causal)
    for head in (0, 1):
        left, right = scores[head, 8, 7], scores[head, 8, 9]
        assert causal or (left > right if head == 0 else right > left)
        assert max(left, right) > scores[head, 8, 0]
