"""Time and size of the token cache of a corpus, beside `datasets.map` as run_mlm.py calls it.

Both sides use the same file, with a document per line, and the same WordPiece tokenizer of transformers; its vocabulary
is trained before the clock starts. The peer's time is the call of `map` alone (batched, return_special_tokens_mask,
with one process or two), without reading the file and without the second pass that joins lines into blocks; ours is
everything. The sides take turns; figures are medians, and ratios (to the faster peer) are medians of those of each
round. Ours caches how a word is encoded, so a repeated corpus suits it: the row of the unrepeated corpus shows the cost
of new words.
"""

import argparse
import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ssl_cli.data.text.sources import TextFiles
from ssl_cli.data.text.token_cache import load_or_build
from ssl_cli.data.tokenizers.pretrained import PretrainedTokenizer
from ssl_cli.data.tokenizers.trainers import WordPiece

EXTRA = "bench"  # scripts/bench installs it
SHARED = Path(os.environ.get("SSL_SHARED", Path(__file__).parents[3] / "shared")) / "data"
NEWS = SHARED / "corpus_en" / "news_en.txt.gz"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds")
    parser.add_argument("--repeats", type=int, nargs="+", default=[1, 5], help="how often the corpus is repeated")
    parser.add_argument("--text", type=Path, default=NEWS, help="the corpus, a gzipped text")
    parser.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)  # corpus, folder, processes: runs the peer
    options = parser.parse_args()
    if options.peer:
        run_map(*options.peer)
        return
    print(
        f"Medians of {options.rounds} rounds, {len(os.sched_getaffinity(0))} cores.\n\n"
        "| corpus | datasets.map, 1 process | 2 processes | ssl | | datasets.map | ssl | |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    for repeats in options.repeats:
        with tempfile.TemporaryDirectory() as folder:
            beside_map(Path(folder), options.text, repeats, options.rounds)


def beside_map(folder: Path, text: Path, repeats: int, rounds: int) -> None:
    """Measure both sides and print a row of the table."""
    corpus = folder / "corpus.txt"
    corpus.write_bytes(gzip.decompress(text.read_bytes()) * repeats)
    source = TextFiles(files=str(corpus), document="line", val=0.05)
    train = (line for split, line in source.splits() if split == "train")
    trainer = WordPiece(vocab_size=30522, lowercase=True, sample_bytes=10_000_000)
    trainer.train(train).save(folder / "tokenizer.json")
    turns = []
    for n in range(rounds):
        peers = [peer(corpus, folder / f"peer-{n}-{processes}", processes) for processes in (1, 2)]
        turns.append((*peers, ours(source, folder, folder / f"ours-{n}")))
    seconds = [[side[0] for side in turn] for turn in turns]
    sizes = [statistics.median(column) for column in zip(*([side[1] for side in turn] for turn in turns), strict=True)]
    one_process, two_processes, ssl = (statistics.median(column) for column in zip(*seconds, strict=True))
    faster = statistics.median(min(turn[:2]) / turn[2] for turn in seconds)
    print(
        f"| {corpus.stat().st_size / 1e6:.0f} MB | {one_process:.1f} s | {two_processes:.1f} s | {ssl:.1f} s "
        f"| **{faster:.1f} x** | {sizes[0]:.1f} bytes a token | {sizes[2]:.2f} | **1/{sizes[0] / sizes[2]:.0f}** |",
        flush=True,
    )


def ours(source: TextFiles, tokenizer: Path, cache: Path) -> tuple[float, float]:
    """Build our cache; returns seconds and bytes per token."""
    started = time.perf_counter()
    data = load_or_build(source, PretrainedTokenizer(str(tokenizer)), cache)
    seconds = time.perf_counter() - started
    return seconds, bytes_in(cache, ".bin") / sum(len(stream.ids) for stream in data.splits.values())


def peer(corpus: Path, folder: Path, processes: int) -> tuple[float, float]:
    """Run `datasets.map` in a new process; returns seconds and bytes per token."""
    command = [sys.executable, __file__, "--peer", str(corpus), str(folder), str(processes)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, tokens = map(float, ended.stdout.split())
    return seconds, bytes_in(folder, ".arrow") / tokens


def run_map(corpus: str, folder: str, processes: str) -> None:
    """Tokenize a text as run_mlm.py does; prints the seconds and the number of tokens."""
    import datasets
    from transformers import PreTrainedTokenizerFast

    datasets.disable_progress_bars()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(Path(corpus).with_name("tokenizer.json")))

    def tokenize(examples: dict[str, list]) -> Any:
        return tokenizer(examples["text"], return_special_tokens_mask=True)

    lines = datasets.load_dataset("text", data_files=corpus, split="train", cache_dir=f"{folder}-lines")
    Path(folder).mkdir()
    n_processes = None if processes == "1" else int(processes)
    started = time.perf_counter()
    tokens = lines.map(
        tokenize, batched=True, num_proc=n_processes, remove_columns=["text"], cache_file_name=f"{folder}/tokens.arrow"
    )
    print(time.perf_counter() - started, sum(map(len, tokens.with_format("arrow")["input_ids"])))


def bytes_in(folder: Path, suffix: str) -> int:
    """Return the total size of the files with a suffix."""
    return sum(path.stat().st_size for path in folder.rglob(f"*{suffix}"))


if __name__ == "__main__":
    main()
