"""A run under way: its folder open, its loggers told, its other processes started."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig

from ssl_cli.files import write_text
from ssl_cli.process import is_worker
from ssl_cli.runs.loggers.base import Tracker, tracked
from ssl_cli.runs.record import open_run_folder
from ssl_cli.runs.workers import workers


@contextmanager
def run_session(
    cfg: DictConfig, fingerprint: str, texts: Mapping[str, str] | None = None
) -> Iterator[tuple[Path, dict[str, float], list[Tracker]]]:
    """The run's folder, an empty dict for its metrics, and its trackers. `fingerprint` is that of its data; `texts` are
    files of the folder that the run can't go on without: its tokenizer, say.

    Raises InputError where the data of a resumed run has changed since, or another process is at work on it.
    """
    with open_run_folder(cfg, fingerprint) as (folder, metrics):
        if not is_worker():
            for name, text in (texts or {}).items():
                write_text(folder / name, text)
        with tracked(cfg, folder, metrics) as trackers, workers(cfg, folder):
            yield folder, metrics, trackers
