"""Options of the verbs that train: ssl detect, reconstruct, pretrain, finetune."""

from dataclasses import dataclass
from typing import Annotated, Literal

from ssl_cli.config.run import Node, RunConfig
from ssl_cli.config.types import Count, Draws, EscapeFormulas, Natural, OpenShare, Path, Pattern, Range, Vocoder


@dataclass(kw_only=True)
class DetectConfig(RunConfig):
    """Options of ssl detect."""

    threshold: Annotated[
        float | Annotated[str, Pattern(r"auto|fdr|f1|q(0?\.\d+)", "auto, fdr, f1 or a quantile like q0.995")],
        "auto, fdr (conformal, no labels), f1 (uses labels), q0.995 (quantile of calibration scores) or a number",
    ]
    fpr: Annotated[float, Range(1e-6, 1, open_high=True), "share of normal rows that threshold=auto may flag"]
    fdr: Annotated[OpenShare, "share of the flagged rows that may be false alarms with threshold=fdr"]
    fdr_method: Annotated[
        Literal["storey", "bh"],
        "bh: Benjamini-Hochberg; storey: with an estimate of the share of normal rows, which flags more where they are "
        "few",
    ] = "bh"  # which configs of earlier versions lack
    calibrate: Annotated[
        Literal["auto", "split", "cross"],
        "split: on held-out rows (exact guarantee); cross: on all training rows, out of fold (no guarantee, `folds` "
        "more fits); auto: cross for small data that can't hold out as many rows as the threshold needs, else split",
    ]
    folds: Annotated[int, Range(2), "number of folds if cross-fitted, each scored by a model that did not see it"]
    bootstrap_samples: Annotated[Draws, "bootstrap samples for each 95 % interval"]
    anomalies: Annotated[Count, "top anomalies listed in anomalies.csv, with explanations"]
    escape_formulas: EscapeFormulas = False
    trim: Annotated[
        float,
        Range(0, 0.5),
        "share of the training rows left out, the most abnormal to an isolation forest, if some may be anomalies",
    ] = 0.0  # which configs of earlier versions lack


@dataclass(kw_only=True)
class ReconstructConfig(RunConfig):
    """Options of ssl reconstruct."""

    prior_steps: Annotated[
        Natural | None,
        "optimizer steps of a vqvae's prior over its codes; null: two thirds of the model's (or of its max_time); "
        "0: no prior, it can't generate",
    ]
    importance_samples: Annotated[
        Draws, "posterior samples of each image or sentence for its likelihood, of a variational model"
    ]
    likelihood_images: Annotated[Count, "number of test images for test/elbo and test/nll, from the first"]
    probes: Annotated[
        bool, "measure the code by classifiers, if there are labels; of images also at each validation, with its rank"
    ]
    judges: Annotated[
        bool, "of speech: train a word judge and a speaker judge on real recordings, which listen to conversions"
    ] = True  # which configs of earlier versions lack, as the next two
    clips: Annotated[Natural, "of speech: recordings that the report plays, each with its conversion"] = 6
    vocoder: Vocoder = None
    baseline: Annotated[bool, "of sentences: train the same decoder without a code, too, to compare with"] = True
    tokenizer: Node = None  # of articles and sentences
    init: Annotated[
        str | None, "of articles: a run of model=bart, mass or t5, or a checkpoint of BART or T5; null: random weights"
    ] = None
    beside: Annotated[
        Path | None,
        "of articles and sentences: a finished run, or latest, that the report sets beside this one: its summaries; "
        "what probes read in its vectors",
    ] = None
    # Options of a finished run. A saved config has none of them: without run= they have no effect.
    run: Annotated[
        Path | None, "a finished run of ssl reconstruct, or latest: reconstruct `input` with it, train nothing"
    ] = None
    input: Annotated[Path | None, "with run=: an image or a recording, or a folder of them"] = None
    output: Annotated[Path | None, "with run=: the folder for what is rebuilt; null: a new one in outputs"] = (
        None
    )
    overwrite: Annotated[bool, "with run=: write into an output folder that exists"] = False
    escape_formulas: EscapeFormulas = False
    trust: Annotated[
        str | None, "with run=: your package whose classes may be built from the run folder; null: none"
    ] = None


@dataclass(kw_only=True)
class PretrainConfig(RunConfig):
    """Options of ssl pretrain. A run on speech has none of them, and one on images `init` and the last three."""

    tokenizer: Node = None
    init: Annotated[
        str | None,
        "a checkpoint of BERT, RoBERTa, GPT-2, GPT-NeoX, BART or T5 to continue from: its folder or hub id; of images "
        "a run, or a file of a ResNet with torchvision's names; null: none",
    ] = None
    val_tokens: Annotated[Count, "tokens of held-out text for each row of the curves"] = 100_000
    eval_tokens: Annotated[Count | None, "tokens of held-out text for the final metrics; null: all of it"] = None
    show: Annotated[
        Literal["batch"] | None, "of text and images: batch prints or draws examples as the model sees them, and stops"
    ] = None
    probes: Annotated[
        bool, "of images: measure the vectors while the model learns, and by the labels if there are any"
    ] = True  # which configs of earlier versions lack, as the next one
    baselines: Annotated[bool, "of images: probe an untrained network, pixels and k-means patches, too"] = True


@dataclass(kw_only=True)
class FinetuneConfig(RunConfig):
    """Options of ssl finetune."""

    task: Node
    init: Annotated[
        str,
        "none (random weights), a run of ssl pretrain or finetune, latest, a folder or hub id of a transformers "
        "checkpoint, or of images a file of a ResNet with torchvision's names",
    ]
    like: Annotated[str | None, "with init=none: a run or checkpoint whose shape and tokenizer to use"]
    freeze: Annotated[
        Natural | Literal["embeddings", "encoder"] | None,
        "what isn't trained: the embeddings, a number (the embeddings and as many blocks), or the whole encoder; of a "
        "ResNet its first convolution, a number of stages too, or all of it",
    ]
    layer_decay: Annotated[
        Annotated[float, Range(0, 1, open_low=True)] | None,
        "learning rate of a block as a share of that of the block above it, as in ELECTRA; null: one rate for all",
    ]
    reinit: Annotated[Natural, "number of top blocks to reinitialize"]
    lora: Annotated[Count | None, "rank of LoRA adapters, which are then trained alone, with the head; null: no LoRA"]
    bootstrap_samples: Annotated[Draws, "bootstrap samples for each 95 % interval"]
    predict_train: Annotated[bool, "write predictions for the training examples too"]
    # Options for text, which a run on speech or images doesn't have.
    tokenizer: Node = None
    max_length: Annotated[
        Count | None, "most tokens of an example; null: the context of the network, at most 384"
    ] = None
    escape_formulas: EscapeFormulas = False  # which configs of earlier versions lack
