"""Verbs: the typed options of each, the module that runs it, and what it requires of its model and data.

The objects inside a config (`model`, `data`) are typed by the signatures of their classes; `check` compares a config
with both. The defaults are only in the YAML files of conf/.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ssl_cli.config.run import RunConfig, VerbConfig
from ssl_cli.config.train_verbs import DetectConfig, FinetuneConfig, PretrainConfig, ReconstructConfig
from ssl_cli.config.use_verbs import (
    CompressConfig,
    ConvertConfig,
    DecompressConfig,
    EmbedConfig,
    ExportConfig,
    FillConfig,
    GenerateConfig,
    PredictConfig,
    ScoreConfig,
    SummarizeConfig,
    UnitsConfig,
)

NONE: frozenset[str] = frozenset()
# What a resumed run may change, besides options of its loggers. Anything else would change its data or its model.
CHANGEABLE = frozenset({"resume", "paths.outputs", "optim.lr", "data.cache"}) | {
    f"trainer.{name}"
    for name in (
        *("max_epochs", "max_steps", "max_time", "default_steps", "checkpoint_every_n_steps"),
        *("accelerator", "devices", "num_nodes", "strategy", "gradient_clip_val"),
    )
}
# Modules of methods that learn from speech alone; the others beside them rebuild it.
LEARNS_FROM_FRAMES = ("ssl_cli.methods.speech.masked_frames.", "ssl_cli.methods.speech.next_frames.")
# Options of a transformer that a checkpoint given by init= sets.
NETWORK = (
    *("size", "layers", "width", "heads", "feedforward"),
    *("positions", "norm", "norm_eps", "activation", "segments", "head_width", "normalization", "biases"),
    *("decoder_layers", "tied_output"),
)
RESNET = ("shape", "widths", "depths", "stem", "block")  # the same of a ResNet

AUTOENCODERS_OF_SPEECH = tuple(
    f"ssl_cli.methods.speech.{name}."
    for name in (
        *("speech_autoencoder", "voice_autoencoder", "narrow_autoencoder", "adversarial_autoencoder"),
        *("nearest_frames", "vector_quantized"),
    )
)


@dataclass(frozen=True, kw_only=True)
class VerbSpec:
    """Specification of a verb: the schema of its options, its command, and the Protocols that it requires.

    `model` names Protocols below `methods`, `data` Protocols in `data.protocols`: the model must have one of the
    former, the data one of the latter. `model_packages` and `modalities` say which choices the help page lists, and
    `main_options` which groups and options it shows without --all, in this order.
    """

    options: type[VerbConfig]
    main_options: tuple[str, ...]
    command: str  # the module below ssl_cli.commands whose run(cfg) it calls
    model: tuple[str, ...] = ()
    model_ability: str = ""  # what these Protocols mean, as in "a model that can ..."
    model_packages: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    changeable: frozenset[str] = NONE  # options that a resumed run may change
    set_by_init: frozenset[str] = NONE  # options that a checkpoint given by init= sets
    keeps_shape: frozenset[str] = NONE  # modalities of models whose shape is that of the config, with init= too
    only_with_run: frozenset[str] = NONE  # options of a verb that trains which use a finished run instead
    also_with_run: frozenset[str] = NONE  # options with an effect both on training and with run=
    # Modality -> the options and groups that mean nothing for other modalities; an option may be of several.
    options_of: Mapping[str, frozenset[str]] = field(default_factory=dict)
    # Modality -> the defaults of model and data, if the other one of them is chosen and is of that modality.
    defaults_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    of_other_verbs: Mapping[str, str] = field(default_factory=dict)  # option of the data -> the verb that uses it

    @property
    def makes_runs(self) -> bool:
        """Return whether the verb trains and makes a run folder, rather than using one."""
        return issubclass(self.options, RunConfig)


VERBS: dict[str, VerbSpec] = {
    "detect": VerbSpec(
        options=DetectConfig,
        main_options=("data", "model", "threshold", "fpr", "calibrate", "anomalies", "trainer.max_steps", "seed"),
        command="detect.detect",
        model=("protocols.ScoresAnomalies",),
        model_ability="score rows",
        model_packages=("ssl_cli.methods.autoencoders.", "ssl_cli.methods.detectors."),
        data=("OneClassSource",),
        modalities=("table", "image"),
        changeable=CHANGEABLE
        | {"threshold", "fpr", "fdr", "fdr_method", "bootstrap_samples", "anomalies", "data.download"},
        of_other_verbs={"data.val": "reconstruct"},
    ),
    "pretrain": VerbSpec(
        options=PretrainConfig,
        main_options=("data", "tokenizer", "model", "init", "trainer.max_steps", "optim.lr", "seed", "show"),
        command="pretrain.pretrain",
        model=("protocols.LearnsFromText", "speech.frame_protocols.LearnsFromFrames", "protocols.LearnsFromImages"),
        model_ability="learn from text, speech or images alone",
        model_packages=(
            *("ssl_cli.methods.language.", "ssl_cli.methods.contrastive.", "ssl_cli.methods.masked_images."),
            *LEARNS_FROM_FRAMES,
        ),
        data=("TokenSource", "SpeechSource", "ImageSource"),
        modalities=("text", "audio", "image"),
        options_of={
            "text": frozenset({"tokenizer", "init", "val_tokens", "eval_tokens", "show"}),
            "image": frozenset({"init", "show", "probes", "baselines"}),
        },
        defaults_of={
            "audio": {"model": "speech_bert", "data": "synthetic_speech"},
            "image": {"model": "simclr", "data": "digits"},
        },
        changeable=CHANGEABLE | {"val_tokens", "eval_tokens"},
        set_by_init=frozenset({"tokenizer", "model.style", *(f"model.network.{name}" for name in NETWORK)}),
        keeps_shape=frozenset({"image"}),
    ),
    "finetune": VerbSpec(
        options=FinetuneConfig,
        main_options=("task", "init", "trainer.max_epochs", "optim.lr", "max_length", "lora", "seed"),
        command="finetune.finetune",
        # a network, or a saved model that has one
        model=(
            *("protocols.EncodesText", "speech.frame_protocols.EncodesFrames", "protocols.EncodesImages"),
            "protocols.PredictsLabels",
        ),
        model_ability="learn from labelled text, speech or images",
        model_packages=tuple(
            f"ssl_cli.models.{name}." for name in ("transformer", "frame_transformer", "encoder_decoder", "resnet")
        ),
        modalities=("labelled", "audio", "image"),
        options_of={"text": frozenset({"tokenizer", "max_length"})},
        changeable=CHANGEABLE | {"bootstrap_samples", "predict_train"},
        set_by_init=frozenset({"tokenizer", "model", "model.context", *(f"model.{name}" for name in NETWORK + RESNET)}),
        of_other_verbs={f"data.{name}": "detect" for name in ("contamination", "calibration", "normal")},
    ),
    "reconstruct": VerbSpec(
        options=ReconstructConfig,
        main_options=("data", "model", "trainer.max_epochs", "optim.lr", "seed", "run", "input"),
        command="reconstruct.reconstruct",
        model=(
            *("protocols.Reconstructs", "speech.protocols.ReconstructsSpeech"),
            *("text_latent.protocols.Summarizes", "text_latent.protocols.CodesSentences"),
        ),
        model_ability="reconstruct its input",
        model_packages=("ssl_cli.methods.autoencoders.", "ssl_cli.methods.text_latent.", *AUTOENCODERS_OF_SPEECH),
        data=("ImageSource", "SpeechSource", "ArticleSource", "SentenceSource"),
        modalities=("image", "audio", "article", "sentence"),
        changeable=CHANGEABLE
        | {"prior_steps", "importance_samples", "likelihood_images", "probes"}
        | {"judges", "clips", "vocoder"},
        options_of={
            "image": frozenset({"prior_steps", "importance_samples", "likelihood_images", "probes"}),
            "audio": frozenset({"judges", "clips", "vocoder", "probes"}),
            "article": frozenset({"tokenizer", "init", "beside"}),
            "sentence": frozenset({"tokenizer", "baseline", "importance_samples", "probes", "beside"}),
        },
        defaults_of={
            "audio": {"model": "voice_ae", "data": "synthetic_speech"},
            "article": {"model": "extractive_search", "data": "reuters"},
            "sentence": {"model": "sentence_vae", "data": "sst2_sentences"},
        },
        set_by_init=frozenset({"tokenizer", "model.style", *(f"model.network.{name}" for name in NETWORK)}),
        only_with_run=frozenset(
            {"run", "input", "output", "overwrite", "escape_formulas", "trust", "paths.outputs"}
        ),
        also_with_run=frozenset({"vocoder"}),
        of_other_verbs={f"data.{name}": "detect" for name in ("contamination", "calibration", "normal")},
    ),
    "score": VerbSpec(
        options=ScoreConfig, main_options=("run", "input", "output", "keep", "overwrite"), command="detect.score"
    ),
    "generate": VerbSpec(
        options=GenerateConfig,
        main_options=("run", "n", "prompt", "max_tokens", "temperature", "beams", "output", "seed"),
        command="generate",
    ),
    "fill": VerbSpec(
        options=FillConfig, main_options=("run", "text", "input", "n", "output"), command="pretrain.fill"
    ),
    "predict": VerbSpec(
        options=PredictConfig,
        main_options=("run", "text", "pair", "question", "context", "input", "output"),
        command="finetune.predict",
    ),
    "export": VerbSpec(
        options=ExportConfig, main_options=("run", "output", "overwrite"), command="pretrain.export"
    ),
    "embed": VerbSpec(
        options=EmbedConfig,
        main_options=("run", "data", "input", "map", "output"),
        command="reconstruct.embed",
        data=("ImageSource", "SpeechSource"),
        modalities=("image", "audio"),
    ),
    "convert": VerbSpec(
        options=ConvertConfig,
        main_options=("run", "source", "target", "output", "vocoder", "overwrite"),
        command="speech.convert",
    ),
    "units": VerbSpec(
        options=UnitsConfig,
        main_options=("run", "input", "output", "layer", "num_units"),
        command="speech.units",
    ),
    "summarize": VerbSpec(
        options=SummarizeConfig, main_options=("run", "text", "input", "output"), command="articles.summarize"
    ),
    "compress": VerbSpec(
        options=CompressConfig, main_options=("run", "input", "output", "overwrite"), command="reconstruct.compress"
    ),
    "decompress": VerbSpec(
        options=DecompressConfig, main_options=("run", "input", "output", "overwrite"), command="reconstruct.decompress"
    ),
}


def unused_options(verb: str) -> frozenset[str]:
    """Return the options of a verb that have no effect without run=."""
    return VERBS[verb].only_with_run - {"paths.outputs"}
