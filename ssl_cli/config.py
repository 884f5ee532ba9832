"""The typed shell of a run's config: what every run has. The objects inside (`model`, `data`) are typed by the
signatures of the classes they name; `checking.check` holds a config against both.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import hydra.utils
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from ssl_cli.bounds import Count, Natural, NonNegative, OpenShare, Pattern, Positive
from ssl_cli.errors import InputError

Node = Annotated[Any, "a node with a _target_"]  # typed by the signature of the class that it names


@dataclass
class Paths:
    data: Annotated[str, "folder that holds a folder for each dataset"] = "data"
    outputs: Annotated[str, "folder that runs are written to"] = "outputs"


@dataclass
class OptimConfig:
    algorithm: Node = None
    lr: Annotated[Positive, "learning rate at its peak"] = 1e-3
    weight_decay: Annotated[NonNegative, "decoupled weight decay"] = 0.0
    schedule: Annotated[Literal["constant", "linear", "cosine"], "how the learning rate falls after warm-up"] = "cosine"
    warmup_steps: Annotated[Natural, "steps over which the learning rate rises from 0"] = 0


@dataclass
class TrainerConfig:
    accelerator: Annotated[Literal["auto", "cpu", "gpu", "mps"], "auto: a GPU where there is one"] = "auto"
    strategy: Annotated[str, "Lightning's strategy: auto, ddp, fsdp, ..."] = "auto"
    devices: Annotated[Count, "devices on each node"] = 1
    num_nodes: Annotated[Count, "machines"] = 1
    precision: Annotated[
        Literal["auto", "32-true", "64-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true"],
        "auto: bf16-mixed on a GPU that has it, else 32-true",
    ] = "auto"
    batch_size: Annotated[Count, "rows a batch, over all devices together"] = 256
    max_epochs: Annotated[Count | None, "passes over the training rows, then stop"] = None
    max_steps: Annotated[Count | None, "optimizer steps, then stop"] = None
    max_time: Annotated[
        Annotated[str, Pattern(r"\d{2}:\d{2}:\d{2}:\d{2}", "a time as DD:HH:MM:SS")] | None, "DD:HH:MM:SS, then stop"
    ] = None
    default_steps: Annotated[Count, "optimizer steps where none of the three limits is given"] = 3000
    accumulate_grad_batches: Annotated[Count, "batches an optimizer step"] = 1
    gradient_clip_val: Annotated[Positive | None, "largest gradient norm"] = None
    ema_decay: Annotated[
        OpenShare | None, "decay of an exponential moving average of the weights, which is then used"
    ] = None
    patience: Annotated[
        Count | None, "validations without improvement before stopping early; keeps the best weights"
    ] = None
    validate_every_n_steps: Annotated[Count, "optimizer steps between validations, and between rows of history.csv"] = (
        100
    )
    checkpoint_every_n_steps: Annotated[Count, "optimizer steps between writes of last.ckpt"] = 1000


@dataclass
class RunConfig:
    verb: str
    headline: Annotated[list[str], "the metrics that tables of runs show"]
    model: Node
    data: Node
    optim: OptimConfig
    trainer: TrainerConfig
    paths: Paths
    choices: dict[str, str] = field(default_factory=dict)  # filled by the launcher: model: dae, ...
    facts: dict[str, Any] = field(default_factory=dict)  # filled from the data: n_features, ...
    seed: Annotated[Natural, "every random draw follows from it"] = 0
    resume: Annotated[str | None, "a run folder, or latest: go on from its last.ckpt"] = None


@dataclass
class DetectConfig(RunConfig):
    needs: ClassVar[str] = "score"  # what this verb asks of a model

    threshold: Annotated[
        float | Annotated[str, Pattern(r"auto|f1|q(0?\.\d+)", "auto, f1 or a quantile like q0.995")],
        "auto (conformal, no labels), f1 (uses labels), q0.995 (quantile of calibration scores) or a number",
    ] = "auto"
    fpr: Annotated[OpenShare, "share of normal rows that threshold=auto may flag"] = 0.01
    resamples: Annotated[Count, "bootstrap resamples behind each 95 % interval"] = 1000


SHELLS: dict[str, type[RunConfig]] = {"detect": DetectConfig}


def build(node: DictConfig, **extra: Any) -> Any:
    """The object that a `_target_` node describes, built from the inside out.

    Raises InputError where the constructor finds its input at fault.
    """
    try:
        return hydra.utils.instantiate(node, _convert_="all", **extra)
    except InstantiationException as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise
