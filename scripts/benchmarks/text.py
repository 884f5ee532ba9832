"""Speed of `ssl pretrain` and `ssl generate`, beside transformers and nanoGPT: tokens per second.

BERT: rows of 128 tokens, a WordPiece vocabulary of 30,522, beside transformers' BertForMaskedLM in its Trainer, set up
as in run_mlm.py. GPT: characters of tiny Shakespeare, beside nanoGPT's train.py. Generation: with a KV cache, in the
shape of GPT-2, beside transformers' generate. BART and T5 (4x256 and 12x768 in each half), beside transformers' in its
Trainer, on the same corrupted texts, and greedy generation from sources of 128 tokens. Padding: beside run_mlm.py
--line_by_line. (The token cache:
`scripts/bench token_cache`.) Each side runs in a new process; the sides take turns, so that a busy machine slows both
equally. The time of a step is the median from its start to the start of the next one, in the side's own trainer;
figures are medians of the rounds, ratios are medians of those of each round.
"""

import argparse
import gzip
import os
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from text_sides import gpu
from text_sides.nanogpt import SETTINGS, NanoGPT
from text_sides.timing import WARM_UP, alone

EXTRA = "bench"  # scripts/bench installs it
SHARED = Path(os.environ.get("SSL_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "corpus_en"
NEWS, SHAKESPEARE = SHARED / "news_en.txt.gz", SHARED / "tinyshakespeare.txt"
ROW_LENGTH = 128
SHAPES = {  # of BERT: transformers' names, and the rows of a batch
    "mini": ({"num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}, 32),
    "base": ({}, 8),
}
PEERS_OPTIMIZER = ["optim.lr=5e-5", "optim.weight_decay=0", "optim.warmup_steps=0"]
FLOAT32, BFLOAT16 = "trainer.precision=32-true", "trainer.precision=bf16-mixed"
PARTS = ("bert", "gpt", "seq2seq", "generate", "padding")
SEQ2SEQ_OPTIONS = {  # of our side: the shapes of transformers' BART, and of T5 1.1
    "bart": ["model=bart", "model.network.positions=learned", "model.network.norm=post"],
    "t5": ["model=t5", "model.network.tied_output=true"],
}
VAL_ROWS = 512  # held-out rows of text that both sides are evaluated on
Work = Callable[[], float]  # -> tokens per second


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds")
    parser.add_argument("--steps", type=int, default=6, help="measured steps of each side in a round")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="torch's, for every side")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some of the parts")
    parser.add_argument("--sizes", nargs="+", choices=[*SHAPES, *SETTINGS], help="some of the models")
    parser.add_argument("--nanogpt", type=Path, default=os.environ.get("NANOGPT"), help="its folder; default $NANOGPT")
    parser.add_argument("--new-tokens", type=int, default=64, help="generated after a prompt of 32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: see text_sides/gpu.py")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if options.device == "cuda":
        with tempfile.TemporaryDirectory() as folder:
            text = partial(news, options, Path(folder))
            gpu.table(options.steps, text, options.nanogpt, SHAKESPEARE, Path(folder))
        return
    print(f"{options.threads} threads, tokens a second, medians of {options.rounds} rounds.")
    parts = {"bert": bert, "gpt": gpt, "seq2seq": seq2seq, "generate": generate, "padding": padding}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            parts[name](options, Path(folder))


def bert(options: argparse.Namespace, folder: Path) -> None:
    """Print the table of BERT."""
    words = news(options, folder)
    names = ["transformers", "in bf16", "in bf16, no dropout", "ssl, float32", "ssl, bf16 (its default)"]
    ratios = [(3, 0), (4, 0), (4, 1), (4, 2)]
    print_head(names, ratios)
    for size in wanted(options, SHAPES):
        shape, batch_size = SHAPES[size]

        def peer(bf16: bool, dropout: bool, shape: dict = shape, rows: int = batch_size) -> Work:
            settings = (folder, shape, rows, options.steps, dropout)
            return lambda: rows * ROW_LENGTH / alone(options.threads, "run_mlm:seconds_a_step", *settings, bf16=bf16)

        def ours(precision: str, size: str = size, rows: int = batch_size) -> Work:
            chosen = [
                *words,
                *PEERS_OPTIMIZER,
                f"model.network.size={size}",
                "model.network.positions=learned",
                f"trainer.batch_size={rows}",
                precision,
            ]
            return (
                lambda: rows * ROW_LENGTH / alone(options.threads, "ours:seconds_a_step", folder, chosen, options.steps)
            )

        sides = [peer(False, True), peer(True, True), peer(True, False), ours(FLOAT32), ours(BFLOAT16)]
        print_row(f"BERT {size}, batches of {batch_size}", sides, ratios, options.rounds)


def gpt(options: argparse.Namespace, folder: Path) -> None:
    """Print the table of GPT, if nanoGPT's folder is there."""
    if not (options.nanogpt and (options.nanogpt / "train.py").is_file()):
        print("\nGPT: left out. Give nanoGPT's folder (github.com/karpathy/nanoGPT) by --nanogpt or in $NANOGPT.")
        return
    peer = NanoGPT(options.nanogpt, SHAKESPEARE, folder, options.threads)
    ratios = [(1, 0), (2, 0)]
    print_head(["nanoGPT", "ssl, float32", "ssl, bf16 (its default)"], ratios)
    for size in wanted(options, SETTINGS):
        settings = SETTINGS[size]
        tokens, steps = settings["batch_size"] * settings["block_size"], options.steps * (10 if size == "4x128" else 1)

        def ours(precision: str, size: str = size, tokens: int = tokens, steps: int = steps) -> Work:
            words = [*shakespeare(size), precision]
            return lambda: tokens / alone(options.threads, "ours:seconds_a_step", folder, words, steps)

        def theirs(settings: dict = settings, tokens: int = tokens, steps: int = steps) -> float:
            return tokens / peer.seconds_a_step(settings, steps)

        sides = [theirs, ours(FLOAT32), ours(BFLOAT16)]
        print_row(f"GPT {size}, block {settings['block_size']}", sides, ratios, options.rounds)


def seq2seq(options: argparse.Namespace, folder: Path) -> None:
    """Print the tables of BART and T5: training and greedy generation."""
    ratios = [(3, 0), (2, 0), (2, 1)]
    print_head(["in bf16", "in bf16, no dropout", "ssl, bf16 (its default)", "ssl, float32"], ratios)
    for family in SEQ2SEQ_OPTIONS:
        for size in wanted(options, SHAPES):
            words, shape, rows = seq2seq_pairs(options, folder, family, size)

            def peer(dropout: bool, family: str = family, shape: tuple = shape, rows: int = rows) -> Work:
                settings = (folder, family, shape, rows, options.steps, dropout)
                return lambda: rows / alone(options.threads, "run_seq2seq:seconds_a_step", *settings, bf16=True)

            def ours(precision: str, words: list[str] = words, rows: int = rows) -> Work:
                chosen = [*words, *PEERS_OPTIMIZER, precision]
                return lambda: rows / alone(options.threads, "ours:seconds_a_step", folder, chosen, options.steps)

            sides = [peer(True), peer(False), ours(BFLOAT16), ours(FLOAT32)]
            print_row(f"{family} {size}, pairs a second", sides, ratios, options.rounds)
    ratios = [(2, 0), (3, 1)]
    print_head(["transformers", "in bf16", "ssl, float32", "ssl, bf16 (its default)"], ratios)
    for family in SEQ2SEQ_OPTIONS:
        for rows in (1, 16):

            def writer(work: str, bf16: bool, family: str = family, rows: int = rows) -> Work:
                settings = (family, rows, options.new_tokens, bf16)
                return lambda: rows * options.new_tokens / alone(options.threads, f"generation:{work}", *settings)

            works = ("transformers_seq2seq_seconds", "our_seq2seq_seconds")
            sides = [writer(work, bf16) for work in works for bf16 in (False, True)]
            print_row(f"{family} base, batch {rows}, tokens a second", sides, ratios, options.rounds)


def seq2seq_pairs(
    options: argparse.Namespace, folder: Path, family: str, size: str, n_batches: int = 0
) -> tuple[list[str], tuple[int, int, int], int]:
    """Write the pairs that both sides learn from; return our options, the peer's shape, and the rows of a batch."""
    _, rows = SHAPES[size]
    words = [
        *seq2seq_words(options, folder, family),
        f"model.network.size={size}",
        f"trainer.batch_size={rows}",
        "trainer.max_steps=1",
    ]
    n_batches = n_batches or options.steps + WARM_UP
    vocab_size = alone(options.threads, "ours:write_pairs", folder, words, family, n_batches, VAL_ROWS)
    return words, {"mini": (4, 256, vocab_size), "base": (12, 768, vocab_size)}[size], rows


def generate(options: argparse.Namespace, _: Path) -> None:
    """Print the table of generation."""
    ratios = [(2, 0), (3, 0), (3, 1)]
    print_head(["transformers", "in bf16", "ssl, float32", "ssl, bf16 (its default)"], ratios)
    for rows in (1, 16):

        def side(work: str, bf16: bool, rows: int = rows) -> Work:
            settings = (rows, options.new_tokens, bf16)
            return lambda: rows * options.new_tokens / alone(options.threads, f"generation:{work}", *settings)

        sides = [side(work, bf16) for work in ("transformers_seconds", "our_seconds") for bf16 in (False, True)]
        print_row(f"GPT-2's shape, batch {rows}", sides, ratios, options.rounds)


def padding(options: argparse.Namespace, folder: Path) -> None:
    """Print the share of padding on each side."""
    words = news(options, folder)
    peer = alone(options.threads, "run_mlm:padding", folder, 8)
    ours = alone(options.threads, "ours:padding", folder, [*words, "trainer.batch_size=8"])
    print(f"\nPadding in batches of 8 rows of {ROW_LENGTH}: run_mlm --line_by_line {peer:.1%}, ssl {ours:.1%}.")


# --- data and settings, for both sides ---


def news(options: argparse.Namespace, folder: Path) -> list[str]:
    """Return the options of our side for the news; `folder` has the same splits as text, for the peer.

    The optimizer and the share of masks are the peer's.
    """
    corpus = folder / "news.txt"
    words = ["model=bert", "model.mask_ratio=0.15", "optim=adamw", "tokenizer=wordpiece"]
    words += ["data=text", f"data.files={corpus}", "data.document=line"]
    if not corpus.exists():
        corpus.write_bytes(gzip.decompress(NEWS.read_bytes()))
        alone(options.threads, "ours:prepare", folder, words)
    return words


def seq2seq_words(options: argparse.Namespace, folder: Path, family: str) -> list[str]:
    """Return the options of our side for BART or T5 on the news."""
    words = [word for word in news(options, folder) if not word.startswith(("model", "tokenizer="))]
    return [*words, *SEQ2SEQ_OPTIONS[family], "tokenizer=unigram", "tokenizer.vocab_size=8192"]


def shakespeare(size: str) -> list[str]:
    """Return the options of our side that equal a setting of nanoGPT."""
    setting = SETTINGS[size]
    network = {
        "size": "null", "context": setting["block_size"], "layers": setting["n_layer"], "heads": setting["n_head"],
        "width": setting["n_embd"], "dropout": setting["dropout"], "attention_dropout": setting["dropout"],
        "positions": "learned",
    }  # fmt: skip
    return [
        "model=gpt", "data=text", f"data.files={SHAKESPEARE}", "data.val=0.1", "tokenizer=char",
        *(f"model.network.{name}={value}" for name, value in network.items()),
        f"trainer.batch_size={setting['batch_size']}", "optim.weight_decay=0.1", "optim.schedule=cosine",
        "optim=adamw", "optim.lr=1e-3", "+optim.optimizer.betas=[0.9,0.99]",
    ]  # fmt: skip


def wanted(options: argparse.Namespace, among: dict) -> list[str]:
    """Return the names that --sizes admits."""
    return [name for name in among if not options.sizes or name in options.sizes]


# --- the table ---


def print_head(names: list[str], ratios: list[tuple[int, int]]) -> None:
    """Print the head of a table: a column for each side, and one for each ratio (ours, theirs) of sides."""
    columns = [*names, *(f"{names[ours]} / {names[theirs]}" for ours, theirs in ratios)]
    print(f"\n| | {' | '.join(columns)} |\n|{'---|' * (1 + len(columns))}", flush=True)


def print_row(name: str, sides: list[Work], ratios: list[tuple[int, int]], rounds: int) -> None:
    """Measure the sides in turns and print a row: medians of their rates, and of their ratios."""
    turns = [[side() for side in sides] for _ in range(rounds)]
    rates = [f"{statistics.median(column):,.0f}" for column in zip(*turns, strict=True)]
    times = [f"**{statistics.median(turn[ours] / turn[theirs] for turn in turns):.2f}**" for ours, theirs in ratios]
    print(f"| {name} | {' | '.join([*rates, *times])} |", flush=True)


if __name__ == "__main__":
    main()
