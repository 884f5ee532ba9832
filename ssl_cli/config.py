"""The typed shell of a run's config: what every run has. The objects inside (`model`, `data`) are typed by the
signatures of the classes they name; `checking.check` holds a config against both. The defaults are in the YAML files
under conf/, and nowhere else.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from ssl_cli.bounds import Count, Delimiter, Natural, NonNegative, OpenShare, Path, Pattern, Positive, Range, Seed

Node = Annotated[Any, "a node with a _target_"]  # typed by the signature of the class that it names

Nodes = Annotated[dict[str, Any], "nodes with a _target_, by name"]


IMAGE_HOMES = {  # of the classes that serve a verb for images, for its help
    "model": ("ssl_cli.objectives.",),
    "data": ("ssl_cli.data.images.", "ssl_cli.data.image_folder.", "ssl_cli.data.cifar."),
}


TEXT_HOMES = {
    "model": ("ssl_cli.objectives.masked_lm.", "ssl_cli.objectives.causal_lm."),
    "data": ("ssl_cli.data.texts.", "ssl_cli.data.text_records.", "ssl_cli.data.published_texts."),
}


@dataclass
class Paths:
    data: Annotated[Path, "folder that holds a folder for each dataset"]
    outputs: Annotated[Path, "folder that runs are written to"]


@dataclass
class OptimConfig:
    algorithm: Node
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
    metric: Annotated[str | None, "what hydra/sweeper=optuna looks for the best of; null: the first of headline"]


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

    headline: Annotated[list[str], "the metrics that tables of runs show"]
    model: Node
    data: Node
    optim: OptimConfig
    trainer: TrainerConfig
    seed: Annotated[Seed, "every random draw follows from it"]
    sweep: SweepConfig
    resume: Annotated[str | None, "a run folder, or latest: go on from its last.ckpt"]
    logger: Nodes = field(default_factory=dict)


@dataclass(kw_only=True)
class DetectConfig(RunConfig):
    needs: ClassVar[str] = "score"  # what this verb asks of a model
    data_needs: ClassVar[str] = "prepare"  # and of the data
    of_others: ClassVar[dict[str, str]] = {"data.val": "reconstruct"}  # options that only another verb heeds
    changeable: ClassVar[set[str]] = RunConfig.changeable | {"threshold", "fpr", "fdr", "resamples", "anomalies"}

    threshold: Annotated[
        float | Annotated[str, Pattern(r"auto|fdr|f1|q(0?\.\d+)", "auto, fdr, f1 or a quantile like q0.995")],
        "auto, fdr (conformal, no labels), f1 (uses labels), q0.995 (quantile of calibration scores) or a number",
    ]
    fpr: Annotated[float, Range(1e-6, 1, open_high=True), "share of normal rows that threshold=auto may flag"]
    fdr: Annotated[OpenShare, "share of the flagged rows that may be false alarms with threshold=fdr"]
    calibrate: Annotated[
        Literal["split", "cross"], "split: on rows held out (exact promise); cross: on every row, out of fold (none)"
    ]
    folds: Annotated[int, Range(2), "models fitted to calibrate with calibrate=cross, each without its fold"]
    resamples: Annotated[Count, "bootstrap resamples behind each 95 % interval"]
    anomalies: Annotated[Count, "strangest rows listed in anomalies.csv, with the reasons"]


@dataclass(kw_only=True)
class ReconstructConfig(RunConfig):
    needs: ClassVar[str] = "reconstruct"
    data_needs: ClassVar[str] = "pictures"
    homes: ClassVar[dict[str, tuple[str, ...]]] = IMAGE_HOMES
    changeable: ClassVar[set[str]] = RunConfig.changeable | {
        *("prior_steps", "importance_samples", "likelihood_images", "probes")
    }
    of_others: ClassVar[dict[str, str]] = {
        f"data.{name}": "detect" for name in ("train", "pollution", "calibration", "normal")
    }
    # What is asked of a finished run, instead of training one.
    with_run: ClassVar[set[str]] = {"run", "input", "output", "overwrite", "trust", "paths.outputs"}

    prior_steps: Annotated[Natural, "optimizer steps of a vqvae's prior over its codes; 0: none, it can't generate"]
    importance_samples: Annotated[Count, "posterior samples behind each image's test/nll, of a variational model"]
    likelihood_images: Annotated[Count, "test images that test/elbo and test/nll are measured on, the first ones"]
    probes: Annotated[bool, "measure the code by linear and nearest-neighbour classifiers, where there are labels"]
    # A saved config has none of these: without run= they say nothing of a run.
    run: Annotated[
        Path | None, "a finished run of ssl reconstruct, or latest: rebuild `input` with it, train nothing"
    ] = None
    input: Annotated[Path | None, "with run=: an image, or a folder of images"] = None
    output: Annotated[
        Path | None, "with run=: the folder that the rebuilt images go to; null: a new one in outputs"
    ] = None
    overwrite: Annotated[bool, "with run=: write into an output folder that exists"] = False
    trust: Annotated[str | None, "with run=: package whose classes may be built from the run folder: your own"] = None


@dataclass(kw_only=True)
class PretrainConfig(RunConfig):
    needs: ClassVar[str] = "prepare"
    needs_in_words: ClassVar[str] = "learn from text"
    data_needs: ClassVar[str] = "texts"
    homes: ClassVar[dict[str, tuple[str, ...]]] = TEXT_HOMES
    changeable: ClassVar[set[str]] = RunConfig.changeable | {"watched_tokens", "measured_tokens"}
    of_init: ClassVar[set[str]] = {"tokenizer"} | {  # what init= brings
        f"model.{name}"
        for name in (
            *("size", "layers", "width", "heads", "feedforward"),
            *("positions", "norm", "norm_eps", "activation", "segments"),
        )
    }

    tokenizer: Node
    init: Annotated[
        str | None, "a folder or hub id of a BERT, RoBERTa, GPT-2 or GPT-NeoX to go on from, with its tokenizer"
    ]
    watched_tokens: Annotated[Count, "tokens of held-out text behind each row of the curves"]
    measured_tokens: Annotated[Count | None, "tokens of held-out text behind the final figures; null: all of it"]
    show: Annotated[Literal["batch"] | None, "batch: print examples as the model will see them, and stop"] = None


@dataclass
class LabelledFiles:
    dir: Annotated[Path | None, "folder of the data set as published; null: that in paths.data, or else the hub"]
    files: Annotated[dict[str, Path | None], "single files: data.files.train=..., .dev=... and perhaps .test=..."]


@dataclass(kw_only=True)
class FinetuneConfig(RunConfig):
    needs: ClassVar[tuple[str, ...]] = ("logits", "guess")  # of a network, or of what was saved with one in it
    needs_in_words: ClassVar[str] = "read labelled text"
    homes: ClassVar[dict[str, tuple[str, ...]]] = {"model": ("ssl_cli.models.transformer.",)}
    changeable: ClassVar[set[str]] = RunConfig.changeable | {"resamples", "predict_train"}
    of_init: ClassVar[set[str]] = PretrainConfig.of_init | {"model", "model.context"}

    task: Node
    tokenizer: Node
    data: LabelledFiles
    init: Annotated[
        str, "none (random weights), a run of ssl pretrain or finetune, latest, or a folder or hub id of transformers"
    ]
    like: Annotated[str | None, "with init=none: a run or checkpoint whose shape and tokenizer it has"]
    max_length: Annotated[Count | None, "tokens an example has at most; null: what the network reads, at most 384"]
    freeze: Annotated[
        Natural | Literal["embeddings", "encoder"] | None,
        "what isn't trained: the embeddings, these and so many blocks, or all but the head",
    ]
    layer_decay: Annotated[
        Annotated[float, Range(0, 1, open_low=True)] | None,
        "learning rate of a block as part of that of the block above it, as in ELECTRA; null: one for all",
    ]
    reinit: Annotated[Natural, "top blocks that start anew"]
    lora: Annotated[Count | None, "rank of LoRA's adapters, which alone are trained, with the head; null: none"]
    resamples: Annotated[Count, "bootstrap resamples behind each 95 % interval"]
    predict_train: Annotated[bool, "write the training examples' answers, too"]


@dataclass(kw_only=True)
class ScoreConfig(VerbConfig):
    run: Annotated[Path, "a run folder of ssl detect, or latest"]
    input: Annotated[Path, "a .csv (or .csv.gz, .bz2, .zst, .lz4) or .parquet file of rows to score"]
    output: Annotated[
        Annotated[str, Pattern(r".+\.(csv|parquet)", "a path that ends in .csv or .parquet")], "where the scores go"
    ]
    rejects: Annotated[Path | None, "where rows that can't be read go; null: rejects.csv beside the output"]
    keep: Annotated[list[str], "columns of the input to carry over into the output"]
    overwrite: Annotated[bool, "replace an output that exists"]
    header: Annotated[bool | None, "whether a CSV's first line names its columns; null: as in the training file"]
    delimiter: Annotated[Delimiter | None, "what parts the fields of a CSV; null: as in the training file"]
    trust: Annotated[str | None, "package whose classes may be built from the run folder: your own"]


@dataclass(kw_only=True)
class UseConfig(VerbConfig):
    """What the verbs have that use a finished run."""

    run: Annotated[Path, "a run folder of ssl reconstruct, or latest"]
    overwrite: Annotated[bool, "write where there is something already, over files of the same names"]
    trust: Annotated[str | None, "package whose classes may be built from the run folder: your own"]


@dataclass(kw_only=True)
class GenerateConfig(UseConfig):
    # What has a say where the run writes texts, and none where it draws images.
    of_text: ClassVar[tuple[str, ...]] = (
        *("prompt", "prompts", "max_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "stop"),
        *("batch_size", "precision"),
    )

    run: Annotated[Path, "a run folder of ssl reconstruct or ssl pretrain, or latest"]
    n: Annotated[Count | None, "images to draw, or texts for each prompt; null: 64 images, 1 text"]
    seed: Annotated[Seed, "every draw follows from it"]
    output: Annotated[
        Path | None,
        "folder for samples.png and samples.npz, null: a new one in outputs; or for texts.jsonl, null: none",
    ]
    prompt: Annotated[str | None, "a text to go on from; null: the start of a new one"]
    prompts: Annotated[Path | None, "a file of prompts, one a line, instead of prompt"]
    max_tokens: Annotated[Count, "tokens written at most, after the prompt's"]
    temperature: Annotated[NonNegative, "below 1 likely tokens become likelier; 0: always the likeliest"]
    top_k: Annotated[Count | None, "draw among the k likeliest tokens; null: no limit"]
    top_p: Annotated[
        Annotated[float, Range(0, 1, open_low=True)] | None, "draw among the likeliest tokens that make up this share"
    ]
    min_p: Annotated[
        Annotated[float, Range(0, 1)] | None, "draw among the tokens at least this likely, measured by the likeliest"
    ]
    repetition_penalty: Annotated[Annotated[float, Range(1)], "makes what was there less likely; 1: no penalty"]
    stop: Annotated[list[str], r"texts that end a text and are left out; \n is a new line"]
    batch_size: Annotated[Count, "texts written at a time"]
    precision: Annotated[
        Literal["auto", "32-true", "bf16-true"], "of the weights; auto: bf16-true where the CPU has it, twice as fast"
    ]


@dataclass(kw_only=True)
class FillConfig(UseConfig):
    run: Annotated[Path, "a run folder of ssl pretrain, or latest"]
    text: Annotated[str | list[str] | None, "a text in which [MASK] stands for each word that is wanted, or several"]
    input: Annotated[Path | None, "a file of such texts, one a line, instead of text"]
    n: Annotated[Count, "answers to each mask"]
    output: Annotated[
        Annotated[str, Pattern(r".+\.jsonl", "a path that ends in .jsonl")] | None,
        "where the answers go too; null: no file",
    ]


@dataclass(kw_only=True)
class PredictConfig(UseConfig):
    run: Annotated[Path, "a run folder of ssl finetune, or latest"]
    text: Annotated[str | list[str] | None, "a text to judge, or several"]
    pair: Annotated[str | list[str] | None, "the second text, for a task of pairs; as many as there are of text"]
    question: Annotated[str | list[str] | None, "what is asked of the context, or several questions"]
    context: Annotated[str | None, "the passage in which the answer is"]
    input: Annotated[
        Path | None,
        "a file instead: .csv, .tsv, .jsonl, .json, .parquet, or .txt of a text a line; plain or packed (.gz)",
    ]
    output: Annotated[
        Annotated[str, Pattern(r".+\.(jsonl|csv)", "a path that ends in .jsonl or .csv")] | None,
        "with input: where the answers go",
    ]
    rejects: Annotated[Path | None, "where records that can't be read go; null: rejects.csv beside the output"]
    precision: Annotated[
        Literal["auto", "32-true", "bf16-true"], "of the weights; auto: bf16-true where the device has it"
    ]


@dataclass(kw_only=True)
class ExportConfig(UseConfig):
    run: Annotated[Path, "a run folder of ssl pretrain, or latest"]
    output: Annotated[Path, "the folder that transformers will read"]


@dataclass(kw_only=True)
class EmbedConfig(UseConfig):
    data_needs: ClassVar[str] = "pictures"
    homes: ClassVar[dict[str, tuple[str, ...]]] = IMAGE_HOMES

    data: Annotated[Any, "the data set whose images are embedded; null: that of the run, in its splits"]
    input: Annotated[Path | None, "an image, or a folder of images, instead of a data set"]
    map: Annotated[Literal["tsne", "pca"], "how a code becomes a point of the map"]
    output: Annotated[Path | None, "folder for codes.parquet and the map; null: a new one in outputs"]
    seed: Annotated[Seed, "of the map, and of the splits of a data set given by data="]


@dataclass(kw_only=True)
class CompressConfig(UseConfig):
    input: Annotated[Path, "an image, or a folder of images"]
    output: Annotated[Annotated[str, Pattern(r".+\.sslz", "a path that ends in .sslz")], "where the codes go"]


@dataclass(kw_only=True)
class DecompressConfig(UseConfig):
    input: Annotated[Annotated[str, Pattern(r".+\.sslz", "a path that ends in .sslz")], "a file of ssl compress"]
    output: Annotated[Path, "the folder that the images go to, as PNG"]


SHELLS: dict[str, type[VerbConfig]] = {
    "detect": DetectConfig,
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
    "reconstruct": ReconstructConfig,
    "score": ScoreConfig,
    "generate": GenerateConfig,
    "fill": FillConfig,
    "predict": PredictConfig,
    "export": ExportConfig,
    "embed": EmbedConfig,
    "compress": CompressConfig,
    "decompress": DecompressConfig,
}


def used_options(verb: str) -> set[str]:
    """The options of a verb that trains which are for a finished run alone, given by run=."""
    return getattr(SHELLS[verb], "with_run", set()) - {"paths.outputs"}
