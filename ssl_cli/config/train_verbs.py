"""The verbs that train: ssl detect, reconstruct, pretrain, finetune."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from ssl_cli.config.run import Node, RunConfig
from ssl_cli.config.types import Count, Natural, OpenShare, Path, Pattern, Range

IMAGE_HOMES = {  # of the classes that serve a verb for images, for its help
    "model": ("ssl_cli.methods.autoencoders.",),
    "data": ("ssl_cli.data.images.datasets.", "ssl_cli.data.images.folder.", "ssl_cli.data.images.cifar."),
}
TEXT_HOMES = {
    "model": ("ssl_cli.methods.language.masked_lm.", "ssl_cli.methods.language.causal_lm."),
    "data": ("ssl_cli.data.text.sources.", "ssl_cli.data.text.records.", "ssl_cli.data.text.corpora."),
}


@dataclass(kw_only=True)
class DetectConfig(RunConfig):
    needs: ClassVar[str] = "score"  # what this verb asks of a model
    data_needs: ClassVar[str] = "one_class_splits"  # and of the data
    of_others: ClassVar[dict[str, str]] = {"data.val": "reconstruct"}  # options that only another verb heeds
    changeable: ClassVar[set[str]] = RunConfig.changeable | {
        "threshold",
        "fpr",
        "fdr",
        "bootstrap_samples",
        "anomalies",
    }

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
    bootstrap_samples: Annotated[Count, "bootstrap bootstrap_samples behind each 95 % interval"]
    anomalies: Annotated[Count, "strangest rows listed in anomalies.csv, with the reasons"]


@dataclass(kw_only=True)
class ReconstructConfig(RunConfig):
    needs: ClassVar[str] = "reconstruct"
    data_needs: ClassVar[str] = "image_splits"
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
    needs: ClassVar[str] = "make_inputs"
    needs_in_words: ClassVar[str] = "learn from text"
    data_needs: ClassVar[str] = "tokenize"
    homes: ClassVar[dict[str, tuple[str, ...]]] = TEXT_HOMES
    changeable: ClassVar[set[str]] = RunConfig.changeable | {"val_tokens", "eval_tokens"}
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
    val_tokens: Annotated[Count, "tokens of held-out text behind each row of the curves"]
    eval_tokens: Annotated[Count | None, "tokens of held-out text behind the final figures; null: all of it"]
    show: Annotated[Literal["batch"] | None, "batch: print examples as the model will see them, and stop"] = None


@dataclass
class LabelledFiles:
    dir: Annotated[Path | None, "folder of the data set as published; null: that in paths.data, or else the hub"]
    files: Annotated[dict[str, Path | None], "single files: data.files.train=..., .dev=... and perhaps .test=..."]


@dataclass(kw_only=True)
class FinetuneConfig(RunConfig):
    needs: ClassVar[tuple[str, ...]] = ("logits", "predict_batch")  # of a network, or of what was saved with one in it
    needs_in_words: ClassVar[str] = "read labelled text"
    homes: ClassVar[dict[str, tuple[str, ...]]] = {"model": ("ssl_cli.models.transformer.",)}
    changeable: ClassVar[set[str]] = RunConfig.changeable | {"bootstrap_samples", "predict_train"}
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
    bootstrap_samples: Annotated[Count, "bootstrap bootstrap_samples behind each 95 % interval"]
    predict_train: Annotated[bool, "write the training examples' answers, too"]
