"""The other processes of a run on several devices.

Each is `ssl VERB resume=FOLDER` with a rank in its environment: it reads the run's resolved config, does what the first
process does and writes nothing. So each run of a sweep has workers, too. Where a cluster has started the processes
(srun, torchrun), nothing is left to do here but to count them.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import torch.distributed
from omegaconf import DictConfig, OmegaConf

from ssl_cli.config.instantiate import in_quotes
from ssl_cli.errors import InputError
from ssl_cli.process import RANKS, is_worker, n_started
from ssl_cli.runs.folder import CONFIG

PARENT = "SSL_PARENT"  # the process that a worker ends with
READY = "SSL_READY"  # the pipe by which a worker says that it has come as far as this module
RENDEZVOUS = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")  # what each of several nodes must be told
WORDS = "worker-{}.txt"  # what a worker says, for whoever wants to know why it died
ALONE = "sweep.skip_done=true looks for an unfinished run in the first process alone, and here"
PATIENCE_S = 60  # for a worker to end by itself, once the first process has
# What gloo and NCCL say where the process at the other end is gone.
GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")


def refuse_miscounted(cfg: DictConfig) -> None:
    """Raise InputError where there are, or will be, other processes than the config counts on.

    They would wait for each other for half an hour, or each train a model of its own.
    """
    devices, nodes = cfg.trainer.devices, cfg.trainer.num_nodes
    wanted, started = devices * nodes, n_started()
    counted = f"trainer.devices={devices} on trainer.num_nodes={nodes}"
    if PARENT in os.environ:
        return
    if started is not None:
        if started != wanted:
            raise InputError(
                f"{started} processes were started (by torchrun or srun), and {counted} means {wanted}: "
                "make the two the same."
            )
        if wanted > 1 and cfg.sweep.skip_done and cfg.resume is None:
            raise InputError(f"{ALONE} torchrun or srun has started several: say resume=RUN, or leave them out.")
        return
    if "LOCAL_RANK" in os.environ or (nodes == 1 and is_worker()):
        found = " ".join(f"{name}={os.environ[name]}" for name in RANKS if name in os.environ)
        raise InputError(
            f"The environment has {found}, as if this were one process of several, but neither torchrun nor srun has "
            f"started it: unset what is left over ({counted} needs none of it)."
        )
    if nodes > 1 and cfg.sweep.skip_done and cfg.resume is None:
        raise InputError(f"{ALONE} each node's command begins a run by itself: say resume=RUN.")
    if missing := [name for name in RENDEZVOUS if nodes > 1 and not os.environ.get(name)]:
        raise InputError(
            f"trainer.num_nodes={nodes} needs {' and '.join(missing)} in the environment of the command on each node "
            "(NODE_RANK counts from 0; MASTER_ADDR and MASTER_PORT are those of node 0), or srun or torchrun."
        )


@contextmanager
def workers(cfg: DictConfig, folder: Path) -> Iterator[None]:
    """While it is open, the run's other processes on this machine are at work; none is left after it.

    Raises InputError where one of them died.
    """
    if PARENT in os.environ:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        ready = int(os.environ.pop(READY))
        os.write(ready, b"ready")
        os.close(ready)
    ours = PARENT not in os.environ and n_started() is None and cfg.trainer.devices * cfg.trainer.num_nodes > 1
    try:
        with _started(cfg, folder) if ours else nullcontext():
            yield
    except RuntimeError as error:
        if torch.distributed.is_initialized() and _tells_of_another(error):
            raise InputError(
                "Another process of this run is gone; its own last words tell why. "
                "Go on from the last checkpoint with resume=."
            ) from error
        raise
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


@contextmanager
def _started(cfg: DictConfig, folder: Path) -> Iterator[None]:
    """Our own workers: a process for each device of this machine but the first, which is this process's."""
    told_to_all = {"LOCAL_RANK": "0", "WORLD_SIZE": str(cfg.trainer.devices * cfg.trainer.num_nodes)}
    if cfg.trainer.num_nodes == 1:  # whatever another job has left in the environment
        told_to_all |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "NODE_RANK": "0"}
    before = {name: os.environ.get(name) for name in told_to_all}
    os.environ |= told_to_all
    if is_worker() and cfg.trainer.devices > 1:
        # The first process of another node. Its folder is none; or that of the resumed run, to which others write too.
        own = folder / f"{CONFIG}.{os.environ['NODE_RANK']}"
        own.write_text(OmegaConf.to_yaml(cfg, resolve=True), encoding="utf-8")
        own.replace(folder / CONFIG)
    started: list[subprocess.Popen[bytes]] = []
    told = True  # whether what the workers have said is of no more use
    try:
        ready = []
        for rank in range(1, cfg.trainer.devices):
            process, pipe = _start(cfg, folder, rank)
            started.append(process)
            ready.append(pipe)
        for pipe in ready:
            _wait_for_ready(pipe)
        yield
        for process in started:
            with suppress(subprocess.TimeoutExpired):  # all is done: what it is still at is nobody's loss
                process.wait(PATIENCE_S)
    except Exception as error:
        told = isinstance(error, InputError)
        if _tells_of_another(error):
            _refuse_dead(started, folder, error)
        raise
    finally:
        for process in started:
            process.kill()
            process.wait()
        for name, value in before.items():
            os.environ.pop(name, None)  # Lightning takes away some of its own
            if value is not None:
                os.environ[name] = value
        if told and not is_worker():
            for path in folder.glob(WORDS.format("*")):
                path.unlink()


def _start(cfg: DictConfig, folder: Path, rank: int) -> tuple[subprocess.Popen[bytes], int]:
    """A worker, and the pipe that ends when it is ready; or dead."""
    # -P: nothing is imported from the working directory before our own; the user's classes come after (launch.py).
    command = [sys.executable, "-P", "-m", "ssl_cli.cli.main", cfg.verb, f"resume={in_quotes(folder)}"]
    if cache := OmegaConf.select(cfg, "data.cache"):
        command.append(f"data.cache={in_quotes(cache)}")  # which no run folder may say, see vetting.py
    # What the first process has built, its workers may build.
    targets = re.findall(r"_target_: (\w+)", OmegaConf.to_yaml(cfg))
    if trusted := sorted(set(targets) - {"ssl_cli", "torch"}):
        command.append(f"trust={' '.join(trusted)}")
    ready, mine = os.pipe()
    environment = os.environ | {"LOCAL_RANK": str(rank), PARENT: str(os.getpid()), READY: str(mine)}
    try:
        with (folder / WORDS.format(rank)).open("wb") as said:
            process = subprocess.Popen(command, env=environment, stdout=said, stderr=said, pass_fds=[mine])
    finally:
        os.close(mine)
    return process, ready


def _wait_for_ready(pipe: int) -> None:
    """Only here can a worker's death be noticed at once: whoever waits for it to join the group waits half an hour."""
    with os.fdopen(pipe, "rb") as said:
        if not said.read():
            raise ConnectionAbortedError("a worker ended before it was ready")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tells_of_another(error: Exception) -> bool:
    """Whether this is what the other end of a connection that broke gets to see, and no fault of this process."""
    if isinstance(error, ConnectionAbortedError | torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in GONE)


def _refuse_dead(started: list[subprocess.Popen[bytes]], folder: Path, error: Exception) -> None:
    """Raise InputError where it was a worker's death that broke the first process."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and all([process.poll() is None for process in started]):
        time.sleep(0.1)
    # A signal's victim before those who lost their connection to it.
    for rank, process in sorted(enumerate(started, 1), key=lambda numbered: numbered[1].returncode or 0):
        if process.returncode:
            how = signal.Signals(-process.returncode).name if process.returncode < 0 else f"code {process.returncode}"
            path = folder / WORDS.format(rank)
            last = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            said = f" The last: {last[0]}." if last else ""
            raise InputError(
                f"Process {rank} of this run died ({how}); {path} has its last words.{said} "
                "Go on from the last checkpoint with resume=."
            ) from error


def _end_with_parent() -> None:
    """A worker whose first process is gone would wait for it for half an hour."""
    while os.getppid() == int(os.environ[PARENT]):
        time.sleep(0.5)
    os._exit(1)
