"""Small articles with titles: each article says its title in other words, among words that every article has."""

import json
from pathlib import Path

import numpy as np

PLACES = ["paris", "london", "oslo", "cairo", "lima", "delhi"]
GOODS = ["wheat", "copper", "coffee", "sugar", "cotton", "zinc"]
VERBS = ["falls", "rises", "stalls", "booms"]
FILLER = "it was said in a statement that the department had nothing more to say on it"


def make_pairs(n: int, seed: int = 0) -> list[dict[str, str]]:
    """Return n records with `body` and `headline`."""
    rng = np.random.default_rng(seed)
    records = []
    for _ in range(n):
        place, good, verb = (str(rng.choice(words)) for words in (PLACES, GOODS, VERBS))
        body = f"The {place} market for {good} {verb}, {' '.join(rng.permutation(FILLER.split()))}."
        records.append({"body": body, "headline": f"{place} {good} {verb}".upper()})
    return records


def write_pairs(path: Path, n: int = 240, keys: tuple[str, str] = ("body", "headline")) -> Path:
    """Write records as JSON lines, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(dict(zip(keys, record.values(), strict=True))) + "\n" for record in make_pairs(n))
    path.write_text("".join(lines))
    return path
