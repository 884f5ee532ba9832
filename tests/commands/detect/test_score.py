"""`ssl score`: a finished run scores a file of any size."""

import csv
import gzip
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import ssl_cli
from ssl_cli.data.io import csv_stream
from ssl_cli.data.io.arrow import read_table
from ssl_cli.evaluation.conformal import flagged_by_fdr
from ssl_cli.runs.digests import write_digests
from tests.conftest import QUICK, Cli, run_here, run_ssl
from tests.helpers.processes import folder_of, popen


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, published: Path) -> Path:
    """A finished run on the creditcard layout, in its folder of outputs."""
    place = tmp_path_factory.mktemp("original")
    return folder_of(run_here("detect", *QUICK, "data=creditcard", f"paths.data={published}", cwd=place), place)


@pytest.fixture
def trained(original: Path, workdir: Path) -> Path:
    """A copy of the finished run in the working directory's outputs."""
    copy = Path(*original.parts[-4:])
    shutil.copytree(original, copy)
    return copy


def source(published: Path) -> Path:
    return published / "creditcard_fraud" / "creditcard.csv"


def scored(path: Path) -> dict[str, list]:
    return read_table(path).to_pydict()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_scores_are_those_of_the_run(cli: Cli, published: Path, trained: Path, suffix: str) -> None:
    code, out, err = cli("score", f"input={source(published)}", f"output=out.{suffix}", "keep=[Time,V1,Class]")
    assert code == 0, err
    assert "rows: 80 in = 80 scored + 0 rejected" in out
    assert out.strip().endswith(f"out.{suffix}")
    run, table = ssl_cli.load(trained), read_table(source(published))
    found = scored(Path(f"out.{suffix}"))
    assert list(found) == ["Time", "V1", "Class", "row", "score", "p_value", "flagged"]
    assert found["row"] == list(range(80))
    assert [float(time) for time in found["Time"]] == table["Time"].to_pylist()
    if suffix == "parquet":  # a feature too stands as in the file
        assert found["V1"] == [line.split(",")[1] for line in source(published).read_text().splitlines()[1:]]
    np.testing.assert_allclose(found["score"], run.score(table), rtol=1e-6)
    np.testing.assert_allclose(found["p_value"], run.p_value(table))
    np.testing.assert_array_equal(np.array(found["flagged"]).astype(bool), run.flag(table))
    assert Path("rejects.csv").read_text().splitlines() == ["row,line,reason,text"]


def test_the_size_of_the_chunks_changes_nothing(
    cli: Cli, published: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["score", f"run={trained}", f"input={source(published)}"]
    assert cli(*words, "output=whole.parquet")[0] == 0
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", 1000)
    assert cli(*words, "output=chunks.parquet")[0] == 0
    whole, chunks = scored(Path("whole.parquet")), scored(Path("chunks.parquet"))
    np.testing.assert_allclose(chunks.pop("score"), whole.pop("score"), rtol=1e-5)
    assert chunks == whole


def test_bad_rows_are_kept_with_line_and_reason(cli: Cli, published: Path, trained: Path) -> None:
    lines = source(published).read_text().splitlines()
    lines[10] = lines[10].rsplit(",", 2)[0]
    lines[20] = lines[20].replace(",", ",abc", 1)
    lines.insert(30, "")
    Path("new.csv").write_text("\n".join(lines) + "\n")
    code, out, err = cli("score", "input=new.csv", "output=out.parquet")
    assert code == 0
    assert "rows: 80 in = 78 scored + 2 rejected" in out
    assert "line 11: 29 fields instead of 31; line 21: the column V1 holds 'abc" in err
    with Path("rejects.csv").open(newline="") as file:
        rejects = list(csv.DictReader(file))
    assert [(reject["row"], reject["line"]) for reject in rejects] == [("9", "11"), ("19", "21")]
    assert [reject["text"] for reject in rejects] == [lines[10], lines[20]]
    rows = scored(Path("out.parquet"))["row"]
    assert sorted([*rows, 9, 19]) == list(range(80))


@pytest.mark.parametrize("method", ["storey", "bh"])
def test_fdr_flags_over_the_whole_file(
    cli: Cli, published: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", 1000)
    words = ["model=knn", "threshold=fdr", "fdr=0.5", "calibrate=cross", "data=creditcard", f"paths.data={published}"]
    words.append(f"fdr_method={method}")
    assert cli("detect", *words)[0] == 0
    for suffix in ("csv", "parquet"):
        code, out, err = cli("score", f"input={source(published)}", f"output=out.{suffix}")
        assert code == 0, err
        flagged = np.array(scored(Path(f"out.{suffix}"))["flagged"]).astype(bool)
        np.testing.assert_array_equal(flagged, ssl_cli.load().flag(read_table(source(published))))
        assert 0 < flagged.sum() < 80
        assert f"flagged: {flagged.sum()} " in out


def test_a_run_of_an_earlier_version_flags_as_it_did(cli: Cli, published: Path) -> None:
    words = ["model=knn", "threshold=fdr", "fdr=0.5", "calibrate=cross", "data=creditcard", f"paths.data={published}"]
    folder = Path(cli("detect", *words)[1].strip().splitlines()[-1])
    config = (folder / "config.yaml").read_text()
    assert "fdr_method: storey\n" in config
    (folder / "config.yaml").write_text(config.replace("fdr_method: storey\n", ""))
    write_digests(folder)
    run, table = ssl_cli.load(folder), read_table(source(published))
    expected = flagged_by_fdr(run.calibration, run.score(table), 0.5, "bh")
    np.testing.assert_array_equal(run.flag(table), expected)
    assert cli("score", f"input={source(published)}", "output=out.csv")[0] == 0
    np.testing.assert_array_equal(np.array(scored(Path("out.csv"))["flagged"]).astype(bool), expected)
    assert cli("detect", f"resume={folder}")[0] == 0


def test_symbols_no_header_and_gzip_as_in_the_training_file(cli: Cli, published: Path) -> None:
    assert cli("detect", *QUICK, "data=kddcup99", f"paths.data={published}")[0] == 0
    path = published / "kddcup99" / "kddcup.data_10_percent.gz"
    code, out, err = cli("score", f"input={path}", "output=out.parquet")
    assert code == 0, err
    assert "rows: 80 in = 80 scored + 0 rejected" in out
    with gzip.open(path, "rt") as file:
        Path("short.csv").write_text("".join(line.split(",", 2)[2] for line in file))
    code, _, err = cli("score", "input=short.csv", "output=other.parquet")
    assert code == 2
    assert "has 40 fields in its first rows and is read without a header; the training file had 42" in err


def test_missing_values_in_columns_that_had_none_give_a_warning(cli: Cli, published: Path, trained: Path) -> None:
    lines = source(published).read_text().splitlines()
    time, _, rest = lines[5].split(",", 2)
    lines[5] = f"{time},,{rest}"
    Path("new.csv").write_text("\n".join(lines))
    code, out, err = cli("score", "input=new.csv", "output=out.csv")
    assert code == 0
    assert "80 scored" in out
    assert "missing values are replaced by the training mean, in columns that had none in training: V1 1" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["input=absent.csv", "output=o.csv"], "input=absent.csv is not a file"),
        (["input=new.csv", "output=loop.csv"], "loop.csv is a symbolic link that leads back to itself"),
        (["output=o.csv"], "input is missing: it must be a path; set input=..."),
        (["input=new.csv", "output=o.txt"], "output must be a path that ends in .csv or .parquet, not 'o.txt'"),
        (["input=new.csv", "output=nowhere/o.csv"], "there is no folder nowhere; make it first"),
        (["input=new.csv", "output=new.csv"], "output=new.csv is the input itself"),
        (["input=new.csv", "output=old.csv"], "output=old.csv exists: name another file, or set overwrite=true"),
        (["input=new.csv", "output=o.csv", "rejects=o.csv"], "output and rejects are both o.csv"),
        (["input=new.csv", "output=paged.csv"], "paged.csv.report.html exists and isn't a page of ssl score: move it"),
        (["input=new.csv", "output=o.csv", "keep=[score]"], "the output has a column of that name already"),
        (["input=new.csv", "output=o.csv", "keep=[nme]"], "lacks the column nme"),
        (["input=new.csv", "output=o.csv", "run=nowhere"], "nowhere is no run folder"),
        (["input=new.csv", "output=o.csv", "resume=latest"], "resume is not an option"),
        (["input=new.csv", "output=o.csv", "model=dae"], "model"),
        (["-m", "input=new.csv,old.csv", "output=o.csv"], "ssl score trains no runs to compare: leave out -m"),
        (["input=lacks.csv", "output=o.csv"], "lacks.csv lacks the column V28; it has Time, V1"),
        (["input=bad.csv", "output=o.csv"], "None of the 2 rows can be read; rejects.csv has the reasons (line 2: 1 f"),
        (["input=cut.csv.gz", "output=o.csv"], "cut.csv.gz is cut off"),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_nothing(
    cli: Cli, published: Path, trained: Path, words: list[str], sentence: str
) -> None:
    lines = source(published).read_text().splitlines()
    Path("new.csv").write_text("\n".join(lines))
    Path("old.csv").write_text("old")
    Path("paged.csv.report.html").write_text("mine")
    Path("loop.csv").symlink_to("loop.csv")
    Path("lacks.csv").write_text("\n".join(lines).replace("V28", "V29"))
    Path("bad.csv").write_text(f"{lines[0]}\nx\ny\n")
    Path("cut.csv.gz").write_bytes(gzip.compress("\n".join(lines * 20).encode())[:-50])
    before = sorted(Path().glob("*"))
    code, _, err = cli("score", *words)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err
    left = [path for path in sorted(Path().glob("*")) if path not in before]
    assert left == ([Path("rejects.csv")] if "bad.csv" in words[0] else [])
    assert Path("old.csv").read_text() == "old" and Path("paged.csv.report.html").read_text() == "mine"


def test_the_page_beside_an_output_is_replaced_or_left_out(cli: Cli, published: Path, trained: Path) -> None:
    words, page = ["score", f"input={source(published)}", "output=o.csv"], Path("o.csv.report.html")
    assert cli(*words)[0] == 0
    first = page.read_text()
    Path("o.csv").unlink()
    assert cli(*words, "keep=[Time]")[0] == 0  # a page of ssl score may be replaced
    assert page.read_text() != first and "80" in page.read_text()
    page.write_text("mine")
    code, out, _ = cli(*words, "overwrite=true", "report=false")
    assert code == 0 and "report:" not in out and page.read_text() == "mine"
    assert cli(*words, "overwrite=true")[0] == 0 and page.read_text() != "mine"
    Path("null.csv").symlink_to("/dev/null")
    assert cli("score", f"input={source(published)}", "output=null.csv", "overwrite=true")[0] == 0
    assert not Path("null.csv.report.html").exists()


def test_other_files_are_not_touched(cli: Cli, published: Path, trained: Path) -> None:
    new = source(published).read_bytes()
    for name in ("o.csv.part", "rejects.csv.part"):
        Path(name).write_bytes(new)
        assert cli("score", f"input={name}", "output=o.csv", "overwrite=true")[0] == 0
        assert Path(name).read_bytes() == new
    assert cli("score", "input=o.csv.part", "output=second.csv")[0] == 0  # it replaces an earlier rejects.csv
    Path("rejects.csv").write_text("mine\n")
    code, _, err = cli("score", "input=o.csv.part", "output=third.csv")
    assert code == 2
    assert "rejects=rejects.csv exists and isn't a table of rejects" in err
    assert Path("rejects.csv").read_text() == "mine\n"
    assert not list(Path().glob(".ssl-*"))


def test_an_output_that_cannot_be_written(cli: Cli, published: Path, trained: Path) -> None:
    code, _, err = cli("score", f"input={source(published)}", "output=/proc/o.csv")
    assert code == 2
    assert "/proc/o.csv can't be written: " in err


def test_a_read_error_is_not_reported_as_a_write_error(cli: Cli, published: Path, trained: Path) -> None:
    cut = gzip.compress(source(published).read_bytes() * 20)[:-50]
    Path("cut.csv.gz").write_bytes(cut)
    code, _, err = cli("score", "input=cut.csv.gz", "output=o.csv", "rejects=/dev/null")
    assert code == 2
    assert "cut.csv.gz is cut off" in err
    assert "written" not in err
    assert cli("score", f"input={source(published)}", "output=o.csv", "rejects=/dev/null")[0] == 0
    assert Path("/dev/null").is_char_device()


def test_fdr_with_no_row_at_all(cli: Cli, published: Path) -> None:
    assert cli("detect", "model=gaussian", "threshold=fdr", "data=creditcard", f"paths.data={published}")[0] == 0
    Path("none.csv").write_text(source(published).read_text().splitlines()[0] + "\n")
    code, out, err = cli("score", "input=none.csv", "output=o.parquet")
    assert code == 0, err
    assert "0 in = 0 scored" in out
    assert list(scored_columns(Path("o.parquet"))) == ["row", "score", "p_value", "flagged"]


def scored_columns(path: Path) -> list[str]:
    return pyarrow.parquet.read_schema(path).names


def test_an_infinite_value_is_flagged(cli: Cli, published: Path, trained: Path) -> None:
    lines = source(published).read_text().splitlines()
    time, _, rest = lines[5].split(",", 2)
    lines[5] = f"{time},inf,{rest}"
    Path("new.csv").write_text("\n".join(lines))
    assert cli("score", "input=new.csv", "output=o.parquet")[0] == 0
    found = scored(Path("o.parquet"))
    assert found["flagged"][4] and found["score"][4] == max(found["score"])


def test_an_empty_file_and_a_parquet_file_of_another_type(cli: Cli, published: Path, trained: Path) -> None:
    table = read_table(source(published))
    pyarrow.parquet.write_table(table.slice(0, 0), "empty.parquet")
    code, out, err = cli("score", "input=empty.parquet", "output=out.parquet")
    assert code == 0, err
    assert "rows: 0 in = 0 scored + 0 rejected" in out
    dates = pa.array(np.arange(80), pa.timestamp("ms"))
    pyarrow.parquet.write_table(table.set_column(1, "V1", dates), "dates.parquet")
    code, _, err = cli("score", "input=dates.parquet", "output=other.parquet")
    assert code == 2
    assert "the column V1 holds timestamp[ms]; it must hold numbers" in err


def test_as_a_process_on_a_run_of_another_folder(cli: Cli, workdir: Path, published: Path) -> None:
    words = [*QUICK, "model=gaussian", "data=creditcard", f"paths.data={published}", "paths.outputs=elsewhere"]
    assert cli("detect", *words)[0] == 0
    done = run_ssl("score", f"input={source(published)}", "output=o.csv", "paths.outputs=elsewhere", cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "o.csv"
    shown = cli("score", "--help")[1]
    assert "constant memory" in shown and "model=" not in shown


@pytest.mark.long
def test_memory_does_not_grow_with_the_file(workdir: Path) -> None:
    header, rng = ",".join("abcdefgh"), np.random.default_rng(0)
    lines = [",".join(f"{value:.6f}" for value in row) for row in rng.normal(size=(10_000, 8))]
    Path("train.csv").write_text("\n".join([header, *lines]))
    done = run_ssl("detect", "data=table", "data.file=train.csv", "model=gaussian", cwd=workdir)
    assert done.returncode == 0, done.stderr
    peaks = []
    for repeats in (50, 400):  # 40 and 320 MB; every 997th line is broken, to test the slow path too
        with Path("new.csv").open("w") as file:
            file.write(header + "\n")
            for _ in range(repeats):
                file.writelines(f"{line}\n" if row % 997 else "x,y\n" for row, line in enumerate(lines))
        words = ["score", "input=new.csv", "output=o.parquet", "explain=true", "overwrite=true"]
        with Path("output.txt").open("w") as output:
            process = popen([sys.executable, "-m", "ssl_cli.cli.main", *words], stdout=output, stderr=output)
            _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, Path("output.txt").read_text()
        assert f"{11 * repeats:,} rejected" in Path("output.txt").read_text()
        peaks.append(usage.ru_maxrss / 1024)  # MB
    assert peaks[1] < peaks[0] + 150


@pytest.mark.parametrize("escaped", [False, True])
def test_formulas_are_escaped_on_request(cli: Cli, published: Path, trained: Path, escaped: bool) -> None:
    header, *lines = source(published).read_text().splitlines()
    texts = ["=1+1", "-1", "@x", "a"]
    rows = [f"{line},{text}" for line, text in zip(lines, texts, strict=False)]
    Path("new.csv").write_text("\n".join([f"{header},+note", *rows, "=bad"]))
    words = ["score", "input=new.csv", "output=out.csv", "keep=[+note,V1]", f"escape_formulas={escaped}"]
    code, _, err = cli(*words)
    assert code == 0, err
    with Path("out.csv").open(newline="") as file, Path("rejects.csv").open(newline="") as rejects:
        (name, *_), *found = csv.reader(file)
        rejected = list(csv.reader(rejects))[1]
    expected = ["'+note", "'=1+1", "-1", "'@x", "a"] if escaped else ["+note", *texts]
    assert [name, *(row[0] for row in found)] == expected
    assert [row[1] for row in found] == [line.split(",")[1] for line in lines[:4]]  # numbers below 0 among them
    assert rejected[3] == ("'=bad" if escaped else "=bad")
