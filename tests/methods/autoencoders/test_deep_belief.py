"""DeepBeliefAutoencoder: the stack of machines, unrolled into the autoencoder that it initializes."""

import pytest
import torch
from torch import Tensor, nn

from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.deep_belief import DeepBeliefAutoencoder
from ssl_cli.models.mlp import MLPAutoencoder
from ssl_cli.models.rbm import RestrictedBoltzmann

SHAPE, WIDTHS = [1, 4, 4], [16, 12, 8, 3]


def model(epochs: int, lr: float = 0.1, linear_lr: float = 0.01) -> DeepBeliefAutoencoder:
    torch.manual_seed(0)
    network = MLPAutoencoder(SHAPE, WIDTHS[1:-1], WIDTHS[-1], activation="sigmoid")
    return DeepBeliefAutoencoder(network, rbm_epochs=epochs, rbm_lr=lr, rbm_linear_lr=linear_lr, rbm_batch_size=20)


@pytest.fixture
def x() -> Tensor:
    """Return (210, 1, 4, 4) bytes: noisy images of four classes."""
    random = torch.Generator().manual_seed(1)
    kinds = torch.bernoulli(torch.full((4, *SHAPE), 0.5), generator=random)
    noise = torch.rand(210, *SHAPE, generator=random)
    return ((0.8 * kinds[torch.randint(4, (210,), generator=random)] + 0.2 * noise) * 255).byte()


def linears(stack: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in stack if isinstance(layer, nn.Linear)]


def error(autoencoder: DeepBeliefAutoencoder, x: Tensor) -> float:
    pixels = x.float() / 255
    with torch.no_grad():
        return float((autoencoder.reconstruct({"x": pixels}) - pixels).square().flatten(1).sum(1).mean())


def test_weights_of_encoder_and_decoder_are_those_of_the_machines(x: Tensor) -> None:
    autoencoder = model(epochs=3)
    autoencoder.initialize_from_data(x, 7, lambda _: None)
    random, rows = torch.Generator().manual_seed(7), x.flatten(1).float() / 255
    for i, (up, down) in enumerate(
        zip(linears(autoencoder.network.encoder), reversed(linears(autoencoder.network.decoder)), strict=True)
    ):
        is_code = i == 2
        machine = RestrictedBoltzmann(WIDTHS[i], WIDTHS[i + 1], is_code, random)
        machine.fit(rows, 3, 20, 0.01 if is_code else 0.1)
        rows = machine.up(rows)  # the next machine gets probabilities, not samples
        assert torch.equal(up.weight, machine.weights.T) and torch.equal(down.weight, machine.weights)
        assert torch.equal(up.bias, machine.hidden_bias) and torch.equal(down.bias, machine.visible_bias)
    torch.testing.assert_close(autoencoder.embed({"x": x.float() / 255}), rows)


def test_the_machines_reduce_the_reconstruction_error(x: Tensor) -> None:
    autoencoder, lines = model(epochs=60), list[str]()
    before = error(autoencoder, x)
    autoencoder.initialize_from_data(x, 0, lines.append)
    assert error(autoencoder, x) < 0.35 * before
    assert [line.split(":")[0] for line in lines] == ["machine 16 - 12", "machine 12 - 8", "machine 8 - 3"]
    for line in lines:
        first, last = (float(number) for number in line.rsplit("row ", 1)[1].split(" -> "))
        assert last < first


def test_no_epochs_change_nothing(x: Tensor) -> None:
    autoencoder, lines = model(epochs=0), list[str]()
    before = {name: value.clone() for name, value in autoencoder.state_dict().items()}
    autoencoder.initialize_from_data(x, 0, lines.append)
    assert not lines
    changed = [name for name, value in autoencoder.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["network.decoder.4.bias"]  # initialized to the mean image, as in every network of pixels


def test_the_weights_follow_from_the_seed_alone(x: Tensor) -> None:
    states = []
    for seed, torch_seed in ((3, 1), (3, 2), (4, 1)):
        autoencoder = model(epochs=2)
        torch.manual_seed(torch_seed)  # torch's global generator must not matter
        state = torch.get_rng_state()
        autoencoder.initialize_from_data(x, seed, lambda _: None)
        assert torch.equal(torch.get_rng_state(), state)
        states.append(autoencoder.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["network.encoder.0.weight"], states[2]["network.encoder.0.weight"])


def test_all_parameters_have_gradients_afterwards(x: Tensor) -> None:
    autoencoder = model(epochs=2)
    autoencoder.initialize_from_data(x, 0, lambda _: None)
    autoencoder({"x": x.float() / 255})["loss"].backward()
    assert all(parameter.grad is not None and (parameter.grad != 0).any() for parameter in autoencoder.parameters())


def test_other_networks_are_rejected() -> None:
    tanh = MLPAutoencoder(SHAPE, [8], 3, activation="tanh")
    with pytest.raises(InputError, match=r"model\.network\.activation must be sigmoid"):
        DeepBeliefAutoencoder(tanh)
    with pytest.raises(InputError, match=r"for the rows of a table use model=ae"):
        DeepBeliefAutoencoder(MLPAutoencoder([5], [8], 3, activation="sigmoid"))
    assert DeepBeliefAutoencoder(tanh, rbm_epochs=0).rbm_epochs == 0
