"""Small sentences with two labels: how a thing is said to be, and how long the sentence is."""

import json
from pathlib import Path

import numpy as np

THINGS = ["film", "plot", "cast", "score", "story", "ending"]
GOOD, BAD = ["fine", "warm", "bright", "clever"], ["dull", "flat", "stale", "clumsy"]
ENDS = ["", "at first", "to the very end", "in my view"]


def make_sentences(n: int, seed: int = 0) -> list[dict[str, str]]:
    """Return n different records with `sentence` and `label`, 1 for a good thing."""
    rng, records = np.random.default_rng(seed), dict[str, dict[str, str]]()
    while len(records) < n:
        good = int(rng.integers(2))
        things = rng.choice(THINGS, 2, replace=False)
        words = rng.choice(GOOD if good else BAD, 2)
        text = f"the {things[0]} is {words[0]} and the {things[1]} is {words[1]} {rng.choice(ENDS)}".strip()
        records.setdefault(text, {"sentence": text, "label": str(good)})
    return list(records.values())


def write_sentences(path: Path, n: int = 200, seed: int = 0) -> Path:
    """Write records as JSON lines, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in make_sentences(n, seed)))
    return path


def write_sst2(folder: Path, n: int = 120) -> None:
    """Write sentences as GLUE publishes SST-2: three files, of which the last has no labels."""
    folder.mkdir(parents=True)
    records = make_sentences(n, seed=1)
    for name, some in (("train", records[n // 3 :]), ("dev", records[: n // 6])):
        lines = [f"{record['sentence']} \t{record['label']}\n" for record in some]
        (folder / f"{name}.tsv").write_text("sentence\tlabel\n" + "".join(lines))
    lines = [f"{k}\t{record['sentence']}\n" for k, record in enumerate(records[n // 6 : n // 3])]
    (folder / "test.tsv").write_text("index\tsentence\n" + "".join(lines))


def write_treebank(folder: Path, n: int = 90) -> None:
    """Write sentences as Universal Dependencies publishes English EWT: three files of CoNLL-U."""
    folder.mkdir(parents=True)
    records = make_sentences(n, seed=2)
    for name, some in (("train", records[n // 3 :]), ("dev", records[: n // 6]), ("test", records[n // 6 : n // 3])):
        blocks = []
        for k, record in enumerate(some):
            words = record["sentence"].split()
            rows = [f"{i}\t{word}\t_\t{'VERB' if word == 'is' else 'NOUN'}" for i, word in enumerate(words, start=1)]
            genre = ["email", "weblog"][k % 2]
            blocks.append("\n".join([f"# sent_id = {genre}-{k}", f"# text = {record['sentence']}", *rows]))
        (folder / f"en_ewt-ud-{name}.conllu").write_text("\n\n".join(blocks) + "\n\n")
