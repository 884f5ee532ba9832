"""Classification of utterances: which word is said, or who speaks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.reader import SpeechReader
from ssl_cli.data.audio.utterances import SpeechSplit
from ssl_cli.data.audio.windows import SpeechWindows
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.protocols import SpeechSource
from ssl_cli.errors import InputError
from ssl_cli.tasks.input_classification import SPLITS, ClassMetrics, InputClassification, LabelCount, Monitor


@dataclass(frozen=True)
class LabelledSpeech:
    """Utterances of a split, and the index of each one's class, (N,)."""

    split: SpeechSplit
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    @property
    def names(self) -> Sequence[str]:
        """Return the names of the recordings."""
        return self.split.names

    def take(self, rows: np.ndarray) -> "LabelledSpeech":
        """Return the utterances at some positions."""
        return LabelledSpeech(self.split.take(rows), self.label[rows])


class LabelledWindows(ArrayDataset):
    """Rows of `SpeechWindows`, with `label` (B,)."""

    split = "dev"
    throughput_unit = "examples"
    row_name = "utterances"

    def __init__(self, windows: SpeechWindows, label: Tensor):
        super().__init__({"label": label}, windows.row_ids)
        self.windows = windows

    @property
    def eval_batch_size(self) -> int:
        """Return the number of utterances of a validation batch."""
        return self.windows.eval_batch_size

    def on(self, device: torch.device) -> "LabelledWindows":
        """Return the same rows on a device; unchanged if they are too large."""
        windows = self.windows.on(device)
        return LabelledWindows(windows, self.arrays["label"].to(windows.device))

    def __getitem__(self, item: tuple[int, Tensor | slice, float]) -> dict[str, Any]:
        return self.windows[item] | {"label": self.arrays["label"][item[1]]}


class SpeechClassification(InputClassification):
    """Classification of whole utterances by the word or by the speaker."""

    method: ClassVar[str] = "ssl_cli.methods.supervised.speech_classification.SpeechClassificationHead"
    source: ClassVar[type] = SpeechSource

    def __init__(
        self,
        target: Annotated[Literal["word", "speaker"], "what is predicted of an utterance"],
        metrics: ClassMetrics,
        monitor: Monitor,
        labels: LabelCount = None,
        pool: Annotated[Literal["mean", "thirds"], "what stands for an utterance: means of its frames"] = "mean",
    ):
        super().__init__(metrics, monitor, labels)
        self.target, self.pool = target, pool

    def classes(self, data: SpeechData) -> list[str]:
        """Return the classes in the order of their indices: the words of training, or its speakers.

        Raises InputError if there are fewer than two.
        """
        if self.target == "speaker":
            names = list(data.reader.speakers)
        else:
            words = data.splits["train"].word
            names = [data.words[k] for k in np.unique(words[words >= 0])]
        if len(names) < 2:
            has = f"only one {self.target}" if names else f"no {self.target}s"
            hint = " Set data.pattern to how the file names say it." * (not names)
            raise InputError(f"task={self.target}: the training utterances have {has}.{hint}")
        return names

    def read(self, data: SpeechData, classes: Sequence[str], seed: int) -> dict[str, LabelledSpeech]:
        """Return the labelled utterances of each split: train, dev, and test and unheard if they have any.

        Utterances without one of the classes are left out. Raises InputError if nothing is left of train or dev, or
        there are fewer labels than asked for.
        """
        names = data.words if self.target == "word" else data.speakers
        index = {name: k for k, name in enumerate(classes)}
        class_of = np.array([index.get(name, -1) for name in names] + [-1])  # the last for -1, unknown
        splits = {}
        for name, split in data.splits.items():
            label = class_of[split.word if self.target == "word" else split.speaker]
            if (rows := np.flatnonzero(label >= 0)).size:
                splits[SPLITS[name]] = LabelledSpeech(split.take(rows), label[rows])
        if missing := [name for name in ("train", "dev") if name not in splits]:
            option = " Set data.val above 0, with several recordings of each speaker." * ("val" not in data.splits)
            raise InputError(f"No utterance of {missing[0]} has a {self.target}.{option}")
        train = splits["train"]
        return splits | {"train": train.take(self.draw(train.label, seed, self.target, "utterances"))}

    def rows(self, examples: LabelledSpeech, reader: SpeechReader, window: int | None, seed: int) -> LabelledWindows:
        """Return the utterances as a model reads them: random crops of `window` frames, or whole if it is None."""
        windows = SpeechWindows(examples.split, reader, window, seed, training=window is not None)
        return LabelledWindows(windows, torch.from_numpy(examples.label))

    def options(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return the arguments of the head besides its network and its dropout."""
        return {"n_labels": len(classes), "pool": self.pool}
