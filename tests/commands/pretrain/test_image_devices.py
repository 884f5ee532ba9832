"""`ssl pretrain` on images with two processes is one run, with the weights and metrics of a single process."""

import json
from pathlib import Path

import pytest

from tests.conftest import Cli, run_ssl
from tests.helpers.distributed_runs import DDP, assert_near, assert_none_left, history
from tests.helpers.processes import folder_of

# Without random views: the draws of each process are its own. By SGD, which does not enlarge rounding errors as Adam.
WORDS = ["data=digits", "model.network.widths=[8,16]", "model.network.depths=[1,1]", "model.network.stem=3x3"]
WORDS += ["model.augment.crop=1", "model.augment.brightness=0", "model.augment.contrast=0", "optim=sgd"]
WORDS += ["trainer.batch_size=64", "trainer.max_steps=12", "trainer.validate_every_n_steps=6"]


@pytest.mark.long
@pytest.mark.parametrize("model", ["simclr", "byol"])
def test_two_processes_are_one_run_with_the_weights_of_one_process(cli: Cli, workdir: Path, model: str) -> None:
    words = [f"model={model}", *WORDS]
    both = folder_of(run_ssl("pretrain", *DDP, *words, f"paths.outputs={workdir}/two", cwd=workdir), workdir)
    assert_none_left(workdir)
    assert not list(both.glob("worker-*"))
    code, out, err = cli("pretrain", "trainer=cpu", *words)
    assert code == 0, err
    alone = Path(out.strip().splitlines()[-1])
    assert_near(alone, both)
    for one, other in zip(history(alone), history(both), strict=True):
        assert one.keys() == other.keys()
        values = [[float(value) for value in row.values()] for row in (one, other)]
        assert values[0] == pytest.approx(values[1], rel=1e-3, abs=1e-3)
    metrics, others = (json.loads((folder / "metrics.json").read_text()) for folder in (alone, both))
    assert metrics.keys() == others.keys() and "test/random_knn_accuracy" in metrics
    accuracies = {name: value for name, value in metrics.items() if name.endswith("accuracy")}
    assert {name: others[name] for name in accuracies} == pytest.approx(accuracies, abs=0.03)
