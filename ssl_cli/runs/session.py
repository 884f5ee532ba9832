"""The session of a run: its folder, its loggers and its other processes, open while it runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig

from ssl_cli.files import write_text
from ssl_cli.process import is_worker
from ssl_cli.runs.loggers.base import Tracker, open_trackers
from ssl_cli.runs.record import open_run_folder
from ssl_cli.runs.workers import workers


@contextmanager
def run_session(
    cfg: DictConfig, fingerprint: str, texts: Mapping[str, str] | None = None
) -> Iterator[tuple[Path, dict[str, float], list[Tracker]]]:
    """Yield the run's folder, an empty dict for its metrics, and its trackers.

    `fingerprint` is that of its data. `texts` are files that are written into the folder first, because the run cannot
    be resumed without them, such as its tokenizer. Raises InputError if the data of a resumed run has changed, or
    another process is running in the folder.
    """
    with open_run_folder(cfg, fingerprint) as (folder, metrics):
        if not is_worker():
            for name, text in (texts or {}).items():
                write_text(folder / name, text)
        with open_trackers(cfg, folder, metrics) as trackers, workers(cfg, folder):
            yield folder, metrics, trackers
