"""The typed shell of a verb's config: what it has whatever is chosen. The objects inside (`model`, `data`) are typed by
the signatures of the classes they name; `checking.check` holds a config against both. The defaults are in the YAML
files under conf/, and nowhere else.
"""

from ssl_cli.config.run import VerbConfig
from ssl_cli.config.train_verbs import DetectConfig, FinetuneConfig, PretrainConfig, ReconstructConfig
from ssl_cli.config.use_verbs import (
    CompressConfig,
    DecompressConfig,
    EmbedConfig,
    ExportConfig,
    FillConfig,
    GenerateConfig,
    PredictConfig,
    ScoreConfig,
)

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


COMMANDS = {
    "detect": "detect.detect",
    "score": "detect.score",
    "pretrain": "pretrain.pretrain",
    "fill": "pretrain.fill",
    "export": "pretrain.export",
    "finetune": "finetune.finetune",
    "predict": "finetune.predict",
    "reconstruct": "reconstruct.reconstruct",
    "embed": "reconstruct.embed",
    "compress": "reconstruct.compress",
    "decompress": "reconstruct.decompress",
    "generate": "generate",
}


def used_options(verb: str) -> set[str]:
    """The options of a verb that trains which are for a finished run alone, given by run=."""
    return getattr(SHELLS[verb], "with_run", set()) - {"paths.outputs"}
