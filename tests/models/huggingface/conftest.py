"""Fixtures: the library transformers, and checkpoints that it wrote."""

from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers.checkpoints import random_model


@pytest.fixture(scope="session")
def transformers() -> ModuleType:
    module = pytest.importorskip("transformers")
    module.logging.set_verbosity_error()
    module.logging.disable_progress_bar()
    return module


@pytest.fixture
def bert(transformers: ModuleType, tmp_path: Path) -> Path:
    random_model(transformers, "bert").save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


@pytest.fixture
def neox(transformers: ModuleType, tmp_path: Path) -> Path:
    random_model(transformers, "gpt_neox").save_pretrained(tmp_path / "neox")
    return tmp_path / "neox"
