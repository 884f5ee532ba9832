"""Several nodes, torchrun, and environments of other launchers: one run, or a message."""

import os
import socket
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import Cli
from tests.helpers.distributed_runs import DDP, PLAIN, assert_near, folder_in, largest_difference
from tests.helpers.processes import DEADLINE_S, folder_of, popen, run


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def on_nodes(*words: str, cwd: Path) -> list[str]:
    """Run two commands, as two machines would; return what each printed."""
    common = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    command = [sys.executable, "-m", "ssl_cli.cli.main", "detect", *words]
    nodes = [
        popen(command, cwd=cwd, env=common | {"NODE_RANK": rank}, stdout=-1, stderr=-1)
        for rank in "01"
    ]
    outputs = [node.communicate(timeout=DEADLINE_S) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    return [out for out, _ in outputs]


@pytest.mark.long
@pytest.mark.parametrize("devices", [1, 2])
def test_two_nodes_are_one_run(cli: Cli, workdir: Path, devices: int) -> None:
    words = [*DDP, "trainer.num_nodes=2", f"trainer.devices={devices}", *PLAIN, "optim.schedule=constant"]
    out, silent = on_nodes(*words, "trainer.max_steps=20", "paths.outputs=nodes", cwd=workdir)
    assert out.count("auroc") == 1 and not silent
    (folder,) = (path.parent for path in workdir.glob("nodes/detect/*/*/config.yaml"))
    out, silent = on_nodes("resume=latest", "trainer.max_steps=60", "paths.outputs=nodes", cwd=workdir)
    assert "resuming from step 20" in out and not silent
    code, _, err = cli("detect", "trainer=cpu", *PLAIN, "trainer.max_steps=60", "optim.schedule=constant")
    assert code == 0, err
    (alone,) = (path.parent for path in workdir.glob("outputs/detect/*/*/config.yaml"))
    assert largest_difference(alone, folder) < 1e-4
    assert_near(alone, folder)
    assert not list(folder.glob("worker-*"))


@pytest.mark.long
def test_torchrun(cli: Cli, workdir: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port()]
    command = [*torchrun, "-m", "ssl_cli.cli.main", "detect"]
    words = [*DDP, *PLAIN, "trainer.max_steps=20", "optim.schedule=constant", "calibrate=cross", "folds=2"]
    done = run([*command, *words], cwd=workdir)
    folder = folder_of(done, workdir)
    assert done.stdout.count("auroc") == 1
    done = run([*command, "resume=latest", "trainer.max_steps=40"], cwd=workdir)
    assert folder_of(done, workdir) == folder == folder_in(workdir)
    words = [word.replace("max_steps=20", "max_steps=40") for word in words[2:]]
    code, _, err = cli("detect", "trainer=cpu", *words, "paths.outputs=alone")
    assert code == 0, err
    (alone,) = (path.parent for path in workdir.glob("alone/detect/*/*/config.yaml"))
    assert largest_difference(alone, folder) < 1e-4
    assert_near(alone, folder)
    done = run([*command, "-m", "seed=0,1"], cwd=workdir)
    assert done.returncode != 0 and "leave out torchrun, srun or NODE_RANK" in done.stderr


@pytest.mark.parametrize(
    ("environment", "words", "sentence"),
    [
        ({"LOCAL_RANK": "1"}, [], "as if this were one process of several"),
        ({"NODE_RANK": "1"}, [], "as if this were one process of several"),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, DDP, "4 processes were started (by torchrun or srun)"),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2"}, [*DDP, "sweep.skip_done=true"], "set resume=RUN"),
        ({"NODE_RANK": "1"}, ["-m", *DDP, "trainer.num_nodes=2", "seed=0,1"], "A sweep starts the processes"),
        ({"NODE_RANK": "1"}, [*DDP, "trainer.num_nodes=2", "sweep.skip_done=true"], "set resume=RUN"),
        ({}, [*DDP, "trainer.num_nodes=2"], "needs NODE_RANK and MASTER_ADDR and MASTER_PORT"),
    ],
)
def test_processes_that_do_not_add_up(
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    workdir: Path,
    environment: dict[str, str],
    words: list[str],
    sentence: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code, _, err = cli("detect", *words)
    assert code == 2
    assert sentence in err
    assert not (workdir / "outputs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_fsdp_needs_a_gpu(cli: Cli) -> None:
    code, _, err = cli("detect", "trainer=fsdp")
    assert code == 2
    assert "trainer.strategy=fsdp: torch finds no GPU on this machine; use trainer=cpu, or trainer=ddp" in err
