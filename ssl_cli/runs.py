"""The run folder, the unit of exchange: make it, finish it, find it, list it. Imports neither torch nor Lightning.

outputs/<verb>/<model>-<data>/<time>/
    config.yaml        the resolved config: the model is rebuilt from it without its data
    environment.json   versions, device, git revision, seed, data fingerprint, wall time, peak memory
    log.txt            everything that was said
    history.csv        one row a validation
    model.safetensors  (or model.skops), and what the data side learned, as JSON or safetensors
    figures/*.png
    metrics.json       flat numbers; written last and atomically: its presence means a finished run
"""

import csv
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ssl_cli import console, vetting
from ssl_cli.errors import InputError

METRICS, CONFIG, ENVIRONMENT, LOG, HISTORY = "metrics.json", "config.yaml", "environment.json", "log.txt", "history.csv"
CHECKPOINT, LATEST = "last.ckpt", "latest"
LARGEST_HISTORY = 1 << 26  # bytes: some half a million validations
# Tells the worker processes of a distributed run which folder the first process has made.
FOLDER_VARIABLE = "SSL_RUN_FOLDER"
PACKAGES = ["ssl-cli", "torch", "pytorch-lightning", "hydra-core", "numpy", "scikit-learn", "pyarrow"]


@contextmanager
def open_run(cfg: DictConfig, fingerprint: str) -> Iterator[tuple[Path, dict[str, float]]]:
    """The folder of this run, new or resumed, with its log open, and an empty dict to put its metrics into.

    At the end the metrics are written: a run that broke has none. Raises InputError where the data of a resumed run
    has changed since.
    """
    started = time.monotonic()
    folder = _folder(cfg, fingerprint)
    if is_worker():
        yield folder, {}
        return
    os.environ[FOLDER_VARIABLE] = str(folder.resolve())
    before_resuming = {path: path.read_bytes() for path in (folder / METRICS, folder / CONFIG) if path.is_file()}
    models = _model_stamps(folder)
    try:
        # A run being resumed is unfinished again, until it is finished again.
        (folder / METRICS).unlink(missing_ok=True)
        (folder / "figures").mkdir(exist_ok=True)
        write_text(folder / CONFIG, OmegaConf.to_yaml(cfg, resolve=True))
        write_json(folder / ENVIRONMENT, _environment(cfg, fingerprint))
        with console.logging_to(folder / LOG):
            console.note(f"$ {' '.join(sys.argv)}")
            metrics: dict[str, float] = {}
            yield folder, metrics
            measured = {"wall_time_s": round(time.monotonic() - started, 3), "peak_memory_mb": _peak_memory_mb()}
            write_json(folder / ENVIRONMENT, _environment(cfg, fingerprint) | measured)
            write_json(folder / METRICS, {name: float(value) for name, value in metrics.items()})
    except BaseException as error:
        # A resume that failed leaves the run as finished as it was, unless its model is already another.
        if isinstance(error, Exception) and _model_stamps(folder) == models:
            for path, content in before_resuming.items():
                path.write_bytes(content)
        with (folder / LOG).open("a", encoding="utf-8") as log:
            log.write(console.harmless(f"stopped: {type(error).__name__}: {error}\n"))
        raise
    finally:
        os.environ.pop(FOLDER_VARIABLE, None)


def _model_stamps(folder: Path) -> dict[str, int]:
    """When each of a run's model files was written, in ns."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("model.*")}


def is_worker() -> bool:
    """Whether this is one of the other processes of a distributed run: the first one writes everything."""
    ranks = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
    return any(int(os.environ.get(rank) or 0) > 0 for rank in ranks)


def _folder(cfg: DictConfig, fingerprint: str) -> Path:
    """The resumed run's, the one that the first process of a distributed run has made, or a new one."""
    if cfg.resume is not None:
        folder = Path(cfg.resume)
        before = read_environment(folder).get("data_fingerprint", fingerprint)
        if before != fingerprint:
            raise InputError(
                f"The data has changed since {folder} was started: resume it with the same file, or start a new run."
            )
        return folder
    shared = os.environ.get(FOLDER_VARIABLE)
    return Path(shared) if shared and is_worker() else _new_folder(cfg)


def _new_folder(cfg: DictConfig) -> Path:
    parent = Path(cfg.paths.outputs).expanduser() / cfg.verb / f"{cfg.choices.model}-{cfg.choices.data}"
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 1000):
            folder = parent / (stamp if attempt == 1 else f"{stamp}_{attempt}")
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                continue
    except OSError as error:
        raise InputError(
            f"No run folder can be made in {parent}: {error.strerror}. Say paths.outputs=FOLDER for another place."
        ) from error
    raise AssertionError(f"a thousand runs started in one second in {parent}")


# --- writing ------------------------------------------------------------------------------------------------


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(path.name + ".part")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _environment(cfg: DictConfig, fingerprint: str) -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available() and cfg.trainer.accelerator != "cpu"
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "git_revision": _git_revision(Path.cwd()) or _git_revision(Path(__file__).parent),
        "seed": cfg.seed,
        "data_fingerprint": fingerprint,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ModuleNotFoundError:
        return None


def _git_revision(folder: Path) -> str | None:
    """The commit checked out in `folder`, with `-dirty` where files differ from it; None outside a repository."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


# --- finding ------------------------------------------------------------------------------------------------


def all_runs(outputs: str | Path) -> list[Path]:
    """Every run folder below `outputs`, oldest first."""
    folders = [path.parent for path in Path(outputs).expanduser().glob(f"*/*/*/{CONFIG}")]
    return sorted(folders, key=lambda folder: ((folder / CONFIG).lstat().st_mtime_ns, folder.name))


def is_finished(folder: Path) -> bool:
    return (folder / METRICS).is_file()


def find_run(
    name: str | Path, outputs: str | Path = "outputs", verb: str | None = None, finished: bool = False
) -> Path:
    """The folder of a run given by path, or `latest`, the newest (of `verb`; finished). InputError if there is none."""
    if str(name) != LATEST:
        folder = Path(name).expanduser()
        if not (folder / CONFIG).is_file():
            raise InputError(f"{folder} is no run folder: it has no {CONFIG}. `ssl list runs` shows those in outputs.")
        if finished and not is_finished(folder):
            verb = read_config(folder).get("verb")
            raise InputError(f"{folder} is not finished: it has no {METRICS}. Go on with `ssl {verb} resume={folder}`.")
        return folder
    runs = [folder for folder in all_runs(outputs) if verb in (None, folder.parts[-3])]
    runs = [folder for folder in runs if is_finished(folder) or not finished]
    if not runs:
        kind = f"{'finished ' if finished else ''}{verb + ' ' if verb else ''}run"
        raise InputError(f"There is no {kind} in {Path(outputs).resolve()}; run one first, or name its folder.")
    return runs[-1]


def read_config(folder: Path) -> DictConfig:
    """The resolved config of a run, which may be a stranger's: what is odd in its folder is refused first."""
    vetting.refuse_odd_files(folder)
    return vetting.read_saved_config(folder / CONFIG)


def read_metrics(folder: Path) -> dict[str, float]:
    metrics = vetting.read_object(folder / METRICS)
    vetting.refuse_no_number(folder / METRICS, metrics, list(metrics))
    return metrics


def read_environment(folder: Path) -> dict[str, Any]:
    """environment.json; empty where a run was killed before it was written."""
    path = folder / ENVIRONMENT
    environment = vetting.read_object(path) if path.is_file() else {}
    vetting.refuse_no_number(path, environment, [name for name in ("wall_time_s",) if name in environment])
    return environment


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a history.csv; empty where there is none."""
    if not path.is_file():
        return []
    lines = vetting.read_text(path, LARGEST_HISTORY).splitlines()
    try:
        rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(lines)]
    except (ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path} is damaged: {error}.") from error
    if not all(0 <= row.get("step", -1) < 1 << 53 for row in rows):
        raise InputError(f"{path} is damaged: each row must begin with a step.")
    return rows
