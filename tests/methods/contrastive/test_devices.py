"""Two processes that share a batch have the losses, gradients and batch statistics of one that has all of it."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_cli.data.images.augment import Augment
from ssl_cli.models.batch_norm import BatchNorm
from tests.helpers.processes import DEADLINE_S, popen
from tests.methods.contrastive.test_every_method import MAKE

ROOT = Path(__file__).parents[3]
N = 12
# A process of two, which takes every second image.
DEVICE = """
import sys
import torch
from torch import distributed
from tests.methods.contrastive.test_devices import computed

rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
torch.save(computed(rank, 2), f"{folder}/{rank}.pt")
distributed.barrier()
distributed.destroy_process_group()
"""


def computed(rank: int, world: int) -> dict[str, Any]:
    """Return what a process computes of its share of the batch: of each method, and of a norm of large numbers."""
    x = torch.rand(N, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found: dict[str, Any] = {}
    for name, make in MAKE.items():
        torch.manual_seed(1)
        model: Any = make().train()
        model.augment = Augment()  # the draws of each process are its own
        for norm in model.modules():
            if isinstance(norm, BatchNorm):
                nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.manual_seed(2)
        loss = model({"x": x[rank::world]})["loss"]
        loss.backward()
        state = {key: value for key, value in model.state_dict().items() if "running" in key or "tracked" in key}
        gradients = {key: averaged(value.grad, world) for key, value in model.named_parameters() if value.requires_grad}
        torch.manual_seed(2)
        validated = model.eval()({"x": x})["loss"].detach()  # each process validates on all images
        found[name] = {"loss": averaged(loss.detach(), world), "validated": validated} | state | gradients
    return found | {"norm": of_norm(rank, world)}


def of_norm(rank: int, world: int) -> dict[str, Tensor]:
    norm, share = BatchNorm(3), grid()[rank::world].requires_grad_()
    output = norm(share)
    (output.sin() + 0.1 * output.square()).sum().backward()
    assert share.grad is not None and norm.running_mean is not None and norm.running_var is not None
    rows = {"output": output.detach(), "gradient": share.grad}
    statistics = {"running_mean": norm.running_mean.clone(), "running_var": norm.running_var.clone()}
    norm.shares = False
    return rows | statistics | {"of one": norm(share).detach()}


def grid() -> Tensor:
    """Return activations whose mean is a thousand times their deviation."""
    return 100 + 0.1 * torch.randn(N, 3, 4, 5, generator=torch.Generator().manual_seed(3))


def averaged(value: Tensor | None, world: int) -> Tensor:
    assert value is not None
    if world > 1:
        torch.distributed.all_reduce(value)
    return value / world


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes computed."""
    folder = tmp_path_factory.mktemp("two")
    commands = [[sys.executable, "-c", DEVICE, str(rank), str(folder)] for rank in range(2)]
    processes = [popen(command, cwd=ROOT) for command in commands]
    assert [process.wait(DEADLINE_S) for process in processes] == [0, 0]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return computed(0, 1)


@pytest.mark.parametrize("name", MAKE)
def test_a_method_learns_the_same(name: str, two: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    for device in two:
        assert device[name].keys() == alone[name].keys()
        for key, value in alone[name].items():
            torch.testing.assert_close(device[name][key], value, rtol=1e-3, atol=1e-5, msg=f"{name}: {key}")


def test_a_norm_of_large_numbers_is_exact(two: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    for rank, device in enumerate(two):
        norm, expected = device["norm"], alone["norm"]
        torch.testing.assert_close(norm["output"], expected["output"][rank::2], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(norm["gradient"], expected["gradient"][rank::2], rtol=1e-3, atol=1e-2)
        for name in ("running_mean", "running_var"):
            torch.testing.assert_close(norm[name], expected[name], rtol=1e-4, atol=1e-5)


def test_a_norm_that_does_not_share_asks_nobody(two: list[dict[str, Any]]) -> None:
    for rank, device in enumerate(two):
        torch.testing.assert_close(device["norm"]["of one"], nn.BatchNorm2d(3)(grid()[rank::2]))
