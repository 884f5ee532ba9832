"""ssl pretrain: learn from unlabelled data. The modality of the data decides how."""

from pathlib import Path

from omegaconf import DictConfig

from ssl_cli.commands.pretrain import audio, images, text
from ssl_cli.config.instantiate import modality_of

MODALITIES = {"text": text, "audio": audio, "image": images}  # modality -> the module whose run(cfg) trains on it


def run(cfg: DictConfig) -> Path | None:
    """Run one training, from config to a finished run folder, and return its path; None with show=batch."""
    return MODALITIES[modality_of(cfg.data._target_)].run(cfg)
