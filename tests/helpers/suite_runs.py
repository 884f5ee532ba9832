"""A stand-in for `ssl finetune`, to test suites and sweeps without training."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import DictConfig

from ssl_cli.errors import InputError
from ssl_cli.files import write_json
from ssl_cli.runs import folder as run_folder
from ssl_cli.runs.csv_files import write_csv

# Scores of BERT-Medium on the leaderboard, in percent, and its published average.
# https://github.com/google-research/bert, README, of the smaller BERTs
MEDIUM = {
    "glue/cola": {"dev/matthews": 38.0},
    "glue/sst2": {"dev/accuracy": 89.6},
    "glue/mrpc": {"dev/f1": 86.6, "dev/accuracy": 81.6},
    "glue/stsb": {"dev/pearson": 80.4, "dev/spearman": 78.4},
    "glue/qqp": {"dev/f1": 69.6, "dev/accuracy": 87.9},
    "glue/mnli": {"dev/accuracy": 80.0, "dev_mismatched/accuracy": 79.1},
    "glue/qnli": {"dev/accuracy": 87.7},
    "glue/rte": {"dev/accuracy": 62.2},
    "glue/wnli": {"dev/accuracy": 62.3},
}
AVERAGE = 73.5
FILES = {
    "glue/cola": ["CoLA.tsv"],
    "glue/sst2": ["SST-2.tsv"],
    "glue/mrpc": ["MRPC.tsv"],
    "glue/stsb": ["STS-B.tsv"],
    "glue/qqp": ["QQP.tsv"],
    "glue/mnli": ["MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv"],
    "glue/qnli": ["QNLI.tsv"],
    "glue/rte": ["RTE.tsv"],
    "glue/wnli": ["WNLI.tsv"],
}

Run = Callable[[DictConfig], Path]


def stand_in(monkeypatch: pytest.MonkeyPatch, absent: tuple[str, ...] = ()) -> list[DictConfig]:
    """Install the stand-in and YAMLs in the working directory; return the list to which it adds its configs.

    A run has BERT-Medium's scores plus its seed, and 20 less from scratch. Tasks in `absent` fail.
    """
    called: list[DictConfig] = []
    for task in MEDIUM:
        path = Path("conf/task") / f"{task}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# A task of the user's\n_target_: types.SimpleNamespace\n")

    def run(cfg: DictConfig) -> Path:
        called.append(cfg)
        task = cfg.choices.task
        if task in absent:
            raise InputError(f"there is no {task} here.")
        shift = cfg.seed - 20 * (cfg.init == "none")
        return _run(cfg, {name: value + shift for name, value in MEDIUM[task].items()}, FILES[task])

    monkeypatch.setitem(sys.modules, "ssl_cli.commands.finetune.finetune", SimpleNamespace(run=run))  # type: ignore[arg-type]
    return called


def _run(cfg: DictConfig, metrics: dict[str, float], files: list[str]) -> Path:
    folder = run_folder.create_folder(Path(cfg.paths.outputs) / "finetune" / "encoder-data")
    write_json(folder / run_folder.METRICS, metrics)
    rows = [
        {"step": step, "dev/loss": 1 / step} | {name: value * step / 30 for name, value in metrics.items()}
        for step in (10, 20, 30)
    ]
    write_csv(folder / run_folder.HISTORY, list(rows[0]), rows)
    (folder / "submission").mkdir()
    for name in files:
        (folder / "submission" / name).write_text(f"index\tprediction\n0\t{name}\n")
    return folder
