"""Duplicates: runs with the same resolved config, data content and version of ssl."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from ssl_cli import __version__, console
from ssl_cli.errors import InputError
from ssl_cli.runs.folder import FINISHED, read_environment, read_metrics, run_state, sibling_runs

# Config keys that do not affect a run's results.
KEYS_WITHOUT_EFFECT = ("paths", "choices", "summary_metrics", "sweep", "logger", "resume")
DATA_KEYS_WITHOUT_EFFECT = ("cache", "download")  # of its data


def config_hash(cfg: DictConfig, fingerprint: str) -> str:
    """Return a hash of what determines a run's results: its resolved config, its data's content and the version."""
    content = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(content, dict)
    relevant = {name: value for name, value in content.items() if name not in KEYS_WITHOUT_EFFECT}
    if isinstance(data := relevant.get("data"), dict):
        relevant["data"] = {name: value for name, value in data.items() if name not in DATA_KEYS_WITHOUT_EFFECT}
    text = json.dumps([__version__, fingerprint, relevant], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def matching_runs(cfg: DictConfig, fingerprint: str) -> list[Path]:
    """Return the runs of the same config on the same data, the newest first."""
    wanted, matching = config_hash(cfg, fingerprint), []
    for folder in reversed(sibling_runs(cfg)):
        with suppress(InputError):  # a damaged run matches none
            if read_environment(folder).get("config_hash") == wanted:
                matching.append(folder)
    return matching


def find_completed_run(cfg: DictConfig, fingerprint: str) -> Path | None:
    """Return the finished run that this one would repeat, if sweep.skip_done=true; else None."""
    if not cfg.sweep.skip_done or cfg.resume is not None:
        return None
    for folder in matching_runs(cfg, fingerprint):
        with suppress(InputError):  # damaged: it must be done again
            if run_state(folder)[0] == FINISHED and read_metrics(folder):
                console.say(f"skipped: {folder} has done it")
                return folder
    return None
