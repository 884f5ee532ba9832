"""What every verb's config has, and what every run's has: trainer, optimizer, seed."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from ssl_cli.config.types import Count, Natural, NonNegative, OpenShare, Path, Pattern, Positive, Seed

Node = Annotated[Any, "a node with a _target_"]  # typed by the signature of the class that it names
Nodes = Annotated[dict[str, Any], "nodes with a _target_, by name"]


@dataclass
class Paths:
    data: Annotated[Path, "folder that holds a folder for each dataset"]
    outputs: Annotated[Path, "folder that runs are written to"]


@dataclass
class OptimConfig:
    optimizer: Node
    lr: Annotated[Positive, "learning rate at its peak"]
    weight_decay: Annotated[NonNegative, "decoupled weight decay"]
    schedule: Annotated[Literal["constant", "linear", "cosine"], "how the learning rate falls after warm-up"]
    warmup_steps: Annotated[
        Natural | None, "steps over which the learning rate rises from 0; null: a tenth of the run's"
    ]


@dataclass
class TrainerConfig:
    accelerator: Annotated[Literal["auto", "cpu", "gpu", "mps"], "auto: a GPU where there is one"]
    strategy: Annotated[Literal["auto", "ddp", "fsdp"], "how several devices share the work"]
    devices: Annotated[Count, "devices on each node"]
    num_nodes: Annotated[Count, "machines"]
    precision: Annotated[
        Literal["auto", "32-true", "64-true", "16-mixed", "bf16-mixed", "bf16-true"],
        "auto: bf16-mixed on a GPU that has it, and for text on a CPU that has it; else 32-true",
    ]
    compile: Annotated[bool, "compile the network by torch.compile: a minute or so before the first step, then faster"]
    batch_size: Annotated[Count, "rows a batch, over all devices together"]
    max_epochs: Annotated[Count | None, "passes over the training rows, then stop"]
    max_steps: Annotated[Count | None, "optimizer steps, then stop"]
    max_time: Annotated[
        Annotated[str, Pattern(r"(?!(00:){2,3}00$)(\d{2}:)?\d{2}:\d{2}:\d{2}", "a time as HH:MM:SS or DD:HH:MM:SS")]
        | None,
        "HH:MM:SS or DD:HH:MM:SS of training, then stop; the learning rate falls to 0 by then",
    ]
    default_steps: Annotated[Count, "optimizer steps where none of the three limits is given"]
    accumulate_grad_batches: Annotated[Count, "batches an optimizer step"]
    gradient_clip_val: Annotated[Positive | None, "largest gradient norm"]
    ema_decay: Annotated[OpenShare | None, "decay of an exponential moving average of the weights, which is then used"]
    patience: Annotated[Count | None, "validations without improvement before stopping early; keeps the best weights"]
    validate_every_n_steps: Annotated[
        Count | None, "optimizer steps between validations, and between rows of history.csv; null: a tenth of the run"
    ]
    checkpoint_every_n_steps: Annotated[Count, "optimizer steps between writes of last.ckpt"]


@dataclass
class SweepConfig:
    skip_done: Annotated[bool, "do not repeat what a finished run has done; go on with what was begun"]
    metric: Annotated[str | None, "what hydra/sweeper=optuna looks for the best of; null: the first of summary_metrics"]


@dataclass(kw_only=True)
class VerbConfig:
    """What every verb has, whether it makes a run or uses one."""

    verb: str
    paths: Paths
    choices: dict[str, str] = field(default_factory=dict)  # filled by the launcher: model: dae, ...
    facts: dict[str, Any] = field(default_factory=dict)  # filled from the data: shape, ...


@dataclass(kw_only=True)
class RunConfig(VerbConfig):
    # What a resumed run may change, besides its loggers' options: anything else would train it on other rows, or make
    # another model of it.
    changeable: ClassVar[set[str]] = {"resume", "paths.outputs", "optim.lr", "data.cache"} | {
        f"trainer.{name}"
        for name in (
            *("max_epochs", "max_steps", "max_time", "default_steps", "checkpoint_every_n_steps"),
            *("accelerator", "devices", "num_nodes", "strategy", "gradient_clip_val"),
        )
    }

    summary_metrics: Annotated[list[str], "the metrics that tables of runs show"]
    model: Node
    data: Node
    optim: OptimConfig
    trainer: TrainerConfig
    seed: Annotated[Seed, "every random draw follows from it"]
    sweep: SweepConfig
    resume: Annotated[str | None, "a run folder, or latest: go on from its last.ckpt"]
    logger: Nodes = field(default_factory=dict)
