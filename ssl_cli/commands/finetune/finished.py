"""A finished run of ssl finetune: `ssl_cli.load("latest").predict(["A touching film."])`."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ssl_cli.commands.finetune.inference import predict_ready, ready
from ssl_cli.commands.finished import WEIGHTS, Finished
from ssl_cli.commands.pretrain.finished import TOKENIZER
from ssl_cli.config.instantiate import build
from ssl_cli.config.typecheck import article
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.methods.supervised.head import SupervisedHead
from ssl_cli.models.generation.packed_weights import Precision
from ssl_cli.runs.folder import CONFIG, find_run
from ssl_cli.runs.safety import read_object
from ssl_cli.tasks.task import Prediction, Task, Tunes

LEARNED = "learned.json"  # what the task itself learned, such as the odds above which there is no answer
USED = ("options", "given", "rows", "decode", "records")  # of a task
ANY = {"text": "a", "pair": "a", "question": "a", "context": "a"}  # a record that most tasks can read


def reopen(run: str | Path, outputs: str | Path, trust: str | None) -> "FinetuneRun":
    """The finished run of ssl finetune that a verb's options name. Raises InputError where it is none."""
    return FinetuneRun(find_run(run, outputs, "finetune", finished=True), tuple((trust or "").split()))


class FinetuneRun(Finished):
    """A model, its tokenizer, and the task whose questions it answers."""

    def restore(self) -> None:
        facts, network = self.config.facts, self.model.network
        self.tokenizer = Tokenizer.load(self.folder / TOKENIZER)
        found, known = self.tokenizer.vocab_size, network.vocab_size
        if not 0 < found <= known:
            raise InputError(f"{self.folder / TOKENIZER} is damaged: it has {found:,} tokens, the model {known:,}.")
        if not isinstance(facts.max_length, int) or not 0 < facts.max_length <= network.context:
            raise self._damaged(f"facts.max_length must be a number of at most {network.context:,} tokens")
        self.labels = [str(label) for label in facts.labels]
        self.frame = SequenceTemplate.of(self.tokenizer, network.causal, facts.max_length)
        self.task = self._task()
        self._ready: dict[Precision, SupervisedHead] = {}
        self._try()

    def _task(self) -> Task:
        """As it was when the run ended, with what it had learned; what learns it is the run's model."""
        task, model = build(self.config.task), self.config.model
        if not all(hasattr(task, name) for name in USED):
            raise self._damaged(f"task names {type(task).__name__}, which is no task")
        asked = {"_target_": task.objective, **task.options(self.labels)}
        if odd := [name for name, value in asked.items() if model.get(name) != value]:
            name = odd[0]
            raise self._damaged(f"model.{name} is {model.get(name)!r}, and for its task and labels {asked[name]!r}")
        if isinstance(task, Tunes) and (self.folder / LEARNED).is_file():
            task.restore(read_object(self.folder / LEARNED))
        elif isinstance(task, Tunes) and task.learned():
            raise InputError(f"{self.folder} is damaged: it has no {LEARNED}.")
        return task

    def _try(self) -> None:
        """A token through the network, and a tiny example through it all, where the task can read that."""
        with torch.inference_mode():
            out = self.model.network(torch.zeros((1, 1), dtype=torch.int64))
        if not (torch.isfinite(out).all() and all(torch.isfinite(weight).all() for weight in self.model.parameters())):
            raise InputError(f"{self.folder / WEIGHTS} holds numbers that are NaN or infinite: train it again.")
        with suppress(InputError):
            self.answered([self.task.given(ANY)], "32-true")

    def _damaged(self, why: str) -> InputError:
        return InputError(f"{self.folder / CONFIG} is damaged: {why}.")

    # --- answers ---

    def predict(self, records: Sequence[Mapping[str, Any] | str], precision: Precision = "auto") -> list[Prediction]:
        """An answer to each record, such as {"text": ..., "pair": ...} or {"question": ..., "context": ...}; a text
        alone stands for {"text": ...}. precision=auto: in bfloat16 where the device has it.

        Raises InputError, with the record's place, for one that lacks what the task reads.
        """
        if isinstance(records, str | Mapping):
            raise InputError("records must be a list, of texts or of records such as {'text': ...}.")
        places = [f"record {k:,}: " if len(records) > 1 else "" for k in range(1, len(records) + 1)]
        return self.answered(list(map(self._given, records, places)), precision)

    def _given(self, record: Mapping[str, Any] | str, place: str) -> Any:
        if not isinstance(record, str | Mapping):
            found = article(type(record).__name__)
            raise InputError(f"{place}it must be a text, or a record such as {{'text': ...}}, not {found}.")
        try:
            return self.task.given({"text": record} if isinstance(record, str) else record)
        except InputError as error:
            said = str(error)
            raise InputError(f"{place}{said}{'' if said.endswith(('.', '?')) else '.'}") from error

    def answered(self, examples: Sequence[Any], precision: Precision = "auto") -> list[Prediction]:
        """The answers to examples of the task, as `task.given` makes them."""
        if not examples:
            return []
        if precision not in self._ready:
            self._ready = {precision: ready(self.model, precision)}
        rows = self.task.rows(examples, self.frame, self.labels, training=False).with_row_length(self.frame.max_length)
        answers = self.task.decode(examples, rows, predict_ready(self._ready[precision], rows), self.labels)
        return [_without_empty_id(answer) for answer in answers]


def _without_empty_id(answer: Prediction) -> Prediction:
    """A user's record needs none."""
    return {name: value for name, value in answer.items() if name != "id" or value not in (None, "")}
