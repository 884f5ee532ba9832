"""The other processes of a run on several devices.

Each is `ssl VERB resume=FOLDER` with a rank in its environment: it reads the run's resolved config, does what the first
process does and writes nothing. So each run of a sweep has workers, too. Where a cluster has started the processes
(srun, torchrun), nothing is left to do here.
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
from contextlib import contextmanager
from pathlib import Path

import torch.distributed
from omegaconf import DictConfig, OmegaConf

from ssl_cli.errors import InputError
from ssl_cli.ranks import is_worker
from ssl_cli.runs import CONFIG, write_text

STARTED_BY_OTHERS = ("LOCAL_RANK", "SLURM_PROCID", "TORCHELASTIC_RUN_ID")
PARENT = "SSL_PARENT"  # the process that a worker ends with
PATIENCE_S = 60  # for a worker to end by itself, once the first process has


@contextmanager
def workers(cfg: DictConfig, folder: Path) -> Iterator[None]:
    """While it is open, the run's other processes on this machine are at work; none is left after it.

    Raises InputError where one of them died.
    """
    n_processes = cfg.trainer.devices * cfg.trainer.num_nodes
    if PARENT in os.environ:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    if n_processes == 1 or any(name in os.environ for name in STARTED_BY_OTHERS):
        yield
        return
    before = dict(os.environ)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "NODE_RANK": "0"} | before
    os.environ |= {"LOCAL_RANK": "0", "WORLD_SIZE": str(n_processes)}
    if is_worker():  # the first process of another node has no run folder to show to its workers
        write_text(folder / CONFIG, OmegaConf.to_yaml(cfg, resolve=True))
    started = [_start(cfg, folder, rank) for rank in range(1, cfg.trainer.devices)]
    try:
        yield
        for process in started:
            process.wait(PATIENCE_S)
    except Exception as error:
        if not isinstance(error, InputError):
            _refuse_dead(started, folder, error)
        raise
    finally:
        for process in started:
            process.kill()
            process.wait()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name in os.environ.keys() - before.keys():
            del os.environ[name]


def _start(cfg: DictConfig, folder: Path, rank: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ssl_cli.cli", cfg.verb, f"resume={folder}"]
    # What the first process has built, its workers may build.
    targets = re.findall(r"_target_: (\w+)", OmegaConf.to_yaml(cfg))
    if trusted := sorted(set(targets) - {"ssl_cli", "torch"}):
        command.append(f"trust={' '.join(trusted)}")
    environment = os.environ | {"LOCAL_RANK": str(rank), PARENT: str(os.getpid())}
    with _words(folder, rank).open("wb") as said:
        return subprocess.Popen(command, env=environment, stdout=said, stderr=said)


def _words(folder: Path, rank: int) -> Path:
    """What a worker says, for whoever wants to know why it died."""
    return folder / f"worker-{rank}.txt"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _refuse_dead(started: list[subprocess.Popen[bytes]], folder: Path, error: Exception) -> None:
    """Raise InputError where it was a worker's death that broke the first process."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and all(process.poll() is None for process in started):
        time.sleep(0.1)
    for rank, process in enumerate(started, 1):
        if process.returncode:
            how = signal.Signals(-process.returncode).name if process.returncode < 0 else f"code {process.returncode}"
            raise InputError(
                f"Process {rank} of this run died ({how}); {_words(folder, rank)} has its last words. "
                "Go on from the last checkpoint with resume=."
            ) from error


def _end_with_parent() -> None:
    """A worker whose first process is gone would wait for it for half an hour."""
    while os.getppid() == int(os.environ[PARENT]):
        time.sleep(0.5)
    os._exit(1)
