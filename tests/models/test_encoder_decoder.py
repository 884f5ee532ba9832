"""Encoder-decoders: who sees whom, packed rows, padding, the cache, shapes."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.errors import InputError
from ssl_cli.models.encoder_decoder import PADDING, EncoderDecoder
from ssl_cli.models.losses import chunked_cross_entropy
from ssl_cli.models.transformer import Transformer

VOCABULARY, CONTEXT = 50, 20
T5 = {
    **{"positions": "relative", "norm": "pre", "normalization": "rms", "biases": False, "activation": "geglu"},
    **{"head_width": 12, "tied_output": False, "decoder_layers": 1},
}
VARIANTS: dict[str, dict] = {
    "bart": {},
    "t5": T5,
    "rotary": {"positions": "rotary", "norm": "pre", "activation": "swiglu"},
    "sinusoidal": {"positions": "sinusoidal", "norm": "pre", "normalization": "rms"},
}
each_variant = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)


def network(**options: object) -> EncoderDecoder:
    torch.manual_seed(0)
    made = EncoderDecoder(VOCABULARY, CONTEXT, layers=2, width=32, heads=4, **options)  # type: ignore[arg-type]
    for weight in made.parameters():  # larger ones than the initial, so that a difference is seen
        nn.init.normal_(weight, std=0.2) if weight.dim() > 1 else None
    return made.eval()


def tokens(rows: int, length: int, seed: int = 1) -> Tensor:
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


def assert_same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@each_variant
def test_a_token_sees_the_tokens_before_it_and_the_whole_source(options: dict) -> None:
    model, source, ids = network(**options), tokens(2, 9), tokens(2, 8, seed=2)
    hidden = model(source, ids)
    later, other = ids.clone(), source.clone()
    later[:, 5] = (later[:, 5] + 1) % VOCABULARY
    other[:, 8] = (other[:, 8] + 1) % VOCABULARY
    changes = (model(source, later) - hidden).abs().amax((0, 2))
    assert (changes[:5] == 0).all() and (changes[5:] > 1e-4).all()
    assert ((model(other, ids) - hidden).abs().amax((0, 2)) > 1e-4).all()
    first, last = source.clone(), source.clone()
    first[:, 0] = last[:, 8] = 3
    assert (model.encode(last)[:, 0] != model.encode(source)[:, 0]).any(), "the encoder sees both sides"


@each_variant
@pytest.mark.parametrize("with_gradient", [False, True])
def test_padding_changes_nothing(options: dict, with_gradient: bool) -> None:
    """A CPU computes attention differently if a gradient is needed."""
    model, source, ids = network(**options), tokens(1, 9), tokens(1, 6, seed=2)
    with torch.set_grad_enabled(with_gradient):
        alone = model(source, ids)
        padded_source = torch.cat([source, tokens(1, 4, seed=3)], 1)
        source_document = torch.tensor([[0] * 9 + [PADDING] * 4])
        padded = torch.cat([ids, tokens(1, 3, seed=4)], 1)
        for document in (torch.zeros(1, 9, dtype=torch.long), None):
            hidden = model(padded_source, padded, source_document, document)
            assert hidden.isfinite().all()
            assert_same(hidden[:, :6], alone)


@each_variant
@pytest.mark.parametrize("with_gradient", [False, True])
def test_packed_documents_give_the_same_as_alone(options: dict, with_gradient: bool) -> None:
    model, source, ids = network(**options), tokens(2, 12), tokens(2, 11, seed=2)
    source_document = torch.tensor([[0] * 5 + [1] * 4 + [PADDING] * 3, [7] * 2 + [9] * 10])
    document = torch.tensor([[0] * 3 + [1] * 8, [7] * 9 + [9] * 2])
    with torch.set_grad_enabled(with_gradient):
        packed = model(source, ids, source_document, document)
        for row, number in ((0, 0), (0, 1), (1, 7), (1, 9)):
            in_source, in_target = source_document[row] == number, document[row] == number
            alone = model(source[row, in_source][None], ids[row, in_target][None])
            assert_same(packed[row, in_target], alone[0])


@each_variant
@pytest.mark.parametrize("with_gradient", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_token_without_a_source_gets_zero_attention(
    options: dict, with_gradient: bool, precision: torch.dtype
) -> None:
    """The row's second document has no source, the second row's source is padding only."""
    model, source, ids = network(**options), tokens(2, 6), tokens(2, 8, seed=2)
    source_document = torch.tensor([[0] * 6, [PADDING] * 6])
    document = torch.tensor([[0] * 3 + [1] * 5, [0] * 8])
    with (
        torch.set_grad_enabled(with_gradient),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16),
    ):
        hidden = model(source, ids, source_document, document)
        assert hidden.isfinite().all()
        other = model(tokens(2, 6, seed=9), ids, source_document, document)
        assert torch.equal(other[0, 3:], hidden[0, 3:]) and torch.equal(other[1], hidden[1])
        assert not torch.equal(other[0, :3], hidden[0, :3])
    if with_gradient:
        hidden.float().square().mean().backward()
        assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())


@each_variant
def test_every_weight_learns(options: dict) -> None:
    model, source, ids = network(**options).train(), tokens(2, 9), tokens(2, 8, seed=2)
    hidden = model(source, ids, torch.zeros_like(source), torch.zeros_like(ids))
    chunked_cross_entropy(hidden.flatten(0, 1), model.output_weight, None, tokens(2, 8, seed=3).flatten()).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.any(), name


@each_variant
def test_reading_token_by_token_gives_the_same(options: dict) -> None:
    model, source, ids = network(**options), tokens(3, 9), tokens(3, 8, seed=2)
    source_document = torch.tensor([[0] * 9, [0] * 4 + [PADDING] * 5, [PADDING] * 9])
    with torch.no_grad():
        whole = model(source, ids, source_document)
        cache = model.new_cache(model.encode(source, source_document), source_document, capacity=8)
        parts = [model.decode(ids[:, :3], None, cache=cache), model.decode(ids[:, 3:5], None, cache=cache)]
        parts += [model.decode(ids[:, [place]], None, cache=cache) for place in (5, 6, 7)]
        assert cache.length == 8
        assert_same(torch.cat(parts, 1), whole)


@each_variant
@pytest.mark.parametrize("rows", [[1, 1, 0], [2, 0], [0, 1, 2]])
def test_rows_of_a_cache_are_selected(options: dict, rows: list[int]) -> None:
    model, source, ids = network(**options), tokens(3, 9), tokens(3, 6, seed=2)
    source_document = torch.tensor([[0] * 9, [0] * 4 + [PADDING] * 5, [0] * 8 + [PADDING]])
    with torch.no_grad():
        whole = model(source, ids, source_document)
        cache = model.new_cache(model.encode(source, source_document), source_document, capacity=6)
        model.decode(ids[:, :4], None, cache=cache)
        selected = cache.select(torch.tensor(rows))
        next_hidden = model.decode(ids[rows, 4:], None, cache=selected)
        assert_same(next_hidden, whole[rows, 4:])
        assert (cache.length, selected.length) == (4, 6), "the cache itself is as before"
        assert_same(model.decode(ids[:, 4:], None, cache=cache), whole[:, 4:])


def test_a_beam_that_stays_with_its_source_does_not_copy_it() -> None:
    model = network()
    cache = model.new_cache(model.encode(tokens(2, 9)), None, capacity=6)
    beams = cache.select(torch.tensor([0, 0, 1, 1]))
    assert beams.memory is not cache.memory
    assert beams.select(torch.tensor([1, 1, 3, 2])).memory is beams.memory


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
def test_positions_can_be_given(positions: str) -> None:
    """A fragment that keeps its positions in the text it was cut from, as in MASS."""
    model, source, ids = network(positions=positions), tokens(1, 9), tokens(1, 4, seed=2)
    place = torch.arange(4)[None]
    usual, moved = model(source, ids, position=place), model(source, ids, position=place + 5)
    assert torch.equal(usual, model(source, ids))
    if positions == "rotary":
        assert_same(moved, usual)  # only their differences count
    else:
        assert (moved - usual).abs().max() > 1e-3


def test_more_tokens_than_the_context_are_rejected() -> None:
    model = network(positions="relative")
    with pytest.raises(InputError, match=r"21 tokens are more than the model's context of 20"):
        model.encode(tokens(1, 21))
    with pytest.raises(InputError, match=r"21 tokens are more than the model's context of 20"):
        model(tokens(1, 5), tokens(1, 21))
    cache = model.new_cache(model.encode(tokens(1, 5)), None, capacity=3)
    with pytest.raises(InputError, match=r"4 tokens are more than the model's context of 3"):
        model.decode(tokens(1, 4), None, cache=cache)


@each_variant
def test_its_options_make_the_same_network(options: dict) -> None:
    model = network(**options)
    twin = EncoderDecoder(**model.options)
    twin.load_state_dict(model.state_dict())
    twin.eval()
    assert torch.equal(twin(tokens(2, 9), tokens(2, 5)), model(tokens(2, 9), tokens(2, 5)))
    assert twin.options == model.options

    encoder = Transformer(**model.encoder_options).eval()
    encoder.load_state_dict(model.encoder.state_dict())
    assert torch.equal(encoder(tokens(2, 9)), model.encode(tokens(2, 9)))


def test_the_output_is_tied_on_request() -> None:
    tied, own = network(), network(tied_output=False)
    assert tied.output_weight is tied.token_table.weight and own.output_weight is not own.token_table.weight
    assert own.output_weight.shape == (VOCABULARY, 32)
    for model in (tied, own):
        hidden = model(tokens(1, 5), tokens(1, 5))
        assert_same(model.logits(hidden), hidden @ model.output_weight.T)
    assert not [name for name in tied.state_dict() if name.startswith("output.")]
    assert len({id(weight) for weight in copy.deepcopy(tied).parameters()}) == len(tied.state_dict())


def test_initial_weights_add_up_to_one_block() -> None:
    """The decoder has three parts that add to its residual stream, the encoder two."""
    torch.manual_seed(0)
    model = EncoderDecoder(VOCABULARY, CONTEXT, layers=8, width=128, norm="pre")
    for stack, parts in ((model.encoder, 2), (model.decoder, 3)):
        for name, weight in stack.blocks.named_parameters():
            if name.endswith(("out.weight", "down.weight")):
                assert weight.std().item() == pytest.approx(0.02 / (parts * 8) ** 0.5, rel=0.05), name
            elif name.endswith((".qkv.weight", "up.weight")):
                assert weight.std().item() == pytest.approx(0.02, rel=0.05), name


def test_a_new_decoder_looks_first_at_the_same_token_of_the_source() -> None:
    torch.manual_seed(0)
    model = EncoderDecoder(VOCABULARY, CONTEXT, layers=2, width=64, heads=1, norm="pre")
    x = functional.layer_norm(torch.randn(6, 64), (64,))
    for block in model.decoder.blocks:
        q, (k, _) = block.cross_attention.q(x), block.cross_attention.keys_and_values(x[None])
        seen = (q @ k[0, 0].T / 64**0.5).softmax(-1)  # (6, 6)
        assert seen.argmax(-1).tolist() == list(range(6)) and seen.diagonal().min() > 0.9
