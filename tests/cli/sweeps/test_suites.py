"""Suites of tasks: a run for each task, the average as the leaderboard computes it, and one zip to submit."""

import json
import zipfile
from pathlib import Path

import pytest

from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build, read_yaml
from ssl_cli.errors import InputError
from ssl_cli.tasks.suite import Suite
from tests.conftest import Cli
from tests.helpers.suite_runs import AVERAGE, FILES, MEDIUM, stand_in
from tests.helpers.sweeps import folder_of, read_rows

# Scores of BERT-Small by task, whose average is published as 71.2: https://github.com/google-research/bert, README
SMALL = [[27.8], [89.7], [83.4, 76.2], [78.8, 77.0], [68.1, 87.0], [77.6, 77.0], [86.4], [61.8], [62.3]]


def rows_of(out: str) -> list[dict[str, str]]:
    return read_rows(out, "suite.csv")


def test_the_average_is_that_of_the_leaderboard() -> None:
    glue: Suite = build(read_yaml(built_in_conf() / "task" / "glue.yaml"))
    scores = {
        task: glue.score(task, dict(zip(metrics, figures, strict=True)))
        for (task, metrics), figures in zip(glue.tasks.items(), SMALL, strict=True)
    }
    assert round(glue.average({task: score for task, score in scores.items() if score is not None}) or 0, 1) == 71.2
    assert glue.score("glue/mnli", {"dev/accuracy": 1.0}) is None  # half of its metrics make no score
    assert glue.average({}) is None


@pytest.mark.parametrize("name", ["glue", "clue", "fewclue"])
def test_a_suite_scores_and_submits_what_its_tasks_write(name: str) -> None:
    folder = built_in_conf() / "task"
    suite: Suite = build(read_yaml(folder / f"{name}.yaml"))
    for task, metrics in suite.tasks.items():
        node = read_yaml(folder / f"{task}.yaml")
        assert suite.submission[task] == [*node.submission.files.values()]
        assert {metric.partition("/")[0] for metric in metrics} <= {*node.layout.files}
        assert {metric.partition("/")[2] for metric in metrics} <= {*node.metrics}


@pytest.mark.parametrize(
    ("tasks", "submission", "sentence"),
    [
        ({}, {}, "A suite must have tasks"),
        ({"a": []}, {}, "the metrics of its score"),
        ({"a": ["dev/f1"]}, {"b": ["b.tsv"]}, "can't submit files for b, which is not one of its tasks"),
    ],
)
def test_an_invalid_suite(tasks: dict, submission: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Suite(tasks, submission)


def test_glue_is_nine_runs_one_average_and_one_zip(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    called = stand_in(monkeypatch)
    code, out, err = cli("finetune", "task=glue", "init=RUN", "trainer.max_epochs=7", "data.dir=.")
    assert (code, err) == (0, "")
    assert {cfg.choices.task for cfg in called} == set(MEDIUM) and len(called) == 9
    assert all((cfg.trainer.max_epochs, cfg.sweep.skip_done, cfg.data.dir) == (7, True, ".") for cfg in called)
    (row,) = rows_of(out)
    assert round(float(row["average"]), 1) == AVERAGE and row["tasks"] == "9 of 9"
    assert float(row["glue/mrpc"]) == pytest.approx((86.6 + 81.6) / 2)
    with zipfile.ZipFile(folder_of(out) / "submission.zip") as archive:
        assert sorted(archive.namelist()) == sorted(name for names in FILES.values() for name in names)
        assert archive.read("AX.tsv") == b"index\tprediction\n0\tAX.tsv\n"
    summary = json.loads((folder_of(out) / "suite.json").read_text())
    assert summary["suite"] == "glue" and summary["combinations"][0]["missing"] == []
    assert not (folder_of(out) / "seeds.csv").exists()


def small_suite(content: str = "submission: {}") -> None:
    """`task=small`: RTE and MNLI."""
    text = "# Mine\n_target_: ssl_cli.tasks.suite.Suite\ntasks: {glue/rte: [dev/accuracy], glue/mnli: [dev/accuracy]}\n"
    Path("conf/task/small.yaml").write_text(f"{text}{content}\n")


def test_missing_tasks_are_named_and_the_average_is_partial(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, absent=("glue/mnli",))
    small_suite("submission: {glue/rte: [RTE.tsv], glue/mnli: [MNLI-m.tsv, AX.tsv]}")
    code, out, err = cli("finetune", "task=small", "init=RUN")
    assert code == 2
    (row,) = rows_of(out)
    assert (row["average"], row["glue/rte"], row["glue/mnli"], row["tasks"]) == ("62.2", "62.2", "", "1 of 2")
    assert "the average is partial: it leaves out glue/mnli, which has no result" in err
    assert "the submission lacks MNLI-m.tsv, AX.tsv: no finished run has written that" in err
    with zipfile.ZipFile(folder_of(out) / "submission.zip") as archive:
        assert archive.namelist() == ["RTE.tsv"]
    code, out, err = cli("finetune", "-m", "task=small", "init=RUN", "seed=0,1")
    summary = {
        row["task"]: (row["metric"], row["n"], row["failed"], row["mean"]) for row in read_rows(out, "seeds.csv")
    }
    assert summary == {
        "glue/rte": ("dev/accuracy", "2", "0", "62.7"),
        "glue/mnli": ("", "0", "2", ""),
        "small": ("", "0", "2", ""),  # a partial average can't be compared with others
    }


@pytest.mark.figures
def test_seeds_and_inits_have_an_average_each(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    called = stand_in(monkeypatch)
    small_suite()
    code, out, err = cli("finetune", "-m", "task=small", "seed=0,2", "init=none,RUN")
    assert (code, err) == (0, "") and len(called) == 8
    averages = {(row["seed"], row["init"]): float(row["average"]) for row in rows_of(out)}
    average = (62.2 + 80) / 2
    assert averages == pytest.approx(
        {("0", "none"): average - 20, ("0", "RUN"): average, ("2", "none"): average - 18, ("2", "RUN"): average + 2}
    )
    assert len({row["submission"] for row in rows_of(out)}) == 4
    assert all((folder_of(out) / row["submission"]).is_file() for row in rows_of(out))
    summary = {row["init"]: row for row in read_rows(out, "seeds.csv") if row["task"] == "small"}
    means = {init: float(row["mean"]) for init, row in summary.items()}
    assert means == pytest.approx({"none": average - 19, "RUN": average + 1})
    assert float(summary["none"]["std"]) == pytest.approx(2**0.5)
    with zipfile.ZipFile(
        folder_of(out) / rows_of(out)[0]["submission"]
    ) as archive:  # all files that the runs have written
        assert sorted(archive.namelist()) == ["AX.tsv", "MNLI-m.tsv", "MNLI-mm.tsv", "RTE.tsv"]
    assert (folder_of(out) / "curves.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["task=glu"], "task=glu is not a choice. Did you mean glue?"),
        (["task=glue/sst3"], "task=glue/sst3 is not a choice. Did you mean glue/sst2?"),
        (["-m", "task=glue,clue"], "task=glue,clue: a sweep has one suite"),
        (["task=glue", "seed=0,1"], "seed=0,1 lists several values: add -m"),
        (["task=glue", "hydra/sweeper=optuna"], "task=glue runs every task: hydra/sweeper"),
        (["task=invalid"], "task.taks is not an option. Did you mean tasks?"),
        (["task=unknown"], "task=unknown has the task glue/sst3, which is not a choice. Did you mean glue/sst2?"),
        (["task=glue", "resume=latest"], "task can't change in a resumed run"),
    ],
)
def test_bad_arguments_about_suites(cli: Cli, monkeypatch: pytest.MonkeyPatch, words: list[str], sentence: str) -> None:
    called = stand_in(monkeypatch)
    for name, content in (("invalid", "taks: {}"), ("unknown", "tasks: {glue/sst3: [dev/f1]}")):
        text = f"# Mine\n_target_: ssl_cli.tasks.suite.Suite\n{content}\nsubmission: {{}}\n"
        Path(f"conf/task/{name}.yaml").write_text(text)
    code, _, err = cli("finetune", *words)
    assert code == 2 and not called
    assert sentence in err and "Traceback" not in err


def test_a_suite_in_a_recipe_or_as_a_default(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    called = stand_in(monkeypatch)
    Path("conf/experiment").mkdir()
    Path("conf/experiment/mine.yaml").write_text("# @package _global_\n# Mine\ndefaults: [{override /task: glue}]\n")
    code, _, err = cli("finetune", "experiment=mine")
    assert (code, called) == (2, [])
    assert err == "error: task=glue is a suite: set it, or one of its tasks, on the command line.\n"


def test_a_suite_is_continued_unless_skip_done_is_false(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    called = stand_in(monkeypatch)
    small_suite()
    cli("finetune", "task=small", "init=RUN", "sweep.skip_done=false")
    assert [cfg.sweep.skip_done for cfg in called] == [False, False]
    assert "_target_: ssl_cli.tasks.suite.Suite" in cli("finetune", "task=small", "--cfg", "job")[1]
