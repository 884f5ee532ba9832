"""Figures of a sweep: the names of inits, and which curves are drawn."""

from pathlib import Path

import pytest

from ssl_cli.cli.sweeps.figures import draw_curves_by_init, draw_metric_by_number, init_names
from ssl_cli.cli.sweeps.table import Outcome
from ssl_cli.evaluation.plots import curves
from ssl_cli.runs import folder as run_folder
from ssl_cli.runs.csv_files import write_csv


def pretrained(model_and_data: str, time: str) -> str:
    folder = Path("outputs/pretrain") / model_and_data / time
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("verb: pretrain\n")
    return str(folder)


def test_inits_have_short_names(workdir: Path) -> None:
    one, two = pretrained("bert-pydoc", "2026-01-02"), pretrained("gpt-pydoc", "2026-01-03")
    (workdir / "models" / "tiny").mkdir(parents=True)
    hub = "google-bert/bert-base-uncased"
    names = init_names([one, two, "none", "latest", hub, "models/tiny"])
    assert [*names.values()] == ["pretrain/bert-pydoc", "pretrain/gpt-pydoc", "from scratch", "latest", hub, "tiny"]
    three = pretrained("bert-pydoc", "2026-01-04")
    assert init_names([one, three, two]) == {
        one: "pretrain/bert-pydoc/2026-01-02",
        three: "pretrain/bert-pydoc/2026-01-04",
        two: "pretrain/gpt-pydoc",
    }


def test_folders_of_one_name_are_named_by_what_distinguishes_them(workdir: Path) -> None:
    folders = ["a/model", "b/model", "x/1/model", "y/1/model", "tiny"]
    for folder in folders:
        (workdir / folder).mkdir(parents=True)
    assert [*init_names(folders).values()] == folders


def outcome(k: int, settings: dict[str, str], history: list[dict[str, float]]) -> Outcome:
    folder = Path(f"run{k}")
    folder.mkdir()
    write_csv(folder / run_folder.HISTORY, list(history[0]), history)
    return Outcome(settings, {}, str(folder), "", ["dev/f1", "dev/accuracy"])


def test_a_column_for_each_task_and_a_line_for_each_init(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[dict[str, curves.Panels]] = []
    monkeypatch.setattr(curves, "learning_curves", lambda path, columns: drawn.append(columns))
    outcomes = []
    for task in ("a", "b"):
        for init in ("none", "RUN"):
            for seed in (0, 1):
                value = seed + 10 * (init == "RUN")
                rows: list[dict[str, float]] = [
                    {"step": step, "dev/loss": value, "dev/accuracy": step + value} for step in (1, 2)
                ]
                if task == "b":
                    rows = [row | {"dev/f1": 0.5} for row in rows]
                settings = {"task": task, "init": init, "seed": str(seed)}
                outcomes.append(outcome(len(outcomes), settings, rows))
    outcomes.append(Outcome({"task": "a", "init": "RUN", "seed": "2"}, {}, "", "it failed", ["dev/f1"]))
    draw_curves_by_init(workdir, outcomes)
    (columns,) = drawn
    assert columns["a"] == {
        "dev/accuracy": {"from scratch": {1: [1, 2], 2: [2, 3]}, "RUN": {1: [11, 12], 2: [12, 13]}},
        "dev/loss": {"from scratch": {1: [0, 1], 2: [0, 1]}, "RUN": {1: [10, 11], 2: [10, 11]}},
    }
    assert list(columns["b"]) == ["dev/f1", "dev/loss"]  # its first summary metric
    draw_curves_by_init(workdir, [one for one in outcomes if one.settings["init"] == "RUN"])
    assert len(drawn) == 1  # nothing to compare


def test_a_line_over_the_labels_for_each_init_by_its_short_name(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[curves.Panels] = []
    monkeypatch.setattr(curves, "sweep", lambda path, panels, axis, metric: drawn.append(panels))
    init, labels = pretrained("simclr-digits", "2026-01-02"), (10, 100, 1000)
    settings = [{"init": name, "task.labels": str(n)} for name in ("none", init) for n in labels]
    outcomes = [Outcome(each, {"test/accuracy": k}, "", "", ["test/accuracy"]) for k, each in enumerate(settings)]
    draw_metric_by_number(workdir, outcomes, "finetune")
    assert drawn == [
        {"": {"from scratch": {10: [0], 100: [1], 1000: [2]}, "pretrain/simclr-digits": {10: [3], 100: [4], 1000: [5]}}}
    ]


@pytest.mark.parametrize(("n_tasks", "n_lines"), [(1, 2), (4, 2), (2, curves.MAX_INSIDE + 1)])
def test_the_figure_of_curves_is_drawn(tmp_path: Path, n_tasks: int, n_lines: int) -> None:
    lines = {"from scratch": {1.0: [0.1, 0.2], 2.0: [0.3]}}
    lines |= {f"pretrain/bert_$ {k}": {1.0: [0.5]} for k in range(n_lines - 1)}
    columns = {f"task {k}": {"dev/accuracy": lines, "dev/loss": lines} for k in range(n_tasks)}
    curves.learning_curves(tmp_path / "curves.png", columns)
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
