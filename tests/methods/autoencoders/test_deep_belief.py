"""The stack of machines, unrolled into the auto-encoder that it starts."""

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
    """(210, 1, 4, 4) bytes: four kinds of image, a little noisy"""
    random = torch.Generator().manual_seed(1)
    kinds = torch.bernoulli(torch.full((4, *SHAPE), 0.5), generator=random)
    noise = torch.rand(210, *SHAPE, generator=random)
    return ((0.8 * kinds[torch.randint(4, (210,), generator=random)] + 0.2 * noise) * 255).byte()


def linears(stack: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in stack if isinstance(layer, nn.Linear)]


def error(made: DeepBeliefAutoencoder, x: Tensor) -> float:
    pixels = x.float() / 255
    with torch.no_grad():
        return float((made.reconstruct({"x": pixels}) - pixels).square().flatten(1).sum(1).mean())


def test_the_encoder_has_the_machines_weights_and_the_decoder_their_transposes(x: Tensor) -> None:
    made = model(epochs=3)
    made.initialize_from_data(x, 7, lambda _: None)
    random, rows = torch.Generator().manual_seed(7), x.flatten(1).float() / 255
    for i, (up, down) in enumerate(
        zip(linears(made.network.encoder), reversed(linears(made.network.decoder)), strict=True)
    ):
        is_code = i == 2
        machine = RestrictedBoltzmann(WIDTHS[i], WIDTHS[i + 1], is_code, random)
        machine.learn(rows, 3, 20, 0.01 if is_code else 0.1)
        rows = machine.up(rows)  # probabilities, not draws, are what the next one sees
        assert torch.equal(up.weight, machine.weights.T) and torch.equal(down.weight, machine.weights)
        assert torch.equal(up.bias, machine.of_hidden) and torch.equal(down.bias, machine.of_visible)
    torch.testing.assert_close(made.embed({"x": x.float() / 255}), rows)


def test_unrolled_it_rebuilds_far_better_than_from_a_random_start(x: Tensor) -> None:
    made, said = model(epochs=60), list[str]()
    at_random = error(made, x)
    made.initialize_from_data(x, 0, said.append)
    assert error(made, x) < 0.35 * at_random
    assert [line.split(":")[0] for line in said] == ["machine 16 - 12", "machine 12 - 8", "machine 8 - 3"]
    for line in said:
        first, last = (float(number) for number in line.rsplit("row ", 1)[1].split(" -> "))
        assert last < first


def test_no_epochs_change_nothing(x: Tensor) -> None:
    made, said = model(epochs=0), list[str]()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    made.initialize_from_data(x, 0, said.append)
    assert not said
    changed = [name for name, value in made.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["network.decoder.4.bias"]  # what every network of pixels starts from: the mean image


def test_the_weights_follow_from_the_seed_alone(x: Tensor) -> None:
    states = []
    for seed, own in ((3, 1), (3, 2), (4, 1)):
        made = model(epochs=2)
        torch.manual_seed(own)  # torch's own stream has no part in it
        state = torch.get_rng_state()
        made.initialize_from_data(x, seed, lambda _: None)
        assert torch.equal(torch.get_rng_state(), state)
        states.append(made.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["network.encoder.0.weight"], states[2]["network.encoder.0.weight"])


def test_it_is_trained_on_from_there(x: Tensor) -> None:
    made = model(epochs=2)
    made.initialize_from_data(x, 0, lambda _: None)
    made({"x": x.float() / 255})["loss"].backward()
    assert all(parameter.grad is not None and (parameter.grad != 0).any() for parameter in made.parameters())


def test_a_network_that_is_no_stack_of_such_machines_is_refused() -> None:
    tanh = MLPAutoencoder(SHAPE, [8], 3, activation="tanh")
    with pytest.raises(InputError, match=r"model\.network\.activation must be sigmoid"):
        DeepBeliefAutoencoder(tanh)
    with pytest.raises(InputError, match=r"for the rows of a table take model=ae"):
        DeepBeliefAutoencoder(MLPAutoencoder([5], [8], 3, activation="sigmoid"))
    assert DeepBeliefAutoencoder(tanh, rbm_epochs=0).rbm_epochs == 0
