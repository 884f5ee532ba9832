"""Plot the curves of several runs in one figure: `scripts/bench curves NAME=RUN ... --metric val/loss --output x.png`.

Each RUN is a run folder with a history.csv. `--times` multiplies the metric: 784 for a whole MNIST image.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt

from ssl_cli.evaluation.plots.curves import STYLE, save
from ssl_cli.runs.folder import HISTORY, read_history


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    parser.add_argument("--metric", default="val/loss")
    parser.add_argument("--times", type=float, default=1.0)
    parser.add_argument("--label", help="label of the vertical axis; default: the metric")
    parser.add_argument("--title", default="")
    parser.add_argument("--output", type=Path, required=True)
    chosen = parser.parse_args()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots()
        for word in chosen.runs:
            name, _, folder = word.partition("=")
            rows = [row for row in read_history(Path(folder) / HISTORY) if chosen.metric in row]
            if not rows:
                parser.error(f"{folder} has no {chosen.metric} in its {HISTORY}")
            axes.plot([row["step"] for row in rows], [chosen.times * row[chosen.metric] for row in rows], label=name)
        axes.set(xlabel="optimizer step", ylabel=chosen.label or chosen.metric, title=chosen.title, yscale="log")
        axes.legend()
        save(figure, chosen.output)


if __name__ == "__main__":
    main()
