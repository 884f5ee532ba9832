"""Options that all verbs share, and those that all runs share: trainer, optimizer, seed."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from ssl_cli.config.types import (
    BatchLimit,
    Count,
    Natural,
    NonNegative,
    OpenShare,
    Path,
    Pattern,
    Positive,
    Range,
    Seed,
)

INTERNAL = {"verb", "choices", "summary_metrics", "facts"}  # ssl sets them by itself
Node = Annotated[Any, "a node with a _target_"]  # typed by the signature of the class that it names
Nodes = Annotated[dict[str, Any], "nodes with a _target_, by name"]


@dataclass
class Paths:
    """Folders of a verb."""

    data: Annotated[Path, "folder that holds a folder for each dataset"]
    outputs: Annotated[Path, "folder that runs are written to"]


@dataclass
class OptimConfig:
    """Options of the optimizer and its learning-rate schedule."""

    optimizer: Node
    lr: Annotated[Positive, "learning rate at its peak"]
    weight_decay: Annotated[NonNegative, "decoupled weight decay"]
    schedule: Annotated[Literal["constant", "linear", "cosine"], "how the learning rate decreases after warm-up"]
    warmup_steps: Annotated[
        Natural | None, "optimizer steps over which the learning rate rises from 0; null: a tenth of the run"
    ]


@dataclass
class TrainerConfig:
    """Options of the trainer: device, precision, batch, length of a run, and intervals.

    Those with a default are not in the configs of earlier versions.
    """

    accelerator: Annotated[Literal["auto", "cpu", "gpu", "mps"], "auto: a GPU if there is one"]
    strategy: Annotated[Literal["auto", "ddp", "fsdp"], "how several devices share the work"]
    devices: Annotated[Count, "devices on each node"]
    num_nodes: Annotated[Count, "machines"]
    precision: Annotated[
        Literal["auto", "32-true", "64-true", "16-mixed", "bf16-mixed", "bf16-true"],
        "auto: bf16-mixed on a GPU that supports it, and for text on a CPU that supports it; else 32-true",
    ]
    compile: Annotated[
        bool, "compile the network with torch.compile: about a minute before the first step, then faster"
    ]
    batch_size: Annotated[Count, "rows of a batch, over all devices together"]
    max_epochs: Annotated[Count | None, "passes over the training rows, then stop"]
    max_steps: Annotated[Count | None, "optimizer steps, then stop; null: no limit, or default_steps if none is set"]
    max_time: Annotated[
        Annotated[str, Pattern(r"(?!(00:){2,3}00$)(\d{2}:)?\d{2}:\d{2}:\d{2}", "a time as HH:MM:SS or DD:HH:MM:SS")]
        | None,
        "HH:MM:SS or DD:HH:MM:SS of training, then stop; the learning rate reaches 0 by then",
    ]
    default_steps: Annotated[Count, "optimizer steps if none of the three limits is set"]
    accumulate_grad_batches: Annotated[Annotated[int, Range(1, 100_000)], "batches per optimizer step"]
    gradient_clip_val: Annotated[Positive | None, "largest gradient norm"]
    ema_decay: Annotated[
        OpenShare | None, "decay of an exponential moving average of the weights; the run then keeps the average"
    ]
    patience: Annotated[
        Count | None, "validations without improvement before early stopping; the best weights are kept"
    ]
    validate_every_n_steps: Annotated[
        Count | None, "optimizer steps between validations, and between rows of history.csv; null: a tenth of the run"
    ]
    checkpoint_every_n_steps: Annotated[Count, "optimizer steps between writes of last.ckpt"]
    limit_train_batches: Annotated[
        BatchLimit | None, "batches of an epoch: a number, or a share of all (1 is one batch, 1.0 all); null: all"
    ] = None
    limit_val_batches: Annotated[
        BatchLimit | None, "batches of a validation during training: a number, or a share; null: all"
    ] = None
    fast_dev_run: Annotated[
        bool | Count, "true: one step of everything, in a temporary folder, to see that it runs; or so many steps"
    ] = False


@dataclass
class SweepConfig:
    """Options of a sweep."""

    skip_done: Annotated[bool, "skip runs that are finished, and resume those that were interrupted"]
    metric: Annotated[str | None, "metric that hydra/sweeper=optuna optimizes; null: the first of summary_metrics"]


@dataclass(kw_only=True)
class VerbConfig:
    """Options that every verb has, whether it makes a run or uses one."""

    verb: str
    paths: Paths
    choices: dict[str, str] = field(default_factory=dict)  # filled by the launcher: model: dae, ...
    facts: dict[str, Any] = field(default_factory=dict)  # filled from the data: shape, ...


@dataclass(kw_only=True)
class RunConfig(VerbConfig):
    """Options that every verb has that trains a run."""

    summary_metrics: Annotated[list[str], "the metrics that tables of runs show"]
    model: Node
    data: Node
    optim: OptimConfig
    trainer: TrainerConfig
    seed: Annotated[Seed, "seed of all random draws"]
    sweep: SweepConfig
    resume: Annotated[str | None, "a run folder, or latest: continue from its last.ckpt"]
    logger: Nodes = field(default_factory=dict)
