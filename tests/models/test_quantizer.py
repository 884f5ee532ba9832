"""The codebook against naive transcriptions of its papers' formulas."""

from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_cli.models.quantizer import Quantizer, perplexity, rotate_to

CODES, WIDTH, N = 7, 3, 40


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(N, WIDTH)


def quantizer(
    codebook: Literal["ema", "loss"] = "ema",
    gradient: Literal["straight_through", "rotation"] = "straight_through",
    cosine: bool = False,
    dead_code_threshold: float = 0.0,
    decay: float = 0.9,
) -> Quantizer:
    torch.manual_seed(0)
    return Quantizer(CODES, WIDTH, codebook, decay, 0.25, cosine, gradient, dead_code_threshold)


def naive_nearest(x: Tensor, vectors: Tensor) -> list[int]:
    return [min(range(len(vectors)), key=lambda k: float((row - vectors[k]).square().sum())) for row in x]


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


# --- the nearest code ---


def test_the_nearest_code_is_chosen(x: Tensor) -> None:
    model = quantizer().eval()
    chosen, index, loss = model(x)
    assert index.tolist() == model.nearest(x).tolist() == naive_nearest(x, model.vectors)
    assert torch.equal(chosen, model.vectors[index])
    assert torch.equal(model.look_up(index.view(4, 10)), model.vectors[index].view(4, 10, WIDTH))
    torch.testing.assert_close(loss, 0.25 * (x - chosen).square().mean())


def test_cosine_codes_lie_on_the_sphere_and_compare_directions_only(x: Tensor) -> None:
    model = quantizer(cosine=True).eval()
    chosen, index, _ = model(x)
    torch.testing.assert_close(chosen.norm(dim=1), torch.ones(N))
    assert index.tolist() == [int((unit(model.vectors) @ unit(row)).argmax()) for row in x]
    assert torch.equal(model.nearest(x * torch.rand(N, 1).add(0.1) * 50), index)


def test_half_precision_around_it_chooses_the_same_codes() -> None:
    torch.manual_seed(0)
    model, x = Quantizer(256, 16), torch.randn(2000, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model.nearest(x), model.eval().nearest(x))
        chosen, index, _ = model(x.bfloat16())
    assert torch.equal(chosen, model.vectors[index])


def test_it_works_in_double_precision(x: Tensor) -> None:
    model = quantizer("ema").double().train()
    chosen, index, loss = model(x.double())
    assert chosen.dtype == loss.dtype == model.vectors.dtype == torch.float64
    assert index.tolist() == naive_nearest(x, quantizer().vectors)


# --- how the gradient passes ---


def test_straight_through_the_gradient_is_the_identity(x: Tensor) -> None:
    model = quantizer().train()
    x.requires_grad_(True)
    passed, index, _ = model(x)
    torch.testing.assert_close(passed, model.vectors[index])
    weights = torch.randn(N, WIDTH)
    (gradient,) = torch.autograd.grad((passed * weights).sum(), x)
    assert torch.equal(gradient, weights)


def naive_rotation(x: Tensor, q: Tensor) -> Tensor:
    """arXiv 2410.06424, eq. 4: |q| / |e| times R = I - 2 r r^T + 2 q^ e^^T, with r = (e^ + q^) / |e^ + q^|"""
    e_hat, q_hat = unit(x), unit(q)
    r = unit(e_hat + q_hat)
    return (q.norm() / x.norm()) * (torch.eye(len(x)) - 2 * torch.outer(r, r) + 2 * torch.outer(q_hat, e_hat))


def test_the_rotation_maps_a_vector_and_its_gradient_to_the_code(x: Tensor) -> None:
    model = quantizer(gradient="rotation").train()
    passed, index, _ = model(x)
    codes = model.vectors[index]
    torch.testing.assert_close(passed, codes, atol=1e-5, rtol=1e-4)
    for row, code in zip(x, codes, strict=True):
        naive = naive_rotation(row, code)
        turn = naive * row.norm() / code.norm()
        torch.testing.assert_close(turn @ turn.T, torch.eye(WIDTH), atol=1e-5, rtol=0)  # it is a rotation
        found = torch.autograd.functional.jacobian(lambda z, code=code: rotate_to(z[None], code[None])[0], row)
        torch.testing.assert_close(found, naive, atol=1e-4, rtol=1e-4)


def test_each_loss_trains_its_own_side(x: Tensor) -> None:
    model = quantizer("loss").train()
    x.requires_grad_(True)
    _, index, loss = model(x)
    of_x, of_codes = torch.autograd.grad(loss, [x, model.vectors])
    vectors = model.vectors.detach()
    # arXiv 1711.00937, eq. 3, as means: |sg[z] - e|^2 moves the codes alone, beta |z - sg[e]|^2 the encoder alone.
    torch.testing.assert_close(of_x, 0.25 * 2 * (x.detach() - vectors[index]) / x.numel())
    naive = torch.zeros_like(vectors)
    for row, k in zip(x.detach(), index.tolist(), strict=True):
        naive[k] += 2 * (vectors[k] - row) / x.numel()
    torch.testing.assert_close(of_codes, naive)


@pytest.mark.parametrize("gradient", ["straight_through", "rotation"])
def test_the_output_has_no_gradient_for_the_codes(x: Tensor, gradient: Literal["straight_through", "rotation"]) -> None:
    model = quantizer("loss", gradient).train()
    x.requires_grad_(True)
    passed = model(x)[0]
    of_x, of_codes = torch.autograd.grad(passed.sum(), [x, model.vectors], allow_unused=True)
    assert of_codes is None and bool((of_x != 0).any())


@pytest.mark.parametrize("codebook", ["ema", "loss"])
@pytest.mark.parametrize("gradient", ["straight_through", "rotation"])
@pytest.mark.parametrize("cosine", [False, True], ids=["distance", "cosine"])
def test_every_combination_takes_a_step(
    x: Tensor,
    codebook: Literal["ema", "loss"],
    gradient: Literal["straight_through", "rotation"],
    cosine: bool,
) -> None:
    model = quantizer(codebook, gradient, cosine, dead_code_threshold=0.5).train()
    x.requires_grad_(True)
    before = model.vectors.detach().clone()
    for _ in range(3):
        passed, index, loss = model(x)
        (passed.square().sum() + loss).backward()
        assert passed.shape == x.shape and index.shape == (N,)
    assert x.grad is not None and bool(x.grad.isfinite().all()) and bool((x.grad != 0).any())
    if codebook == "loss":
        assert model.vectors.grad is not None and bool(model.vectors.grad.isfinite().all())
    else:
        assert not torch.equal(model.vectors, before)


# --- how the codebook learns ---


@pytest.mark.parametrize("cosine", [False, True], ids=["distance", "cosine"])
def test_the_moving_average_is_the_papers(cosine: bool) -> None:
    """arXiv 1711.00937, appendix A.1: N_i <- g N_i + (1 - g) n_i; m_i <- g m_i + (1 - g) sum z; e_i = m_i / N_i."""
    model = quantizer(cosine=cosine).train()
    batches = [torch.randn(N, WIDTH) for _ in range(5)]
    e = model.vectors.clone()
    count = [N / CODES] * CODES  # each starts with its fair share of vectors, all where the code is
    total = [e[k] * N / CODES for k in range(CODES)]
    for batch in batches:
        model(batch)
        z = unit(batch) if cosine else batch
        index = naive_nearest(z, unit(e) if cosine else e)
        for k in range(CODES):
            mine = [row for row, at in zip(z, index, strict=True) if at == k]
            count[k] = 0.9 * count[k] + 0.1 * len(mine)
            total[k] = 0.9 * total[k] + 0.1 * sum(mine, torch.zeros(WIDTH))
            e[k] = total[k] / count[k]
        torch.testing.assert_close(model.vectors, e)
        torch.testing.assert_close(model.counts, torch.tensor(count) * CODES / N)


def test_evaluation_does_not_change_the_codebook(x: Tensor) -> None:
    model = quantizer(dead_code_threshold=10).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(x)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("codebook", ["ema", "loss"])
def test_k_means_finds_clusters(codebook: Literal["ema", "loss"]) -> None:
    torch.manual_seed(0)
    centres = 20 * torch.randn(CODES, WIDTH)
    x = centres.repeat_interleave(50, 0) + 0.1 * torch.randn(50 * CODES, WIDTH)
    model = quantizer(codebook)
    model.init_from_kmeans(x, seed=0)
    near = torch.cdist(centres, model.vectors.detach()).min(1)
    assert sorted(near.indices.tolist()) == list(range(CODES))
    assert near.values.max() < 0.1
    again = quantizer(codebook)
    again.init_from_kmeans(x, seed=0)
    assert torch.equal(again.vectors, model.vectors) and torch.equal(model.sums, model.vectors)


def test_k_means_on_fewer_vectors_than_codes_leaves_the_other_codes() -> None:
    model, x = quantizer(), torch.randn(4, WIDTH)
    before = model.vectors.clone()
    model.init_from_kmeans(x, seed=0)
    assert torch.equal(model.vectors[4:], before[4:])
    torch.testing.assert_close(torch.cdist(x, model.vectors[:4]).min(1).values, torch.zeros(4), atol=1e-3, rtol=0)


@pytest.mark.parametrize("codebook", ["ema", "loss"])
def test_a_dead_code_is_replaced_by_a_vector_of_the_batch(codebook: Literal["ema", "loss"]) -> None:
    model = quantizer(codebook, dead_code_threshold=0.05, decay=0.5).train()
    with torch.no_grad():
        model.vectors[2] = 1e3  # so far away that no vector is assigned to it
        model.sums[2] = 1e3
    replaced_at = None
    for step in range(8):
        x = torch.randn(200, WIDTH)
        model(x)
        if replaced_at is None and float(model.vectors[2].detach().abs().max()) < 500:
            replaced_at = step
            assert (x == model.vectors[2].detach()).all(1).any()
            assert model.counts[2] == 1  # it gets as much time as any other code to attract vectors
    assert replaced_at == 4  # 0.5^5 is the first power below 0.05


def test_the_number_of_draws_does_not_depend_on_how_many_are_dead(x: Tensor) -> None:
    states = []
    for dead_code_threshold in (1e-9, 0.5, 1e9):
        model = quantizer(dead_code_threshold=dead_code_threshold).train()
        torch.manual_seed(5)
        model(x)
        states.append(torch.get_rng_state())
    assert torch.equal(states[0], states[1]) and torch.equal(states[0], states[2])


def test_perplexity() -> None:
    assert perplexity(torch.full((64,), 3)) == pytest.approx(64)
    assert perplexity(torch.tensor([0, 9, 0])) == pytest.approx(1)
    p = torch.tensor([0.5, 0.25, 0.25])
    assert perplexity(p * 100) == pytest.approx(float(2 ** -(p * p.log2()).sum()))
    assert perplexity(np.array([2, 1, 1])) == pytest.approx(2**1.5)
    assert perplexity(torch.zeros(4)) == 1  # no vectors at all
