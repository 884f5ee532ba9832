"""Sources of text: what a document is in each, and how invalid records are reported."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import hydra
import pyarrow as pa
import pyarrow.parquet
import pytest
from omegaconf import OmegaConf

from ssl_cli.config.choices import built_in_conf
from ssl_cli.data.io import text as text_io
from ssl_cli.data.text import sources
from ssl_cli.data.text.corpora import C4, Wikitext
from ssl_cli.data.text.records import CsvText, JsonLines, ParquetText
from ssl_cli.data.text.sources import Pydoc, TextFiles, TextSource
from ssl_cli.errors import InputError
from tests.data.io.test_text import write_file


def jsonl(path: Path, field: str = "text") -> JsonLines:
    return JsonLines(files=str(path), field=field, val=0.1)


def csv(path: Path, field: str = "text", delimiter: str = ",") -> CsvText:
    return CsvText(files=str(path), field=field, delimiter=delimiter, val=0.1)


def refusal(source: TextSource) -> str:
    with pytest.raises(InputError) as refused:
        list(source.documents())
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("name", ["pydoc", "text", "jsonl", "csv", "parquet", "wikitext", "c4"])
def test_each_choice_makes_a_source(tmp_path: Path, name: str) -> None:
    node = OmegaConf.load(built_in_conf() / "data" / f"{name}.yaml")
    if OmegaConf.is_missing(node, "files"):
        node.files = str(tmp_path)
    cfg = OmegaConf.create({"paths": {"data": str(tmp_path)}, "data": node})
    assert isinstance(hydra.utils.instantiate(cfg.data), TextSource)


def test_pydoc() -> None:
    found = list(Pydoc(val=0.1).documents())
    assert len(found) > 40
    assert sum(map(len, found)) > 300_000
    assert not any("\n****" in text for text in found)
    assert any('The "assert" statement\n\nAssert statements are' in text for text in found)
    for k, text in enumerate(found):  # a topic within another would be trained on and held out
        assert not any(text.split("\n", 2)[2][:1000] in other for other in found[:k] + found[k + 1 :])


# --- plain text ---------------------------------------------------------------------------------------------


def test_blank_documents_are_dropped_and_blank_files_refused(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.txt", "\n\none\n \n\ntwo\n\n")
    for document in ("line", "block"):
        source = TextFiles(files=str(path), document=document, val=0.1)  # type: ignore[arg-type]
        assert list(source.documents()) == ["one", "two"]
    write_file(path, "\r\n \n")
    assert refusal(TextFiles(files=str(path), document="file", val=0.1)).startswith("There is no text in the data")


def test_faults_are_counted_anew_each_time_and_begin_with_each_reading(tmp_path: Path) -> None:
    source = TextFiles(files=str(write_file(tmp_path / "a.txt", b"caf\xe9\n")), document="line", val=0.1)
    for _ in range(2):
        assert list(source.splits())
        assert source.issues.n_invalid == 1


def test_a_stamp_changes_with_the_files_and_with_what_changes_the_documents(tmp_path: Path) -> None:
    path = write_file(tmp_path / "t" / "a.txt", "one")

    def stamp(**other: object) -> str:
        options = {"files": str(path.parent), "document": "line", "val": 0.1} | other
        return json.dumps(TextFiles(**options).cache_key())  # type: ignore[arg-type]

    first = stamp()
    assert stamp() == first == stamp(cache="elsewhere", isolate_documents=True)
    phrases = str(write_file(tmp_path / "phrases.txt", "New York"))
    changed = [stamp(document="file"), stamp(val=0.2), stamp(max_tokens=9), stamp(phrases=phrases)]
    write_file(path, "other")
    changed.append(stamp())
    write_file(path.parent / "b.txt", "two")
    changed.append(stamp())
    assert len({first, *changed}) == 7


# --- records ------------------------------------------------------------------------------------------------


def test_json_lines(tmp_path: Path) -> None:
    records = ['{"text": "one\\ntwo"}', "", '{"text": ["a", "b"], "n": 1}', '{"text": null}', '{"text": ""}']
    source = jsonl(write_file(tmp_path / "a.jsonl", "\n".join(records)))
    assert list(source.documents()) == ["one\ntwo", "a\nb"]
    assert source.issues.messages() == []


def test_broken_records_are_left_out_and_named(tmp_path: Path) -> None:
    lines = [
        '{"text": "sound"}',
        '{"text": "cut',
        "[1]",
        '{"other": 1}',
        '{"text": 7}',
        '{"text": "\\ud83d half"}',
        "x",
    ]
    source = jsonl(write_file(tmp_path / "a.jsonl", "\n".join([*lines, '{"text": "last"}'])))
    found = list(source.documents())
    assert found == ["sound", "\ufffd half", "last"]
    "".join(found).encode()
    replaced, left_out = source.issues.messages()
    assert "1 invalid UTF-8 sequence(s)" in replaced
    assert "a.jsonl, line 6" in replaced
    assert left_out.startswith(f"5 record(s) left out: {tmp_path}/a.jsonl, line 2: it is not JSON (Unterminated string")
    assert "line 4: there is no field text, only other" in left_out
    assert "line 5: the field text holds 7, which is neither text nor a list of lines" in left_out


def test_a_long_record_is_whole_and_its_text_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_DOCUMENT_CHARS", 100)
    monkeypatch.setattr(text_io, "MAX_DOCUMENT_CHARS", 100)
    text = "word " * 50
    source = jsonl(write_file(tmp_path / "a.jsonl", json.dumps({"text": text})))
    assert [len(part) for part in source.documents()] == [100, 100, 50]
    assert "2 place(s)" in source.issues.messages()[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"texts": "a", "id": 1}', "line 1: there is no field text, only texts, id. Did you mean texts."),
        ('"a"', "line 1: it is not a JSON object: each line must be one, {...}."),
        ("plain words", "line 1: it is not JSON (Expecting value)."),
        (
            '{"text": {"en": "a"}}',
            'line 1: the field text holds {"en": "a"}, which is neither text nor a list of lines.',
        ),
    ],
)
def test_files_that_are_meant_otherwise_are_refused_at_their_first_record(
    tmp_path: Path, content: str, message: str
) -> None:
    path = write_file(tmp_path / "a.jsonl", f"\n{content}\n".lstrip())
    assert refusal(jsonl(path)) == f"{path}, {message}"


def test_csv(tmp_path: Path) -> None:
    content = '\ufeffid,text\r\n1,"said ""so"",\r\ntwice"\r\n2\r\n\r\n3,plain,more\r\n4,\r\n'
    source = csv(write_file(tmp_path / "a.csv", content))
    assert list(source.documents()) == ['said "so",\ntwice', "plain"]
    assert source.issues.messages() == [
        f"1 record(s) left out: {tmp_path}/a.csv, line 4: there is no field text, only id."
    ]
    assert list(csv(write_file(tmp_path / "b.tsv", "text\tid\na, b\t1\n"), delimiter="tab").documents()) == ["a, b"]


def test_csv_that_is_meant_otherwise(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.csv", 'id;text\n1;"open\n2;two\n3;three\n')
    assert refusal(csv(path)).endswith("its fields seem to be separated by ';'; set data.delimiter=';'.")
    source = csv(path, delimiter=";")
    assert list(source.documents()) == ["two", "three"]
    assert "a.csv, line 2: a quote is opened and not closed" in source.issues.messages()[0]
    assert "line 3: there is no field title, only id, text" in refusal(csv(path, "title", ";"))
    assert "has more than one column called text" in refusal(csv(write_file(path, "text,text\na,b\n")))
    assert "There is no text" in refusal(csv(write_file(path, "id,text\n")))


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    faulty = pa.array([b"caf\xe9", b"two", None]).view(pa.string())
    lists = pa.array([["a", "b"], ["c"], None])
    pyarrow.parquet.write_table(pa.table({"text": faulty, "lines": lists, "n": [1, 2, 3]}), path)

    def source(field: str) -> ParquetText:
        return ParquetText(files=str(path), field=field, val=0.1)

    careless = source("text")
    assert list(careless.documents()) == ["caf\ufffd", "two"]
    assert "a.parquet, record 1" in careless.issues.messages()[0]
    assert list(source("lines").documents()) == ["a\nb", "c"]
    assert "there is no field txt, only text, lines, n. Did you mean text" in refusal(source("txt"))
    assert "record 1: the field n holds 1, which is neither text" in refusal(source("n"))
    path.write_bytes(path.read_bytes()[:50])
    assert "a.parquet can't be read: " in refusal(source("text"))


def test_one_text_in_four_kinds_of_files(published: Path) -> None:
    folder = published / "text"
    plain = TextFiles(files=str(folder), document="block", val=0.1)
    records = [jsonl(folder), csv(folder), ParquetText(files=str(folder), field="text", val=0.1)]
    stories = list(plain.documents())
    assert len(stories) == 300
    assert all(list(source.documents()) == stories for source in records)
    assert all(list(source.splits()) == list(plain.splits()) for source in records)


# --- published corpora --------------------------------------------------------------------------------------

ARTICLES = [
    " = Du Fu = \n \n Du Fu was a poet . \n \n = = Life = = \n \n He = she , 1 = 1 . \n",
    " = Kiss You = \n \n A song . \n",
]


def wikitext(folder: Path, val: float | None = None, hub: str | None = None) -> Wikitext:
    return Wikitext(dir=str(folder), name="wikitext-2-raw-v1", val=val, hub=hub)


def hub_rows(text: str) -> list[str]:
    """A line a row, as the hub has it: blank ones are empty."""
    return ["" if line.isspace() else line for line in text.splitlines(keepends=True)]


def wiki_files(folder: Path, layout: str) -> None:
    for part, some in (("train", [*ARTICLES, *ARTICLES]), ("valid", ARTICLES[1:])):
        text = " \n" + " \n \n".join(some)
        if layout == "parquet":
            folder.joinpath("wikitext-2-raw-v1").mkdir(exist_ok=True)
            name = f"wikitext-2-raw-v1/{'validation' if part == 'valid' else part}-00000-of-00001.parquet"
            pyarrow.parquet.write_table(pa.table({"text": hub_rows(text)}), folder / name)
        else:
            write_file(folder / layout.format(part), text)


@pytest.mark.parametrize("layout", ["wiki.{}.tokens", "{}.txt", "wikitext2_{}.txt", "parquet"])
def test_an_article_of_wikitext_is_a_document(tmp_path: Path, layout: str) -> None:
    wiki_files(tmp_path, layout)
    write_file(tmp_path / "README.txt", "no article")
    found = list(wikitext(tmp_path).splits())
    assert [name for name, _ in found] == ["val", "train", "train", "train", "train"]
    assert [text.split() for _, text in found] == [text.split() for text in (ARTICLES[1], *ARTICLES, *ARTICLES)]
    assert {name for name, _ in wikitext(tmp_path, val=0.2).splits()} == {"train", "val"}


def test_wikitexts_published_articles_are_all_found(shared: Path) -> None:
    source = TextFiles(files=str(shared / "corpus_en" / "wikitext2_valid.txt"), document="file", val=0)
    (text,) = source.documents()
    found = list(Wikitext(dir=str(shared / "corpus_en"), name="wikitext-2-v1", val=None)._articles("validation"))
    assert len(found) == 60  # arXiv 1609.07843, table 1
    assert sum(map(len, found)) > len(text) - 60 * 6


def test_wikitext_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Streamed:
        def iter(self, batch_size: int) -> Iterator[dict[str, list[str]]]:
            rows = hub_rows(" \n" + " \n \n".join(ARTICLES))
            yield from ({"text": rows[k : k + 3]} for k in range(0, len(rows), 3))

    monkeypatch.setattr("datasets.load_dataset", lambda *args, **kinds: asked.append((args, kinds)) or Streamed())
    found = list(wikitext(tmp_path / "absent", hub="Salesforce/wikitext").splits())
    assert [text.split() for name, text in found if name == "train"] == [text.split() for text in ARTICLES]
    assert [name for name, _ in found] == ["val", "val", "train", "train"]
    of_split = {"streaming": True, "split": "validation"}
    assert asked[0] == (("Salesforce/wikitext", "wikitext-2-raw-v1"), of_split)


def test_a_hub_that_fails_and_a_folder_that_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach it\nand much more")

    monkeypatch.setattr("datasets.load_dataset", fail)
    message = refusal(C4(dir=str(tmp_path / "c4"), hub="allenai/c4", name="en", val=0.1))
    assert message.startswith("allenai/c4 can't be streamed: the hub can't be reached")
    assert ". Put its files in" in message
    assert "is not a folder. Put its files in" in refusal(C4(dir=str(tmp_path / "c4"), name="en", val=0.1))
    write_file(tmp_path / "wiki" / "train.txt", "x")
    with pytest.raises(InputError, match=r"holds no validation files.*or set data\.val=0\.05"):
        list(wikitext(tmp_path / "wiki").splits())


def test_c4_in_a_folder(tmp_path: Path) -> None:
    for name, text in (("train.00001-of-01024", "two"), ("train.00000-of-01024", "one"), ("validation.00000", "no")):
        write_file(tmp_path / "en" / f"c4-{name}.json.gz", gzip.compress(json.dumps({"text": text}).encode()))
    assert list(C4(dir=str(tmp_path), name="en", val=0.1).documents()) == ["one", "two"]
    with pytest.raises(InputError, match="holds no file of C4"):
        list(C4(dir=str(write_file(tmp_path / "x" / "a.json", "{}").parent), name="en", val=0.1).documents())
