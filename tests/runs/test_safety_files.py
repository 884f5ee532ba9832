"""Files of an untrusted run folder: pickles, zip bombs, links, pipes, enormous tensors."""

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import ssl_cli
from ssl_cli.training import checkpoints
from tests.helpers.untrusted_runs import WAYS, Attack, RunsCommand, bomb, configured, pickled, zipped


@pytest.mark.parametrize("name", ["model.safetensors", "neighbors/model.safetensors", "calibration.safetensors"])
def test_a_pickle_in_place_of_weights(refused: Callable[..., None], name: str) -> None:
    refused(pickled(name), "is a pickle: it holds more than numbers, and would run code", listed=True)


@pytest.mark.parametrize("name", ["model.safetensors", "calibration.safetensors"])
def test_a_torch_zip_in_place_of_weights(refused: Callable[..., None], name: str) -> None:
    refused(zipped(name), "is a zip, as torch.save makes it: it may hold more than numbers", listed=True)


def test_a_pickle_in_place_of_a_checkpoint(refused: Callable[..., None]) -> None:
    refused(pickled("last.ckpt"), "last.ckpt is a pickle: it holds more than numbers", listed=True)


def test_a_checkpoint_with_a_command_in_it(refused: Callable[..., None]) -> None:
    refused(zipped("last.ckpt"), "holds more than numbers (posix.system), and would run code", ("resume",))


def test_an_old_pickle_in_place_of_a_checkpoint(refused: Callable[..., None]) -> None:
    attack = lambda folder: (folder / "last.ckpt").write_bytes(pickle.dumps(RunsCommand(), protocol=0))  # noqa: E731
    refused(attack, "last.ckpt", ("resume",))


def test_support_vectors_that_do_not_fit_their_weights(refused: Callable[..., None]) -> None:
    def attack(folder: Path) -> None:
        arrays = load_file(folder / "model.safetensors")
        save_file(arrays | {"weights": np.ones(10**4)}, folder / "model.safetensors")

    refused(attack, "model.safetensors is damaged: weights must be", ("load", "score"), "ocsvm")


# --- links, and what is no file ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["log.txt", "model.safetensors", "config.yaml", "figures", "folds", "figures/roc.png"])
@pytest.mark.parametrize("there", [True, False])
def test_a_link(refused: Callable[..., None], workdir: Path, name: str, there: bool) -> None:
    mine = workdir / "mine"
    mine.mkdir()

    def attack(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        target = mine if name in ("figures", "folds") else mine / "secret"
        if there and not target.is_dir():
            shutil.copy(folder / "environment.json", target)
        path.symlink_to(target if there else workdir / "nowhere")

    ways = WAYS if there or name != "config.yaml" else ()
    refused(attack, "is a link: a run folder holds its own files only", ways, listed=ways == WAYS)
    assert {path.name for path in mine.iterdir()} <= {"secret"}


@pytest.mark.parametrize("name", ["log.txt", "last.ckpt", "environment.json", "preprocessor.json", "folds"])
def test_a_pipe(refused: Callable[..., None], name: str) -> None:
    def attack(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    refused(attack, f"{name} is neither a file nor a folder", listed=True)


@pytest.mark.parametrize("name", ["log.txt", "metrics.json", "preprocessor.json", "columns.csv"])
def test_a_folder_in_place_of_a_file(refused: Callable[..., None], name: str) -> None:
    def attack(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    refused(attack, f"{name} is a folder: a run has a file of that name", listed=True)


def test_the_folder_itself_may_be_reached_through_a_link(honest: Path, workdir: Path) -> None:
    (workdir / "outputs").symlink_to(honest / "outputs")
    assert ssl_cli.load().config.verb == "detect"


# --- enormous tensors --------------------------------------------------------------------------------------


def header(length: int, **tensors: Any) -> Attack:
    text = json.dumps(tensors).encode()
    content = struct.pack("<Q", length or len(text)) + text + b"1234"
    return lambda folder: (folder / "model.safetensors").write_bytes(content)


@pytest.mark.parametrize(
    "attack",
    [
        header(2**40),
        header(2**63),
        header(0, x={"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}),
        header(0, x={"dtype": "F32", "shape": [1], "data_offsets": [0, 2**60]}),
    ],
    ids=range(4),
)
def test_an_enormous_tensor_header(refused: Callable[..., None], attack: Attack) -> None:
    refused(attack, "is damaged: its files don't make a model", ("load", "score"))


@pytest.mark.parametrize(("name", "size"), [("shape", [10**9]), ("latent", 10**8), ("hidden", [10**9])])
def test_an_enormous_model(refused: Callable[..., None], name: str, size: Any) -> None:
    attack = configured(**{f"model__autoencoder__network__{name}": size})
    refused(attack, "; the config's model has it as ", ("load", "score"))
    shutil.rmtree("outputs")
    refused(attack, "of weights, and this machine", ("resume",))


def test_a_model_beyond_all_numbers(refused: Callable[..., None]) -> None:
    refused(configured(model__autoencoder__network__latent=10**30), "The model can't be built: ")


def test_weights_of_another_model(refused: Callable[..., None]) -> None:
    def attack(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        weights.pop("spread")
        save_file(weights, folder / "model.safetensors")

    refused(attack, "numbers; the config's model has", ("load", "score"))


def test_a_checkpoint_of_something_else(refused: Callable[..., None]) -> None:
    def attack(folder: Path) -> None:
        torch.save({"global_step": 1, "state_dict": {}}, folder / "last.ckpt")
        checkpoints.append_checksum(folder / "last.ckpt")

    refused(attack, "last.ckpt is damaged: it is of another model than this run's", ("resume",))


def test_a_zip_bomb(refused: Callable[..., None]) -> None:
    refused(bomb("last.ckpt"), "last.ckpt would unpack to more than its size")
