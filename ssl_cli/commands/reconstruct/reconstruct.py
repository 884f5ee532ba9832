"""ssl reconstruct: train an autoencoder on images or speech; or, with run=, rebuild new ones with a finished run."""

from pathlib import Path

from omegaconf import DictConfig

from ssl_cli.commands.reconstruct import apply, images
from ssl_cli.commands.speech import reconstruct as speech
from ssl_cli.config.instantiate import modality_of

MODALITIES = {"image": images, "audio": speech}  # modality of the data -> the module whose run(cfg) trains on it


def run(cfg: DictConfig) -> Path:
    """Train and evaluate a model, and return the run folder; or rebuild the input, and return the folder of that."""
    if cfg.get("run") is not None:
        return apply.run(cfg)
    return MODALITIES[modality_of(cfg.data._target_)].run(cfg)
