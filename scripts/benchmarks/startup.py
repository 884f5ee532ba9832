"""Start-up time: `ssl --help`, other pages and completion beside `import hydra`, and `ssl detect` from start to finish.

Commands take turns, so that a busy machine slows all of them equally; figures are medians and ratios of medians.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SSL = str(Path(sys.executable).with_name("ssl"))
QUICK = {
    'python -c "import hydra"': [sys.executable, "-c", "import hydra"],
    "ssl --help": [SSL, "--help"],
    "ssl completion --line 'ssl detect model=d'": [SSL, "completion", "--line", "ssl detect model=d"],
    "ssl completion --line 'ssl detect trainer.'": [SSL, "completion", "--line", "ssl detect trainer."],
    "ssl list models": [SSL, "list", "models"],
    "ssl detect --help": [SSL, "detect", "--help"],
    "ssl detect --cfg job": [SSL, "detect", "--cfg", "job"],
}
WHOLE = {"ssl detect": [SSL, "detect", "trainer=cpu"]}


def seconds(command: list[str], folder: str) -> float:
    """Return the seconds that a command takes."""
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - started


def measure(commands: dict[str, list[str]], repeats: int, folder: str) -> dict[str, float]:
    """Return the median time of each command in seconds, after one unmeasured round."""
    rounds = [{name: seconds(command, folder) for name, command in commands.items()} for _ in range(repeats + 1)]
    return {name: statistics.median(times[name] for times in rounds[1:]) for name in commands}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15, help="rounds of the quick commands (a third for ssl detect)")
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        medians = measure(QUICK, repeats, folder)
        peer = next(iter(medians))
        print(f"| command | median of {repeats}, s | against `{peer}` |\n|---|---|---|")
        for name, median in medians.items():
            print(f"| `{name}` | {median:.3f} | {median / medians[peer]:.2f} |")
        for name, median in measure(WHOLE, max(1, repeats // 3), folder).items():
            print(f"| `{name}`, start to finish (median of {max(1, repeats // 3)}) | {median:.1f} | |")


if __name__ == "__main__":
    main()
