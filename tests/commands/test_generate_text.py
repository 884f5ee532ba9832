"""`ssl generate` with a run of `ssl pretrain`: it continues texts."""

import json
import os
from pathlib import Path

import pytest

import ssl_cli
from ssl_cli.models.generation.request import GenerationRequest
from ssl_cli.models.generation.sampling import Sampling
from tests.commands.conftest import Finished
from tests.conftest import Cli
from tests.helpers.pretrain_runs import make_run, make_seq2seq_run


@pytest.fixture
def run(workdir: Path) -> Path:
    return make_run(Path("outputs/pretrain/gpt-pydoc/1"), "gpt", "char")


def rows(path: str) -> list[dict]:
    return [json.loads(line) for line in Path(path, "texts.jsonl").read_text().splitlines()]


def test_one_text_is_printed_as_it_is_written_and_nothing_is_kept(cli: Cli, run: Path) -> None:
    before = sorted(Path().rglob("*"))
    code, out, err = cli("generate", "prompt=Birds, they", "max_tokens=12", "temperature=0", "precision=32-true")
    assert code == 0, err
    ((text,),) = ssl_cli.load(run).generate(  # type: ignore[attr-defined]
        ["Birds, they"], GenerationRequest(max_tokens=12), Sampling(0), precision="32-true"
    )
    assert out.startswith(f"generate n=1 seed=0 with {run}\nBirds, they{text.text}\n")
    assert f"{len(text.tokens)} tokens in " in out.splitlines()[-1] and out.endswith("tokens/s\n")
    assert sorted(Path().rglob("*")) == before


def test_prompts_of_a_file_into_a_folder(cli: Cli, run: Path) -> None:
    Path("prompts.txt").write_text("Birds can\n\nThe sun is warm\n")
    for name, words in (("one", ["n=3"]), ("again", ["n=3"]), ("fewer", ["n=2"]), ("other", ["n=3", "seed=1"])):
        code, out, err = cli("generate", "prompts=prompts.txt", "max_tokens=10", f"output={name}", *words)
        assert code == 0, err
        assert out.splitlines()[-1] == name
    assert Path("one/texts.jsonl").read_bytes() == Path("again/texts.jsonl").read_bytes()
    assert [row["prompt"] for row in rows("one")] == ["Birds can"] * 3 + ["The sun is warm"] * 3
    assert rows("fewer") == [*rows("one")[:2], *rows("one")[3:5]]
    assert not {row["text"] for row in rows("one")} & {row["text"] for row in rows("other")}
    assert all(row["tokens"] == 10 or row["ended"] == "end" for row in rows("one"))
    for row in rows("other"):
        assert row["prompt"] + row["text"] in out
    assert [path.name for path in Path("one").iterdir()] == ["texts.jsonl"]


def test_a_stop_string_ends_it(cli: Cli, run: Path) -> None:
    words = ("generate", "prompt=Birds", "max_tokens=30", "n=2", "precision=32-true")
    assert cli(*words, "output=free")[0] == 0
    stop = rows("free")[0]["text"][4]
    assert cli(*words, "output=cut", f"stop=['{stop}','zebra']")[0] == 0
    assert rows("cut")[0]["text"] == rows("free")[0]["text"].split(stop)[0]
    assert rows("cut")[0]["ended"] == "stop"


def test_without_a_prompt_a_new_text_begins(cli: Cli, run: Path) -> None:
    code, out, err = cli("generate", "max_tokens=3", "top_p=0.9", "top_k=null", "min_p=0.01", "repetition_penalty=1.2")
    assert code == 0, err
    assert len(out.splitlines()) >= 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["prompt=a", "prompts=x"], "prompt= and prompts= both give prompts: set only one of them."),
        (["prompts=absent"], "prompts=absent can't be read"),
        (["stop=['']"], "stop has an empty text"),
        (["max_tokens=0"], "max_tokens must be a whole number of at least 1, not 0."),
        (["temperature=-1"], "temperature must be a number of at least 0 or null, not -1."),
        (["top_p=1.5"], "top_p must be a number above 0 and of at most 1 or null, not 1.5."),
        (["precision=16"], "precision must be one of auto, 32-true, bf16-true, not 16."),
        (["n=0"], "n must be a whole number of at least 1"),
        (["output=kept"], "output=kept exists: name another folder, or set overwrite=true."),
    ],
)
def test_invalid_options(cli: Cli, run: Path, words: list[str], sentence: str) -> None:
    Path("kept").mkdir()
    Path("kept/mine.txt").write_text("mine")
    code, _, err = cli("generate", *words)
    assert code == 2 and sentence in err and err.count("\n") == 1, err
    assert [path.name for path in Path("kept").iterdir()] == ["mine.txt"]


def test_bert_names_the_verb_that_it_serves(cli: Cli, workdir: Path) -> None:
    bert = make_run(Path("outputs/pretrain/bert-pydoc/1"), "bert", "wordpiece")
    code, out, err = cli("generate", "prompt=a", "output=new", f"run={bert}")
    assert code == 2 and "model=bert sees both sides of a gap" in err and "`ssl fill text=...`" in err
    assert not out and not Path("new").exists()
    code, _, err = cli("generate", "prompt=a")
    assert code == 2 and "There is no finished reconstruct or pretrain run that can generate in " in err
    gpt = make_run(Path("outputs/pretrain/gpt-pydoc/1"), "gpt")
    os.utime(gpt / "config.yaml", (1000, 1000))
    code, out, err = cli("generate", "max_tokens=2")
    assert code == 0 and f"with {gpt}" in out, err


def test_options_for_texts_with_a_run_of_images(cli: Cli, finished: Finished) -> None:
    run = finished("ae")
    code, _, err = cli("generate", "prompt=a", "top_k=3", "output=new")
    assert code == 2 and f"prompt, top_k: only for texts, but {run} generates images" in err
    assert not Path("new").exists()


def test_the_newest_run_is_used_for_images_or_texts(cli: Cli, finished: Finished) -> None:
    images = finished("ae")
    texts = make_run(Path("outputs/pretrain/gpt-pydoc/1"), "gpt", "char")
    for run, age in ((images, 2000), (texts, 1000)):
        (run / "environment.json").unlink(missing_ok=True)  # which has the serial number of the run
        os.utime(run / "config.yaml", (age, age))
    assert f"with {images}" in cli("generate", "n=1")[1]
    os.utime(texts / "config.yaml", (3000, 3000))
    assert f"with {texts}" in cli("generate", "n=1", "max_tokens=2")[1]


# --- restored texts ---


def test_a_t5_prints_what_it_wrote_and_the_filled_text(cli: Cli, workdir: Path) -> None:
    run = make_seq2seq_run(Path("outputs/pretrain/t5-pydoc/1"), "t5")
    make_run(Path("outputs/pretrain/bert-pydoc/2"), "bert")  # is not the newest that can generate
    code, out, err = cli("generate", "prompt=Birds [MASK] fly.", "max_tokens=6", "beams=2", "output=kept")
    assert code == 0, err
    (row,) = rows("kept")
    assert out.splitlines()[:4] == [
        f"generate n=1 seed=0 with {run}",
        *("Birds [MASK] fly.", row["target"], row["text"]),
    ]
    assert set(row) == {"prompt", "text", "target", "tokens", "ended"} and row["prompt"] == "Birds [MASK] fly."
    code, out, err = cli("generate", "prompt=Birds [MASK] fly.", "max_tokens=6", "n=2")
    assert code == 0 and "--- prompt 1 of 1, text 2 of 2" in out, err


def test_a_bart_prints_the_restored_text_as_it_is_written(cli: Cli, workdir: Path) -> None:
    run = make_seq2seq_run(Path("outputs/pretrain/bart-pydoc/1"), "bart", "char")
    code, out, err = cli("generate", "prompt=Birds [MASK] fly.", "max_tokens=9", "precision=32-true", "output=kept")
    assert code == 0, err
    (row,) = rows("kept")
    assert out.startswith(f"generate n=1 seed=0 with {run}\nBirds [MASK] fly.\n{row['text']}\n")
    assert set(row) == {"prompt", "text", "tokens", "ended"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["beams=3", "temperature=0.5"], "beams=3 searches for the likeliest text and draws nothing: leave out temp"),
        (["beams=3", "top_p=0.5", "min_p=0.1"], "draws nothing: leave out top_p=0.5, min_p=0.1."),
        (["beams=3", "n=4"], "n=4 texts are more than a search with beams=3 finds: raise beams."),
        (["beams=300"], "beams=300 is too many for a vocabulary of "),
        (["beams=3"], "beams=3 needs prompt and text to fit the model's context of 32 tokens: set max_tokens to at "),
        (["min_tokens=9", "max_tokens=3"], "min_tokens=9 is above max_tokens=3: lower it."),
        (["no_repeat_ngram=-1"], "no_repeat_ngram must be a whole number of at least 0, not -1."),
    ],
)
def test_a_search_that_can_not_be_done(cli: Cli, run: Path, words: list[str], sentence: str) -> None:
    code, out, err = cli("generate", "prompt=Birds", *words)
    assert code == 2 and sentence in err and err.count("\n") == 1 and not out, err
