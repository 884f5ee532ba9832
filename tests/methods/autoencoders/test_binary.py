"""The code of bits: its draws, its gradient, and codes that can be stored."""

import torch
from torch import Tensor

from ssl_cli.methods.autoencoders.binary import BinaryAutoencoder
from ssl_cli.models.mlp import MLPAutoencoder

SHAPE, BITS = [1, 4, 4], 6


def model() -> BinaryAutoencoder:
    torch.manual_seed(0)
    return BinaryAutoencoder(MLPAutoencoder(SHAPE, [8], BITS, activation="tanh"))


def images(n: int = 12) -> Tensor:
    torch.manual_seed(1)
    return torch.rand(n, *SHAPE)


def test_in_training_bits_are_drawn_with_their_probabilities() -> None:
    made, x = model().train(), images(3)
    p = made.network.encode(x).sigmoid()
    torch.manual_seed(2)
    draws = torch.stack([made._code(x).detach() for _ in range(4000)])
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(draws.mean(0), p.detach(), atol=0.04, rtol=0)


def test_elsewhere_a_bit_has_its_likelier_value() -> None:
    made, x = model().eval(), images()
    p = made.network.encode(x).sigmoid()
    assert torch.equal(made.embed({"x": x}), (p > 0.5).float())
    assert torch.equal(made.codes({"x": x}), (p > 0.5).long())


def test_the_gradient_passes_as_if_the_probability_had_been_decoded() -> None:
    """arXiv 1308.3432: dL/dp is taken for dL/db, the gradient at the bit that was drawn."""
    made, x = model().train(), images()
    parameters = list(made.network.encoder.parameters())
    torch.manual_seed(3)
    found = torch.autograd.grad(made({"x": x})["loss"], parameters)
    p = made.network.encode(x).sigmoid()
    torch.manual_seed(3)
    bits = torch.bernoulli(p.detach()).requires_grad_(True)
    (at_bits,) = torch.autograd.grad((made.network.decode(bits) - x).square().mean(), bits)
    for one, other in zip(found, torch.autograd.grad(p, parameters, grad_outputs=at_bits), strict=True):
        torch.testing.assert_close(one, other)


def test_codes_decode_to_the_reconstruction_to_the_bit() -> None:
    made, x = model().eval(), images()
    codes = made.codes({"x": x})
    assert codes.shape == (12, BITS) and codes.dtype == torch.int64
    assert torch.equal(made.decode_codes(codes), made.reconstruct({"x": x}))


def test_a_bit_on_the_edge_is_the_same_in_code_and_reconstruction() -> None:
    """The sigmoid of a tiny number rounds to a half."""
    made, x = model().eval(), images()
    with torch.no_grad():
        made.network.encoder[-1].weight.zero_()
        made.network.encoder[-1].bias.copy_(torch.tensor([1e-9, -1e-9, 0.0, 3e-8, 1e-30, -3e-8]))
    assert made.codes({"x": x})[0].tolist() == [1, 0, 0, 1, 1, 0]
    assert torch.equal(made.embed({"x": x}).long(), made.codes({"x": x}))


def test_bits_are_counted_and_drawn_as_often() -> None:
    made, x = model().eval(), images(200)
    with torch.inference_mode():
        made.fit_statistics((x * 255).byte())
        codes = made.codes({"x": (x * 255).byte().float() / 255})
        assert torch.equal(made.code_counts, torch.stack([(codes == 0).sum(0), (codes == 1).sum(0)], dim=1))
        drawn: list[Tensor] = []
        made.decode = lambda z: drawn.append(z) or z  # type: ignore[method-assign]
        made.generate(20_000)
    assert set(drawn[0].unique().tolist()) <= {0.0, 1.0}
    torch.testing.assert_close(drawn[0].mean(0), codes.float().mean(0), atol=0.02, rtol=0)
