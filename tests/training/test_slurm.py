"""docs/slurm.sbatch: a job that Slurm stops ahead of its time limit puts itself back into the queue and goes on.

With stubs for srun and scontrol that do what Slurm's do, as far as the script can see: no cluster was at hand.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.helpers.processes import DEADLINE_S, assert_same_run, popen, step_of, wait_for

SCRIPT = Path(__file__).parents[2] / "docs" / "slurm.sbatch"
RUN = ["model=dae", "trainer.accelerator=cpu", "trainer.checkpoint_every_n_steps=30", "bootstrap_samples=20"]

# Drops its flags, starts the command once a task with the variables that Slurm sets, passes SIGTERM on, and ends with
# the largest exit code of a task.
SRUN = """
import os, signal, subprocess, sys
words = sys.argv[1:]
while words[0].startswith("-"):
    words.pop(0)
n = int(os.environ["SLURM_NTASKS"])
tasks = []
for rank in range(n):
    own = {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_NODEID": "0", "SLURM_STEP_ID": "0"}
    own |= {"SLURM_NTASKS": str(n), "SLURM_STEP_NUM_TASKS": str(n)}
    tasks.append(subprocess.Popen(words, env=os.environ | own))
signal.signal(signal.SIGTERM, lambda *_: [task.send_signal(signal.SIGTERM) for task in tasks])
sys.exit(max(task.wait() for task in tasks))
"""


class Cluster:
    """What a job sees of Slurm."""

    def __init__(self, workdir: Path, n_tasks: int):
        self.workdir, self.requeued = workdir, workdir / "requeued.txt"
        (workdir / "bin").mkdir()
        self._command("srun", f'exec "{sys.executable}" "{workdir}/srun.py" "$@"')
        (workdir / "srun.py").write_text(SRUN)
        self._command("scontrol", f'echo "$@" >> "{self.requeued}"')
        self._command("ssl", f'exec "{sys.executable}" -m ssl_cli.cli.main "$@"')
        job = {"SLURM_JOB_ID": "4242", "SLURM_JOB_NAME": "ssl", "SLURM_NTASKS": str(n_tasks), "SLURM_NNODES": "1"}
        job |= {"SLURM_NTASKS_PER_NODE": str(n_tasks), "SLURM_NODELIST": "127.0.0.1", "SLURM_PROCID": "0"}
        job |= {"SLURM_NODEID": "0", "SLURM_LOCALID": "0"}
        self.environment = os.environ | job | {"PATH": f"{workdir}/bin:{os.environ['PATH']}"}

    def _command(self, name: str, line: str) -> None:
        path = self.workdir / "bin" / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = ["bash", str(SCRIPT), *words]
        return popen(command, cwd=self.workdir, env=self.environment, stdout=-1, stderr=-1)


def is_checkpointed(workdir: Path) -> bool:
    return bool(list(workdir.glob("outputs/job-4242/detect/*/*/last.ckpt")))


@pytest.mark.long
@pytest.mark.parametrize("n_tasks", [1, 2])
def test_a_job_goes_back_into_the_queue_and_on_with_its_run(cli: Cli, workdir: Path, n_tasks: int) -> None:
    words = [*RUN, "trainer.max_steps=600", *(["trainer=ddp"] if n_tasks == 2 else [])]
    code, out, err = cli("detect", *words, "paths.outputs=whole")
    assert code == 0, err
    whole = workdir / out.strip().splitlines()[-1]
    cluster = Cluster(workdir, n_tasks)
    job = cluster.start(*words)
    wait_for(lambda: is_checkpointed(workdir), job)
    job.send_signal(signal.SIGTERM)
    out, err = job.communicate(timeout=DEADLINE_S)
    assert job.returncode == 143, err
    assert err.count("stopped by SIGTERM at step") == 1 and "Traceback" not in err
    assert cluster.requeued.read_text() == "requeue 4242\n"
    (folder,) = (path.parent for path in workdir.glob("outputs/job-4242/detect/*/*/config.yaml"))
    step = step_of(folder / "last.ckpt")
    assert 0 < step < 600

    job = cluster.start(*words)
    out, err = job.communicate(timeout=DEADLINE_S)
    assert job.returncode == 0, err
    assert out.count(f"resuming from step {step}") == 1
    assert out.count("auroc") == 1
    assert cluster.requeued.read_text() == "requeue 4242\n"
    assert_same_run(whole, folder)

    job = cluster.start(*words)  # by hand, or by an administrator
    assert "is finished" in job.communicate(timeout=DEADLINE_S)[0] and job.returncode == 0


def test_bad_input_is_not_queued_again(workdir: Path) -> None:
    cluster = Cluster(workdir, 1)
    job = cluster.start("model=dea")
    _, err = job.communicate(timeout=DEADLINE_S)
    assert job.returncode == 2
    assert "model=dea is not a choice" in err
    assert not cluster.requeued.exists()
