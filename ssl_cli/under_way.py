"""A run under way: its folder open, its loggers told, its other processes started."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig

from ssl_cli.recording import open_run
from ssl_cli.tracking import Tracker, tracked
from ssl_cli.workers import workers


@contextmanager
def under_way(cfg: DictConfig, fingerprint: str) -> Iterator[tuple[Path, dict[str, float], list[Tracker]]]:
    """The run's folder, an empty dict for its metrics, and its trackers. `fingerprint` is that of its data.

    Raises InputError where the data of a resumed run has changed since, or another process is at work on it.
    """
    with (
        open_run(cfg, fingerprint) as (folder, metrics),
        tracked(cfg, folder, metrics) as trackers,
        workers(cfg, folder),
    ):
        yield folder, metrics, trackers
