"""Trimming of training rows: which are left out, and that it is an option of ssl detect."""

import numpy as np
import torch
from omegaconf import OmegaConf

from ssl_cli.commands.detect.trimming import trimmed
from ssl_cli.data.batches import ArrayDataset
from tests.conftest import Cli


def config(trim: float) -> object:
    return OmegaConf.create({"trim": trim, "seed": 0, "facts": {"categories": []}})


def test_the_most_abnormal_rows_are_left_out_and_the_others_keep_their_order() -> None:
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    x[[5, 50, 150]] += 20
    rows = ArrayDataset({"x": torch.from_numpy(x)})
    kept = trimmed(rows, config(0.015))
    assert sorted(set(range(200)) - set(kept.row_ids.tolist())) == [5, 50, 150]
    assert (np.diff(kept.row_ids) > 0).all()
    assert trimmed(rows, config(0)) is rows


def test_trim_is_an_option_of_detect(cli: Cli) -> None:
    code, out, err = cli("detect", "model=gaussian", "trim=0.25", "calibrate=split")
    assert code == 0, err
    assert "trim=0.25: 40 of 160 training rows are left out" in out
