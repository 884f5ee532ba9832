"""Runs that would repeat what is done: told by their resolved config, the content of their data and our version."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from ssl_cli import __version__, console
from ssl_cli.errors import InputError
from ssl_cli.runs.folder import FINISHED, read_environment, read_metrics, runs_at_home, standing

# What says where, by whom and beside what a run is done, and nothing of what comes out.
IRRELEVANT = ("paths", "choices", "summary_metrics", "sweep", "logger", "resume")


def config_hash(cfg: DictConfig, fingerprint: str) -> str:
    """What a run's outcome follows from: its resolved config, the content of its data, and our version."""
    content = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(content, dict)
    relevant = {name: value for name, value in content.items() if name not in IRRELEVANT}
    if isinstance(data := relevant.get("data"), dict):
        relevant["data"] = {name: value for name, value in data.items() if name != "cache"}  # where, too
    text = json.dumps([__version__, fingerprint, relevant], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def matching_runs(cfg: DictConfig, fingerprint: str) -> list[Path]:
    """The runs of the same config on the same data, the newest first."""
    wanted, found = config_hash(cfg, fingerprint), []
    for folder in reversed(runs_at_home(cfg)):
        with suppress(InputError):  # a damaged run is nobody's twin
            if read_environment(folder).get("config_hash") == wanted:
                found.append(folder)
    return found


def find_completed_run(cfg: DictConfig, fingerprint: str) -> Path | None:
    """With sweep.skip_done=true, the finished run that this one would repeat."""
    if not cfg.sweep.skip_done or cfg.resume is not None:
        return None
    for folder in matching_runs(cfg, fingerprint):
        with suppress(InputError):  # damaged: it must be done again
            if standing(folder)[0] == FINISHED and read_metrics(folder):
                console.say(f"skipped: {folder} has done it")
                return folder
    return None
