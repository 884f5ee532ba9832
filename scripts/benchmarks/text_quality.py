"""Loss of `ssl pretrain` on held-out text, beside transformers and nanoGPT after as many steps.

BERT 4x256 on news, beside transformers' Trainer: the same text and tokenizer, batches of 32 rows of 128 tokens, AdamW
(weight decay 0.01), linear warm-up and decay of the learning rate. GPT on characters of tiny Shakespeare, beside
nanoGPT's train.py in its own settings: those of its README for a CPU (the README reports 1.88), or the 6x384 ones
(1.4697; hours on a CPU). BART and T5 4x256 on news, beside transformers' in its Trainer, without dropout, on the
same corrupted texts, both in bf16 if the CPU has it. Each side measures its own loss on the same held-out text: nats
per masked token, with its own random masks; nats per character, nanoGPT's on random batches, ours on all of it.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from text import SEQ2SEQ_OPTIONS, SHAKESPEARE, SHAPES, VAL_ROWS, news, seq2seq_pairs, shakespeare
from text_sides.nanogpt import SETTINGS, NanoGPT
from text_sides.timing import alone

from ssl_cli.models.cpu import has_bf16

EXTRA = "bench"  # scripts/bench installs it
LR = 5e-4  # of BERT, on both sides


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--bert-steps", type=int, default=1000)
    parser.add_argument("--gpt-steps", type=int, default=2000, help="nanoGPT's README has 2,000 for a CPU")
    parser.add_argument("--gpt", choices=list(SETTINGS), default="4x128")
    parser.add_argument("--peer-bf16", action="store_true", help="transformers in bf16, not its default: half the time")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="torch's, for every side")
    parser.add_argument("--seq2seq-steps", type=int, default=500)
    parser.add_argument("--only", nargs="+", choices=["bert", "gpt", "seq2seq"], default=["bert", "gpt", "seq2seq"])
    parser.add_argument("--nanogpt", type=Path, default=os.environ.get("NANOGPT"), help="its folder; default $NANOGPT")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    print("| | loss, peer | loss, ssl |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if "bert" in options.only:
            bert(options, Path(folder))
        if "gpt" in options.only:
            gpt(options, Path(folder))
        if "seq2seq" in options.only:
            seq2seq(options, Path(folder))


def bert(options: argparse.Namespace, folder: Path) -> None:
    """Print the losses of BERT."""
    shape, batch_size = SHAPES["mini"]
    steps = options.bert_steps
    words = [
        *news(options, folder), "model.network.size=mini", "model.network.positions=learned",
        f"trainer.batch_size={batch_size}", f"trainer.max_steps={steps}",
        f"optim.lr={LR}", "optim.weight_decay=0.01", f"optim.warmup_steps={min(100, steps // 10)}",
    ]  # fmt: skip

    def theirs(seed: int) -> float:
        settings = (folder, shape, batch_size, steps, seed, LR)
        return alone(options.threads, "run_mlm:validation_loss", *settings, bf16=options.peer_bf16)

    def ours(seed: int) -> float:
        return alone(options.threads, "ours:validation_loss", folder, [*words, f"seed={seed}"])

    print_losses(f"BERT 4x256, {steps:,} steps", theirs, ours, options.seeds)


def gpt(options: argparse.Namespace, folder: Path) -> None:
    """Print the losses of GPT, if nanoGPT's folder is there."""
    if not (options.nanogpt and (options.nanogpt / "train.py").is_file()):
        print("GPT: left out. Give nanoGPT's folder (github.com/karpathy/nanoGPT) by --nanogpt or in $NANOGPT.")
        return
    peer = NanoGPT(options.nanogpt, SHAKESPEARE, folder, options.threads)
    steps = options.gpt_steps
    words = [*shakespeare(options.gpt), f"trainer.max_steps={steps}", "optim.warmup_steps=100"]

    def ours(seed: int) -> float:
        return alone(options.threads, "ours:validation_loss", folder, [*words, f"seed={seed}"])

    print_losses(
        f"GPT {options.gpt}, {steps:,} steps",
        lambda seed: peer.validation_loss(SETTINGS[options.gpt], steps, seed),
        ours,
        options.seeds,
    )


def seq2seq(options: argparse.Namespace, folder: Path) -> None:
    """Print the losses of BART and T5 4x256, without dropout, on the pairs of corrupted texts that our side makes."""
    for family in SEQ2SEQ_OPTIONS:
        steps = options.seq2seq_steps
        words, shape, rows = seq2seq_pairs(options, folder, family, "mini", n_batches=steps)
        words += [
            f"trainer.max_steps={steps}",
            f"optim.lr={LR}",
            "optim.weight_decay=0.01",
            f"optim.warmup_steps={min(100, steps // 10)}",
        ]

        def theirs(seed: int, family: str = family, shape: tuple = shape, rows: int = rows) -> float:
            settings = (folder, family, shape, rows, options.seq2seq_steps, seed, LR)
            return alone(options.threads, "run_seq2seq:validation_loss", *settings, bf16=has_bf16(torch.device("cpu")))

        def ours(seed: int, words: list[str] = words) -> float:
            return alone(options.threads, "ours:loss_of_pairs", folder, [*words, f"seed={seed}"], VAL_ROWS)

        print_losses(f"{family} 4x256, {steps:,} steps", theirs, ours, options.seeds)


def print_losses(name: str, theirs: Callable[[int], float], ours: Callable[[int], float], seeds: list[int]) -> None:
    """Print the losses of both sides, a row for each seed, then their means."""
    pairs = []
    for seed in seeds:
        pairs.append((theirs(seed), ours(seed)))
        print(f"| {name}, seed {seed} | {pairs[-1][0]:.4f} | {pairs[-1][1]:.4f} |", flush=True)
    cells = [
        f"{statistics.mean(losses):.4f} ({', '.join(f'{loss:.4f}' for loss in losses)})"
        for losses in zip(*pairs, strict=True)
    ]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
