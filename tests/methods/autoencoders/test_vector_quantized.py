"""VQVAE: its loss, its codes, its metrics over an epoch, and the initialization of its codebook."""

import pytest
import torch
from torch import Tensor

from ssl_cli.methods.autoencoders.vector_quantized import VQVAE, grid_to_vectors, vectors_to_grid
from ssl_cli.models.convnet import GridAutoencoder
from ssl_cli.models.images import smoothed_relative_error
from ssl_cli.models.quantizer import Quantizer, perplexity

SHAPE, CODES = [1, 8, 12], 9  # a grid of 4 x 6 with one halving


def model(**options: object) -> VQVAE:
    torch.manual_seed(0)
    network = GridAutoencoder(SHAPE, [6], latent=3)
    return VQVAE(network, Quantizer(CODES, 3, **options), prior_width=4, prior_layers=1)  # type: ignore[arg-type]


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(1)
    return torch.rand(10, *SHAPE)


def test_vectors_of_a_grid_come_row_by_row_and_go_back() -> None:
    grid = torch.randn(2, 3, 4, 6)
    vectors = grid_to_vectors(grid)
    assert torch.equal(vectors[24 + 6 + 2], grid[1, :, 1, 2])  # image 1 (24), row 1 (6), column 2
    assert torch.equal(vectors_to_grid(vectors, grid), grid)


@torch.no_grad()
def test_the_loss_is_the_error_and_the_quantizers(x: Tensor) -> None:
    """arXiv 1711.00937, eq. 3, with the codebook by moving averages."""
    vqvae = model().eval()
    grid = vqvae.network.encode(x)
    error = commitment = 0.0
    for image in range(10):
        chosen = torch.zeros(3, 4, 6)
        for row in range(4):
            for column in range(6):
                z = grid[image, :, row, column]
                chosen[:, row, column] = min(vqvae.quantizer.vectors, key=lambda e, z=z: float((z - e).square().sum()))
        error += float((vqvae.network.decode(chosen[None])[0] - x[image]).square().mean()) / 10
        commitment += 0.25 * float((grid[image] - chosen).square().mean()) / 10
    losses = vqvae({"x": x})
    assert losses["error"].item() == pytest.approx(error, rel=1e-4)
    assert losses["quantization"].item() == pytest.approx(commitment, rel=1e-4)
    torch.testing.assert_close(losses["loss"], losses["error"] + losses["quantization"])


@pytest.mark.parametrize("cosine", [False, True])
def test_codes_decode_exactly_to_the_reconstruction(x: Tensor, cosine: bool) -> None:
    vqvae = model(cosine=cosine).eval()
    codes = vqvae.codes({"x": x})
    assert codes.shape == (10, 24) and codes.dtype == torch.int64
    assert torch.equal(vqvae.decode_codes(codes), vqvae.reconstruct({"x": x}))
    torch.testing.assert_close((vqvae.reconstruct({"x": x}) - x).square().mean(), vqvae({"x": x})["error"])
    errors = smoothed_relative_error(vqvae.reconstruct({"x": x}), x)
    torch.testing.assert_close(vqvae.score({"x": x}), errors.mean((1, 2, 3)))
    embedded = vqvae.embed({"x": x}).view(10, 24, 3)
    assert torch.equal(embedded[4, 7], vqvae.quantizer.look_up(codes[4, 7]))


def test_codes_are_counted_by_place(x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl_cli.methods.autoencoders.vector_quantized.STATISTICS_BATCH", 4)
    vqvae, pixels = model().eval(), (x * 255).byte()
    with torch.inference_mode():
        vqvae.fit_statistics(pixels)
        vqvae.fit_statistics(pixels)  # anew, not on top
        codes = torch.cat([vqvae.codes({"x": part.float() / 255}) for part in pixels.split(4)])
    naive = torch.zeros(24, CODES, dtype=torch.int64)
    for image in codes:
        for place, code in enumerate(image.tolist()):
            naive[place, code] += 1
    assert torch.equal(vqvae.code_counts, naive)
    assert int(vqvae.code_counts.sum()) == 10 * 24


def test_perplexity_is_counted_over_all_batches() -> None:
    vqvae = model().eval()
    torch.manual_seed(2)
    batches = [torch.rand(4, *SHAPE) * scale for scale in (1, 30, -30)]
    with torch.inference_mode():  # as in Lightning's validation
        for batch in batches:
            vqvae({"x": batch})
        codes = torch.cat([vqvae.codes({"x": batch}) for batch in batches])
        found = vqvae.epoch_metrics()
    counts = torch.bincount(codes.flatten(), minlength=CODES)
    assert found == {"perplexity": perplexity(counts), "codes_used": float((counts > 0).double().mean())}
    each = [perplexity(torch.bincount(part.flatten(), minlength=CODES)) for part in codes.split(4)]
    assert found["perplexity"] > max(each)
    assert vqvae.epoch_metrics()["codes_used"] == 0  # the count starts again
    with torch.no_grad():  # also outside of inference mode
        vqvae({"x": batches[0]})
    assert vqvae.epoch_metrics()["perplexity"] == pytest.approx(each[0])


def test_training_is_not_counted(x: Tensor) -> None:
    vqvae = model().train()
    vqvae({"x": x})
    assert vqvae.epoch_metrics()["codes_used"] == 0


def test_the_codebook_starts_from_the_encoders_vectors(x: Tensor) -> None:
    vqvae, again, said = model(), model(), list[str]()
    pixels = (x * 255).byte()
    vqvae.initialize_from_data(pixels, 5, said.append)
    again.initialize_from_data(pixels, 5, said.append)
    assert torch.equal(vqvae.quantizer.vectors, again.quantizer.vectors)
    assert said[0] == "codebook: 9 codes start from k-means over the vectors of 10 images"
    vectors = grid_to_vectors(vqvae.network.encode(pixels.float() / 255)).detach()
    assert len(vqvae.quantizer.nearest(vectors).unique()) == CODES
    untouched = torch.cdist(vectors, model().quantizer.vectors).min(1).values.mean()
    assert torch.cdist(vectors, vqvae.quantizer.vectors).min(1).values.mean() < 0.3 * untouched
    vqvae.train()({"x": x})["loss"].backward()  # what was made in inference mode can be trained


def test_new_images_are_decoded_grids_of_the_prior() -> None:
    vqvae = model().eval()
    torch.manual_seed(3)
    drawn = vqvae.generate(4)
    torch.manual_seed(3)
    assert torch.equal(drawn, vqvae.decode_codes(vqvae.prior.sample(4).flatten(1)))
    assert drawn.shape == (4, *SHAPE)


def test_the_prior_learns_nothing_with_the_rest(x: Tensor) -> None:
    vqvae = model(codebook="loss").train()
    vqvae({"x": x})["loss"].backward()
    trained = {name for name, value in vqvae.named_parameters() if value.requires_grad}
    assert trained == {name for name, value in vqvae.named_parameters() if value.grad is not None}
    assert not any(name.startswith("prior") for name in trained) and "quantizer.vectors" in trained
