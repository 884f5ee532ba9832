"""BinaryAutoencoder: random bits, the gradient, and codes that can be stored."""

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


def test_training_draws_bits_with_their_probabilities() -> None:
    autoencoder, x = model().train(), images(3)
    p = autoencoder.network.encode(x).sigmoid()
    torch.manual_seed(2)
    draws = torch.stack([autoencoder._encode(x).detach() for _ in range(4000)])
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(draws.mean(0), p.detach(), atol=0.04, rtol=0)


def test_evaluation_uses_the_more_likely_value() -> None:
    autoencoder, x = model().eval(), images()
    p = autoencoder.network.encode(x).sigmoid()
    assert torch.equal(autoencoder.embed({"x": x}), (p > 0.5).float())
    assert torch.equal(autoencoder.codes({"x": x}), (p > 0.5).long())


def test_straight_through_gradient() -> None:
    """arXiv 1308.3432: dL/dp is taken for dL/db, the gradient at the bit that was drawn."""
    autoencoder, x = model().train(), images()
    parameters = list(autoencoder.network.encoder.parameters())
    torch.manual_seed(3)
    found = torch.autograd.grad(autoencoder({"x": x})["loss"], parameters)
    p = autoencoder.network.encode(x).sigmoid()
    torch.manual_seed(3)
    bits = torch.bernoulli(p.detach()).requires_grad_(True)
    (at_bits,) = torch.autograd.grad((autoencoder.network.decode(bits) - x).square().mean(), bits)
    for one, other in zip(found, torch.autograd.grad(p, parameters, grad_outputs=at_bits), strict=True):
        torch.testing.assert_close(one, other)


def test_codes_decode_exactly_to_the_reconstruction() -> None:
    autoencoder, x = model().eval(), images()
    codes = autoencoder.codes({"x": x})
    assert codes.shape == (12, BITS) and codes.dtype == torch.int64
    assert torch.equal(autoencoder.decode_codes(codes), autoencoder.reconstruct({"x": x}))


def test_a_tiny_logit_gives_the_same_bit_in_code_and_reconstruction() -> None:
    """The sigmoid of a tiny number rounds to a half."""
    autoencoder, x = model().eval(), images()
    with torch.no_grad():
        autoencoder.network.encoder[-1].weight.zero_()
        autoencoder.network.encoder[-1].bias.copy_(torch.tensor([1e-9, -1e-9, 0.0, 3e-8, 1e-30, -3e-8]))
    assert autoencoder.codes({"x": x})[0].tolist() == [1, 0, 0, 1, 1, 0]
    assert torch.equal(autoencoder.embed({"x": x}).long(), autoencoder.codes({"x": x}))


def test_generated_bits_have_the_training_frequencies() -> None:
    autoencoder, x = model().eval(), images(200)
    with torch.inference_mode():
        autoencoder.fit_statistics((x * 255).byte())
        codes = autoencoder.codes({"x": (x * 255).byte().float() / 255})
        assert torch.equal(autoencoder.code_counts, torch.stack([(codes == 0).sum(0), (codes == 1).sum(0)], dim=1))
        drawn: list[Tensor] = []
        autoencoder.decode = lambda z: drawn.append(z) or z  # type: ignore[method-assign]
        autoencoder.generate(20_000)
    assert set(drawn[0].unique().tolist()) <= {0.0, 1.0}
    torch.testing.assert_close(drawn[0].mean(0), codes.float().mean(0), atol=0.02, rtol=0)
