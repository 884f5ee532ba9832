"""Callbacks: which runs keep the weights of their best validation."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ssl_cli.training.callbacks import StopEarly, make_callbacks


@pytest.mark.parametrize(
    ("patience", "monitor", "kept_by"),
    [
        (None, None, None),
        (3, None, ("monitored/loss", "min", 3)),
        (None, "loss", ("monitored/loss", "min", None)),
        (None, "rougeL", ("monitored/rougeL", "max", None)),
    ],
)
def test_the_best_weights_are_kept_if_a_metric_is_named_or_a_run_may_stop_early(
    tmp_path: Path, patience: int | None, monitor: str | None, kept_by: tuple[str, str, int | None] | None
) -> None:
    settings = OmegaConf.create({"patience": patience, "ema_decay": None, "checkpoint_every_n_steps": 5})
    early = [each for each in make_callbacks(settings, 10, tmp_path, monitor) if isinstance(each, StopEarly)]
    if kept_by is None:
        assert not early
        return
    (one,) = early
    assert (one.monitor, one.mode) == kept_by[:2] and (one.patience == kept_by[2] or kept_by[2] is None)
