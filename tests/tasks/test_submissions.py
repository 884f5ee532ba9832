"""Submission files, compared with the leaderboards' formats, which are written out here by hand."""

import json
from typing import Any

import pytest

from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build, read_yaml

# gluebenchmark.com: file -> the words of its second column
NLI = {"entailment", "neutral", "contradiction"}
TWO = {"entailment", "not_entailment"}
DIGITS = {"0", "1"}
GLUE = {
    ("cola", "test"): ("CoLA.tsv", DIGITS),
    ("sst2", "test"): ("SST-2.tsv", DIGITS),
    ("mrpc", "test"): ("MRPC.tsv", DIGITS),
    ("qqp", "test"): ("QQP.tsv", DIGITS),
    ("wnli", "test"): ("WNLI.tsv", DIGITS),
    ("mnli", "test"): ("MNLI-m.tsv", NLI),
    ("mnli", "test_mismatched"): ("MNLI-mm.tsv", NLI),
    ("mnli", "ax"): ("AX.tsv", NLI),
    ("qnli", "test"): ("QNLI.tsv", TWO),
    ("rte", "test"): ("RTE.tsv", TWO),
}
# cluebenchmarks.com (1.1), and the examples of github.com/CLUEbenchmark/FewCLUE/resources
CLUE = {
    "clue/afqmc": ("afqmc_predict.json", DIGITS),
    "clue/tnews": ("tnews11_predict.json", {*map(str, range(100, 117))} - {"105", "111"}),
    "clue/iflytek": ("iflytek_predict.json", {*map(str, range(119))}),
    "clue/ocnli": ("ocnli_50k_predict.json", NLI),
    "clue/cmnli": ("cmnli_predict.json", NLI),
    "clue/csl": ("csl_predict.json", DIGITS),
    "clue/wsc": ("cluewsc11_predict.json", {"true", "false"}),
    "fewclue/bustm": ("bustm_predict.json", DIGITS),
    "fewclue/cluewsc": ("cluewscf_predict.json", {"true", "false"}),
    "fewclue/csl": ("cslf_predict.json", DIGITS),
    "fewclue/eprstmt": ("eprstmt_predict.json", {"Positive", "Negative"}),
    "fewclue/iflytek": ("iflytekf_predict.json", {*map(str, range(119))}),
    "fewclue/ocnli": ("ocnlif_predict.json", NLI),
    "fewclue/tnews": ("tnewsf_predict.json", {*map(str, range(100, 117))} - {"105", "111"}),
}


def task_of(name: str) -> Any:
    return build(read_yaml(built_in_conf() / "task" / f"{name}.yaml"))


def predictions_of(labels: list[str]) -> list[dict[str, Any]]:
    return [{"id": k, "text": "so", "prediction": label} for k, label in enumerate(labels)]


@pytest.mark.parametrize(("task", "split"), GLUE)
def test_glue_tables(task: str, split: str) -> None:
    file, names = GLUE[task, split]
    the_task = task_of(f"glue/{task}")
    labels = the_task.labels([])
    assert set(labels) == names
    rows = "".join(f"{number}\t{label}\n" for number, label in enumerate(labels))
    assert the_task.submission(split, predictions_of(labels)) == {file: f"index\tprediction\n{rows}"}
    assert the_task.submission("dev", predictions_of(labels)) == {}


def test_stsb_is_clipped_and_has_three_decimals() -> None:
    predictions = [{"id": k, "prediction": value} for k, value in enumerate([-0.31, 2.34567, 5.02, 0.0])]
    content = "index\tprediction\n0\t0.000\n1\t2.346\n2\t5.000\n3\t0.000\n"
    assert task_of("glue/stsb").submission("test", predictions) == {"STS-B.tsv": content}


@pytest.mark.parametrize("name", CLUE)
def test_clue_lines(name: str) -> None:
    file, names = CLUE[name]
    task = task_of(name)
    labels = task.labels([])
    assert set(labels) == names
    submission = task.submission("test", predictions_of(labels))
    assert list(submission) == [file]
    assert submission[file].endswith("\n")
    rows = [json.loads(line) for line in submission[file].splitlines()]
    expected: list[dict[str, Any]] = [{"id": number, "label": label} for number, label in enumerate(labels)]
    if name == "clue/tnews":
        expected = [row | {"label_desc": ""} for row in expected]
    assert rows == expected
    assert task.submission("test_public", predictions_of(labels)) == {}


def test_chid_submits_the_index_of_the_option_and_csldcp_unescaped_chinese() -> None:
    submission = task_of("fewclue/chid").submission("test", [{"id": 3000, "prediction": 6}])
    assert submission == {"chidf_predict.json": '{"id": 3000, "answer": 6}\n'}
    submission = task_of("fewclue/csldcp").submission("test", [{"id": 0, "prediction": "力学"}])
    assert submission == {"csldcp_predict.json": '{"id": 0, "label": "力学"}\n'}
