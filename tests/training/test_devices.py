"""Several processes are one run, with the rows, losses and folder of a single process, and none is left afterwards.

All on the CPU with gloo: no machine with a GPU was at hand.
"""

import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ssl_cli.data.batches import InfiniteSampler
from tests.conftest import Cli, run_ssl
from tests.helpers.distributed_runs import (
    DDP,
    PLAIN,
    SEEN,
    WORDS,
    assert_near,
    assert_none_left,
    folder_in,
    history,
    largest_difference,
    processes,
)
from tests.helpers.processes import DEADLINE_S, assert_same_run, folder_of, start, step_of, wait_for


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder and output of an undisturbed run of two processes.

    The environment has what another job left there, an address at which nothing answers.
    """
    workdir = tmp_path_factory.mktemp("two")
    (workdir / "seen.py").write_text(SEEN)
    return workdir, run_ssl("detect", *DDP, *WORDS, cwd=workdir, MASTER_ADDR="10.255.255.1", MASTER_PORT="1")


# --- the same rows, the same losses, one run ----------------------------------------------------------------


@pytest.mark.parametrize(("n_rows", "size"), [(160, 32), (160, 53), (7, 3), (5, 64), (3, 1)])
@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_every_row_once_an_epoch_and_the_mean_loss_of_the_whole_batch(n_rows: int, size: int, world: int) -> None:
    streams = [iter(InfiniteSampler(n_rows, size, seed=0, start=2, rank=rank, world=world)) for rank in range(world)]
    whole, values = InfiniteSampler(n_rows, size, seed=0), np.random.default_rng(0).normal(size=n_rows)
    seen: dict[int, list[int]] = {}
    for k in range(2, 5 * whole.batches_per_epoch):
        losses = []
        for number, rows, weight in map(next, streams):
            assert number == k and len(rows)
            if weight:
                seen.setdefault(k // whole.batches_per_epoch, []).extend(rows.tolist())
            losses.append(values[rows].mean() * weight)
        assert np.mean(losses) == pytest.approx(values[whole.batch(k)].mean())
    complete = [sorted(rows) for epoch, rows in seen.items() if epoch in (3, 4)]
    assert complete == [list(range(n_rows))] * 2


def test_two_processes_are_one_run_with_the_losses_of_one_process(
    cli: Cli, workdir: Path, two: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    place, done = two
    folder = folder_of(done, place)
    assert folder == folder_in(place)
    assert done.stdout.count("auroc") == 1
    assert (folder / "metrics.json").is_file() and not list(folder.glob("worker-*"))

    (workdir / "seen.py").write_text(SEEN)
    code, _, err = cli("detect", "trainer=cpu", *WORDS)
    assert code == 0, err
    alone = folder_in(workdir)
    difference = largest_difference(alone, folder)
    print(f"largest relative difference of a loss: {difference:.2g}")
    assert difference < 1e-4
    assert_near(alone, folder)

    batches = [line.split() for line in (workdir / "rows-0.txt").read_text().splitlines()]
    shares = [[line.split() for line in (place / f"rows-{rank}.txt").read_text().splitlines()] for rank in (0, 1)]
    assert [Counter(a + b) for a, b in zip(*shares, strict=True)] == [Counter(batch) for batch in batches]
    assert len(batches) == 300 * 3


@pytest.mark.long
@pytest.mark.parametrize("n_steps", [1, 7, 32])
def test_the_length_of_a_stretch_changes_no_bit(
    workdir: Path, two: tuple[Path, subprocess.CompletedProcess[str]], n_steps: int
) -> None:
    fixed = "\nfrom ssl_cli.training.stretches import StretchLength\n\n"
    fixed += f"StretchLength.proposed, StretchLength.observe = {n_steps}, lambda *_: None\n"
    (workdir / "seen.py").write_text(SEEN + fixed)
    folder = folder_of(run_ssl("detect", *DDP, *WORDS, cwd=workdir), workdir)
    assert_same_run(folder_in(two[0]), folder)
    assert history(folder) == history(folder_in(two[0]))


# --- stopped, killed, resumed -------------------------------------------------------------------------------


@pytest.mark.long
def test_a_signal_to_the_first_process_stops_both_and_the_resumed_run_ends_at_the_same_bits(
    cli: Cli, workdir: Path, two: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    (workdir / "seen.py").write_text(SEEN)
    process = start("detect", *DDP, *WORDS, f"paths.outputs={workdir}/outputs", cwd=workdir)
    wait_for(lambda: list(workdir.glob("*/detect/*/*/last.ckpt")), process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 143, err
    assert "Traceback" not in err
    assert_none_left(workdir)
    folder = folder_in(workdir)
    step = step_of(folder / "last.ckpt")
    assert 0 < step < 300 and f"stopped by SIGTERM at step {step}; resume with" in err
    assert not list(folder.glob("worker-*"))
    shutil.copytree(workdir / "outputs", workdir / "copy")

    done = run_ssl("detect", "resume=latest", "trust=seen", cwd=workdir)
    assert f"resuming from step {step}" in done.stdout
    assert folder_of(done, workdir) == folder
    assert_same_run(folder_in(two[0]), folder)
    assert history(folder) == history(folder_in(two[0]))

    # And on one device: near.
    words = ["resume=latest", "trust=seen", "trainer.devices=1", "paths.outputs=copy"]
    code, out, err = cli("detect", *words)
    assert code == 0, err
    assert "This run was started on 2 device(s) and continues on 1" in out
    (other,) = (path.parent for path in workdir.glob("copy/detect/*/*/config.yaml"))
    assert largest_difference(folder, other) < 1e-4
    assert_near(folder, other)


@pytest.mark.long
def test_begun_on_one_device_and_resumed_on_two(
    cli: Cli, workdir: Path, two: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    (workdir / "seen.py").write_text(SEEN)
    process = start("detect", "trainer=cpu", "trainer.strategy=ddp", *WORDS, cwd=workdir)
    wait_for(lambda: list(workdir.glob("*/detect/*/*/last.ckpt")), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_S) == 143
    done = run_ssl("detect", "resume=latest", "trust=seen", "trainer.devices=2", cwd=workdir)
    assert "This run was started on 1 device(s) and continues on 2" in done.stdout
    folder = folder_of(done, workdir)
    assert largest_difference(folder_in(two[0]), folder) < 1e-4
    assert_near(folder_in(two[0]), folder)


@pytest.mark.long
@pytest.mark.parametrize("devices", [3, 4])
def test_more_processes_too(cli: Cli, workdir: Path, devices: int) -> None:
    words = ["detect", *DDP, f"trainer.devices={devices}", *PLAIN, "trainer.max_steps=200", "trainer.batch_size=53"]
    whole = folder_of(run_ssl(*words, "paths.outputs=whole", cwd=workdir), workdir)
    process = start(*words, f"paths.outputs={workdir}/cut", cwd=workdir)
    wait_for(lambda: list(workdir.glob("cut/detect/*/*/last.ckpt")), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_S) == 143
    assert_none_left(workdir)
    cut = folder_of(run_ssl("detect", "resume=latest", "paths.outputs=cut", cwd=workdir), workdir)
    assert largest_difference(whole, cut) < 1e-4
    assert_near(whole, cut)


@pytest.mark.long
def test_the_first_process_killed_leaves_no_other_behind(
    workdir: Path, two: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    (workdir / "seen.py").write_text(SEEN)
    process = start("detect", *DDP, *WORDS, f"paths.outputs={workdir}/outputs", cwd=workdir)
    wait_for(lambda: list(workdir.glob("*/detect/*/*/last.ckpt")), process)
    assert len(processes(workdir)) == 1
    process.kill()
    process.wait()
    assert_none_left(workdir)
    folder = folder_of(run_ssl("detect", "resume=latest", "trust=seen", cwd=workdir), workdir)
    assert_same_run(folder_in(two[0]), folder)


@pytest.mark.long
@pytest.mark.parametrize("when", ["starting", "training"])
def test_a_worker_killed_is_said_in_a_sentence(workdir: Path, when: str) -> None:
    words = [*DDP, *PLAIN, "trainer.max_steps=1000000", f"paths.outputs={workdir}/outputs"]
    process = start("detect", *words, cwd=workdir)
    wait_for(lambda: processes(workdir) if when == "starting" else list(workdir.glob("*/*/*/*/last.ckpt")), process)
    try:
        (worker,) = processes(workdir)
        os.kill(worker, signal.SIGKILL)
        _, err = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == 2, err
    assert err.startswith("error: Process 1 of this run died (SIGKILL)") or "\nerror: Process 1 of this run" in err
    assert "Traceback" not in err
    assert_none_left(workdir)


@pytest.mark.long
def test_a_loss_that_is_no_number_is_said_once(workdir: Path) -> None:
    words = [*DDP, *PLAIN, "trainer.max_steps=400", "optim.lr=1e9", f"paths.outputs={workdir}/outputs"]
    done = run_ssl("detect", *words, cwd=workdir)
    assert done.returncode == 2
    assert done.stderr.count("became NaN or infinite in step") == 1 and "Traceback" not in done.stderr
    assert_none_left(workdir)
    assert not list(folder_in(workdir).glob("worker-*"))


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("last", [6, 7])
def test_a_loss_that_breaks_on_one_device_and_in_the_last_step(workdir: Path, rank: int, last: int) -> None:
    source = "import os\nfrom ssl_cli.methods.autoencoders.autoencoder import Autoencoder\n\n\n"
    source += "class Breaks(Autoencoder):\n    steps = 0\n\n    def forward(self, batch):\n"
    source += "        self.steps += self.training\n        losses = super().forward(batch)\n"
    source += f"        if self.steps == 6 and self.training and os.environ['LOCAL_RANK'] == '{rank}':\n"
    source += "            losses['loss'] = losses['loss'] * float('nan')\n        return losses\n"
    (workdir / "breaks.py").write_text(source)
    words = ["model._target_=breaks.Breaks", f"trainer.max_steps={last}", "trainer.validate_every_n_steps=1"]
    done = run_ssl("detect", *DDP, *PLAIN, *words, f"paths.outputs={workdir}/outputs", cwd=workdir)
    assert done.returncode == 2
    assert done.stderr.count("The loss became NaN or infinite in step 6") == 1 and "Traceback" not in done.stderr
    assert_none_left(workdir)


@pytest.mark.long
@pytest.mark.parametrize("rank", ["0", "1", "01"])
def test_a_bug_in_the_users_class_keeps_its_words(workdir: Path, rank: str) -> None:
    source = "import os\nfrom ssl_cli.methods.autoencoders.autoencoder import Autoencoder\n\n\n"
    source += "class Bug(Autoencoder):\n    def forward(self, batch):\n"
    source += f"        if self.training and os.environ['LOCAL_RANK'] in '{rank}':\n"
    source += "            raise KeyError('my bug')\n        return super().forward(batch)\n"
    (workdir / "bug.py").write_text(source)
    words = ["model._target_=bug.Bug", f"paths.outputs={workdir}/outputs"]
    done = run_ssl("detect", *DDP, *PLAIN, *words, cwd=workdir)
    assert "my bug" in done.stderr
    assert done.returncode == (2 if rank == "1" else 1), done.stderr
    assert_none_left(workdir)


# --- with what else a run may have --------------------------------------------------------------------------


@pytest.mark.long
def test_a_sweep_of_runs_of_two_processes(workdir: Path) -> None:
    words = [*DDP, *PLAIN, "trainer.max_steps=20", f"paths.outputs={workdir}/outputs"]
    done = run_ssl("detect", "-m", "seed=0,1", *words, cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert "2 runs" in done.stdout
    assert len(list(workdir.glob("outputs/detect/*/*/metrics.json"))) == 2
    assert not list(workdir.glob("outputs/detect/*/*/worker-*"))
    assert_none_left(workdir)


@pytest.mark.long
def test_out_of_fold_scores_and_early_stopping(cli: Cli, workdir: Path) -> None:
    words = [*PLAIN, "calibrate=cross", "folds=3", "trainer.patience=2", "optim.lr=0.03", "optim.schedule=constant"]
    words += ["trainer.max_steps=4000", "trainer.batch_size=33"]
    done = run_ssl("detect", *DDP, *words, "paths.outputs=two", cwd=workdir)
    both = folder_of(done, workdir)
    code, _, err = cli("detect", "trainer=cpu", *words, "paths.outputs=one")
    assert code == 0, err
    (alone,) = (path.parent for path in workdir.glob("one/detect/*/*/config.yaml"))
    assert int(history(both)[-1]["step"]) < 4000
    assert [row["step"] for row in history(both)] == [row["step"] for row in history(alone)]
    assert largest_difference(alone, both) < 1e-3
    for fold in range(3):
        assert (both / "folds" / str(fold) / "history.csv").is_file()


@pytest.mark.long
def test_tensorboard_is_told_once(workdir: Path) -> None:
    pytest.importorskip("tensorboard")
    done = run_ssl("detect", *DDP, *PLAIN, "trainer.max_steps=20", "logger=tensorboard", cwd=workdir)
    folder = folder_of(done, workdir)
    assert len(list(folder.rglob("events.out.tfevents.*"))) == 1


@pytest.mark.long
@pytest.mark.parametrize("model", ["best", "dae", "vae", "iforest"])
def test_other_models(workdir: Path, model: str) -> None:
    words = [f"model={model}", "trainer.max_steps=40", "bootstrap_samples=20", f"paths.outputs={workdir}/outputs"]
    folder = folder_of(run_ssl("detect", *DDP, *words, cwd=workdir), workdir)
    assert json.loads((folder / "metrics.json").read_text())["test/auroc"] > 0.5
    assert_none_left(workdir)
