"""The worker processes of a run on several devices.

Each worker is `ssl VERB resume=FOLDER` with a rank in its environment: it reads the run's resolved config, does what
the first process does, and writes nothing. So each run of a sweep has workers, too. If a cluster has started the
processes (srun, torchrun), they are only counted here.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import torch.distributed
from omegaconf import DictConfig, OmegaConf

from ssl_cli.config.instantiate import quote_if_needed
from ssl_cli.errors import InputError
from ssl_cli.process import RANK_VARIABLES, end_with, is_worker, n_launched
from ssl_cli.runs.folder import CONFIG

PARENT = "SSL_PARENT"  # environment variable: the process id of the first process, with which a worker ends
READY = "SSL_READY"  # environment variable: the pipe by which a worker reports that it has reached this module
RENDEZVOUS = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")  # environment variables that each of several nodes needs
WORKER_OUTPUT = "worker-{}.txt"  # file with what a worker prints, kept if the worker dies
SKIP_DONE = "sweep.skip_done=true looks for an unfinished run in the first process alone, and here"
EXIT_TIMEOUT_S = 60  # for a worker to end by itself after the first process
DEATH_TIMEOUT_S = 5  # for a dead worker to be noticed after its connection broke
# Messages of gloo and NCCL when the process at the other end has gone.
CONNECTION_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")


def check_process_count(cfg: DictConfig) -> None:
    """Raise InputError if there are, or will be, another number of processes than the config says.

    They would wait for each other for half an hour, or each train a model alone.
    """
    devices, nodes = cfg.trainer.devices, cfg.trainer.num_nodes
    counted = f"trainer.devices={devices} on trainer.num_nodes={nodes}"
    if PARENT in os.environ:
        return
    if (launched := n_launched()) is not None:
        _check_launched(cfg, launched, devices * nodes, counted)
        return
    if "LOCAL_RANK" in os.environ or (nodes == 1 and is_worker()):
        variables = " ".join(f"{name}={os.environ[name]}" for name in RANK_VARIABLES if name in os.environ)
        raise InputError(
            f"The environment has {variables}, as if this were one process of several, but neither torchrun nor srun "
            f"has started it: unset what is left over ({counted} needs none of it)."
        )
    if nodes > 1 and cfg.sweep.skip_done and cfg.resume is None:
        raise InputError(f"{SKIP_DONE} each node's command begins a run by itself: set resume=RUN.")
    if missing := [name for name in RENDEZVOUS if nodes > 1 and not os.environ.get(name)]:
        raise InputError(
            f"trainer.num_nodes={nodes} needs {' and '.join(missing)} in the environment of the command on each node "
            "(NODE_RANK counts from 0; MASTER_ADDR and MASTER_PORT are those of node 0), or srun or torchrun."
        )


def _check_launched(cfg: DictConfig, launched: int, expected: int, counted: str) -> None:
    if launched != expected:
        raise InputError(
            f"{launched} processes were started (by torchrun or srun), and {counted} means {expected}: "
            "make the two the same."
        )
    if expected > 1 and cfg.sweep.skip_done and cfg.resume is None:
        raise InputError(f"{SKIP_DONE} torchrun or srun has started several: set resume=RUN, or leave them out.")


@contextmanager
def workers(cfg: DictConfig, folder: Path) -> Iterator[None]:
    """Keep the run's other processes on this machine running while it is open; none is left afterwards.

    Raises InputError if one of them died.
    """
    if PARENT in os.environ:
        end_with(int(os.environ[PARENT]))  # it would wait for the first process for half an hour
        pipe = int(os.environ.pop(READY))
        os.write(pipe, b"ready")
        os.close(pipe)
    starts_them = PARENT not in os.environ and n_launched() is None and cfg.trainer.devices * cfg.trainer.num_nodes > 1
    try:
        with _started(cfg, folder) if starts_them else nullcontext():
            yield
    except RuntimeError as error:
        if torch.distributed.is_initialized() and _is_lost_connection(error):
            raise InputError(
                "Another process of this run is gone; its own last message says why. "
                "Resume from the last checkpoint with resume=."
            ) from error
        raise
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


@contextmanager
def _started(cfg: DictConfig, folder: Path) -> Iterator[None]:
    """Start a worker for each device of this machine except the first, which this process uses, and end them."""
    started: list[subprocess.Popen[bytes]] = []
    keeps_output = False
    with _group_environment(cfg):
        if is_worker() and cfg.trainer.devices > 1:
            # The first process of another node. Its folder is temporary, or the resumed run's, which others write too.
            own = folder / f"{CONFIG}.{os.environ['NODE_RANK']}"
            own.write_text(OmegaConf.to_yaml(cfg, resolve=True), encoding="utf-8")
            own.replace(folder / CONFIG)
        try:
            pipes = []
            for rank in range(1, cfg.trainer.devices):
                process, pipe = _start(cfg, folder, rank)
                started.append(process)
                pipes.append(pipe)
            for pipe in pipes:
                _wait_for_ready(pipe)
            yield
            for process in started:
                with suppress(subprocess.TimeoutExpired):  # all results are written: it may be killed
                    process.wait(EXIT_TIMEOUT_S)
        except Exception as error:
            keeps_output = not isinstance(error, InputError)
            if _is_lost_connection(error):
                _raise_if_worker_died(started, folder, error)
            raise
        finally:
            for process in started:
                process.kill()
                process.wait()
            if not keeps_output and not is_worker():
                for path in folder.glob(WORKER_OUTPUT.format("*")):
                    path.unlink()


@contextmanager
def _group_environment(cfg: DictConfig) -> Iterator[None]:
    """Set the environment variables that the run's processes share, and restore them afterwards."""
    shared = {"LOCAL_RANK": "0", "WORLD_SIZE": str(cfg.trainer.devices * cfg.trainer.num_nodes)}
    if cfg.trainer.num_nodes == 1:  # whatever another job has left in the environment
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "NODE_RANK": "0"}
    before = {name: os.environ.get(name) for name in shared}
    os.environ |= shared
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)  # Lightning may have removed it already
            if value is not None:
                os.environ[name] = value


def _start(cfg: DictConfig, folder: Path, rank: int) -> tuple[subprocess.Popen[bytes], int]:
    """Return a new worker, and the pipe that ends when the worker is ready or dead."""
    # -P: nothing is imported from the working directory before the package's own modules; launch.py adds the
    # directory afterwards, for the user's classes.
    command = [sys.executable, "-P", "-m", "ssl_cli.cli.main", cfg.verb, f"resume={quote_if_needed(folder)}"]
    if cache := OmegaConf.select(cfg, "data.cache"):
        command.append(f"data.cache={quote_if_needed(cache)}")  # a run folder's own is not used, see safety.py
    # The workers may build what the first process has built.
    targets = re.findall(r"_target_: (\w+)", OmegaConf.to_yaml(cfg))
    if trusted := sorted(set(targets) - {"ssl_cli", "torch"}):
        command.append(f"trust={' '.join(trusted)}")
    pipe, workers_end = os.pipe()
    environment = os.environ | {"LOCAL_RANK": str(rank), PARENT: str(os.getpid()), READY: str(workers_end)}
    try:
        with (folder / WORKER_OUTPUT.format(rank)).open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, pass_fds=[workers_end])
    finally:
        os.close(workers_end)
    return process, pipe


def _wait_for_ready(pipe: int) -> None:
    """Wait until a worker is ready. Raises ConnectionAbortedError if it died.

    Only here can that be noticed at once: a process that waits for another to join the group waits half an hour.
    """
    with os.fdopen(pipe, "rb") as reader:
        if not reader.read():
            raise ConnectionAbortedError("a worker ended before it was ready")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_lost_connection(error: Exception) -> bool:
    """Return whether an error means that the other end of a connection has gone, and is no bug of this process."""
    if isinstance(error, ConnectionAbortedError | torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in CONNECTION_LOST)


def _raise_if_worker_died(started: list[subprocess.Popen[bytes]], folder: Path, error: Exception) -> None:
    """Raise InputError if the death of a worker caused the error of the first process."""
    deadline_s = time.monotonic() + DEATH_TIMEOUT_S
    while time.monotonic() < deadline_s and all([process.poll() is None for process in started]):
        time.sleep(0.1)
    # First a worker killed by a signal (a negative code), before those that lost their connection to it.
    for rank, process in sorted(enumerate(started, 1), key=lambda item: item[1].returncode or 0):
        if process.returncode:
            how = signal.Signals(-process.returncode).name if process.returncode < 0 else f"code {process.returncode}"
            path = folder / WORKER_OUTPUT.format(rank)
            last = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            last_line = f" The last line: {last[0]}." if last else ""
            raise InputError(
                f"Process {rank} of this run died ({how}); {path} has its output.{last_line} "
                "Resume from the last checkpoint with resume=."
            ) from error
