"""What a config needs of this machine."""

import os

import pytest
import torch
from omegaconf import OmegaConf

from ssl_cli.config.compatibility import consistency_faults, device_faults


@pytest.fixture(params=[(0, "cpu", 8), (0, "auto", 8), (2, "cpu", 8), (2, "auto", 2), (2, "gpu", 2)])
def limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """The accelerator, and the most devices of it, of a machine of two cores with some GPUs."""
    gpus, accelerator, devices = request.param
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    return accelerator, devices


def test_no_more_devices_than_there_are_and_few_processes_per_core(limit: tuple[str, int]) -> None:
    accelerator, most = limit
    for devices, rejected in ((1, False), (most, False), (most + 1, True), (10**17, True)):
        cfg = OmegaConf.create({"trainer": {"accelerator": accelerator, "devices": devices, "strategy": "auto"}})
        faults, sentence = list(device_faults(cfg)), f"trainer.devices={devices}: this machine has"
        assert [fault.startswith(sentence) for fault in faults] == [True] * rejected


def test_a_saved_config_of_text_needs_its_tokenizer_and_one_of_speech_has_none() -> None:
    text = {"verb": "pretrain", "data": {"_target_": "ssl_cli.data.text.corpora.PydocTopics"}, "logger": {}}
    speech = text | {"data": {"_target_": "ssl_cli.data.audio.folder.SpeechFolder"}}
    missing = ["tokenizer is missing: set tokenizer=wordpiece, bpe, unigram, char or word."]
    assert [list(consistency_faults(OmegaConf.create(cfg))) for cfg in (text, speech)] == [missing, []]
