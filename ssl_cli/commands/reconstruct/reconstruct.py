"""ssl reconstruct: train an autoencoder on images, speech or texts; or, with run=, rebuild new input with it."""

from pathlib import Path

from omegaconf import DictConfig

from ssl_cli.commands.articles import reconstruct as articles
from ssl_cli.commands.reconstruct import apply, images
from ssl_cli.commands.sentences import reconstruct as sentences
from ssl_cli.commands.speech import reconstruct as speech
from ssl_cli.config.instantiate import modality_of

# Modality of the data -> the module whose run(cfg) trains on it.
MODALITIES = {"image": images, "audio": speech, "article": articles, "sentence": sentences}


def run(cfg: DictConfig) -> Path:
    """Train and evaluate a model, and return the run folder; or rebuild the input, and return the folder of that."""
    if cfg.get("run") is not None:
        return apply.run(cfg)
    return MODALITIES[modality_of(cfg.data._target_)].run(cfg)
