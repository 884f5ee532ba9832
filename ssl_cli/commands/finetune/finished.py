"""Finished runs of ssl finetune, ready to predict: `ssl_cli.load("latest").predict(["A touching film."])`."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ssl_cli.commands.finetune.inference import AUTO, Precision, precision_of, predict_all
from ssl_cli.commands.finished import WEIGHTS, Finished, open_run
from ssl_cli.commands.pretrain.finished import TOKENIZER
from ssl_cli.config.instantiate import build
from ssl_cli.config.typecheck import provides, with_article
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.methods.protocols import WritesText
from ssl_cli.methods.scoring import device_of
from ssl_cli.runs.folder import CONFIG, find_run
from ssl_cli.runs.safety import read_json_object
from ssl_cli.tasks.task import Prediction, Task, Tunes

LEARNED = "learned.json"  # the task's own tuned parameters, such as the threshold for no answer
TEST_RECORD = {"text": "a", "pair": "a", "question": "a", "context": "a"}  # most tasks can read it


def reopen(run: str | Path, outputs: str | Path, trust: str | None) -> Finished:
    """Return the finished run of ssl finetune that the options name. Raises InputError if there is none."""
    return open_run(find_run(run, outputs, "finetune", finished=True), tuple((trust or "").split()))


class FinetuneRun(Finished):
    """A model, its tokenizer, and the task that it was trained on."""

    def restore(self) -> None:
        """Restore tokenizer, labels and task, and run a small test. Raises InputError if the run is damaged."""
        facts, network = self.config.facts, self.model.network
        self.tokenizer = Tokenizer.load(self.folder / TOKENIZER)
        n_tokens, n_embeddings = self.tokenizer.vocab_size, network.vocab_size
        if not 0 < n_tokens <= n_embeddings:
            raise InputError(
                f"{self.folder / TOKENIZER} is damaged: it has {n_tokens:,} tokens, the model {n_embeddings:,}."
            )
        if not isinstance(facts.max_length, int) or not 0 < facts.max_length <= network.context:
            raise self._damaged(f"facts.max_length must be a number of at most {network.context:,} tokens")
        self.labels = [str(label) for label in facts.labels]
        self.task = self._restore_task()
        if (style := facts.get("style")) not in ("bart", "t5", None):
            raise self._damaged(f"facts.style must be bart, t5 or null, not {style!r:.100}")
        self.template = self.task.template(self.tokenizer, network.options, style, facts.max_length)
        self._test()

    def _restore_task(self) -> Task:
        """Return the task with its tuned parameters. Raises InputError if the run's model doesn't belong to it."""
        task, model = build(self.config.task), self.config.model
        if not provides(type(task), Task):
            raise self._damaged(f"task names {type(task).__name__}, which is not a task")
        required = {"_target_": task.method, **task.options(self.labels)}
        if different := [name for name, value in required.items() if model.get(name) != value]:
            name = different[0]
            raise self._damaged(
                f"model.{name} is {model.get(name)!r}, but must be {required[name]!r} for its task and labels"
            )
        if isinstance(task, Tunes) and (self.folder / LEARNED).is_file():
            task.restore(read_json_object(self.folder / LEARNED))
        elif isinstance(task, Tunes) and task.learned():
            raise InputError(f"{self.folder} is damaged: it has no {LEARNED}.")
        return task

    def _test(self) -> None:
        """Run one token through the network, and a small example through everything if the task can read it."""
        ids = torch.zeros((1, 1), dtype=torch.int64)
        with torch.inference_mode():
            out = self.model.network(ids, ids) if isinstance(self.model, WritesText) else self.model.network(ids)
        if not (torch.isfinite(out).all() and all(torch.isfinite(weight).all() for weight in self.model.parameters())):
            raise InputError(f"{self.folder / WEIGHTS} holds numbers that are NaN or infinite: train it again.")
        with suppress(InputError):
            self.predict_examples([self.task.to_example(TEST_RECORD)], "32-true")

    def _damaged(self, reason: str) -> InputError:
        return InputError(f"{self.folder / CONFIG} is damaged: {reason}.")

    # --- predictions ---

    def predict(self, records: Sequence[Mapping[str, Any] | str], precision: Precision = "auto") -> list[Prediction]:
        """Return the predictions of records such as {"text": ..., "pair": ...} or {"question": ..., "context": ...}.

        A text alone means {"text": ...}. precision=auto is that of the run's validations. Raises
        InputError, with the number of the record, for a record that lacks a field of the task.
        """
        if isinstance(records, str | Mapping):
            raise InputError("records must be a list, of texts or of records such as {'text': ...}.")
        places = [f"record {k:,}: " if len(records) > 1 else "" for k in range(1, len(records) + 1)]
        return self.predict_examples(list(map(self._example, records, places)), precision)

    def _example(self, record: Mapping[str, Any] | str, place: str) -> Any:
        if not isinstance(record, str | Mapping):
            type_name = with_article(type(record).__name__)
            raise InputError(f"{place}it must be a text, or a record such as {{'text': ...}}, not {type_name}.")
        try:
            return self.task.to_example({"text": record} if isinstance(record, str) else record)
        except InputError as error:
            reason = str(error)
            raise InputError(f"{place}{reason}{'' if reason.endswith(('.', '?')) else '.'}") from error

    def predict_examples(self, examples: Sequence[Any], precision: Precision = "auto") -> list[Prediction]:
        """Return the predictions of examples that `task.to_example` made."""
        if not examples:
            return []
        resolved = precision_of(self.config, device_of(self.model)) if precision == AUTO else precision
        rows = self.task.rows(examples, self.template, self.labels, training=False)
        raw_predictions = predict_all(self.model, rows, resolved)
        predictions = self.task.decode(examples, rows, raw_predictions, self.labels)
        return [_without_empty_id(prediction) for prediction in predictions]


def _without_empty_id(prediction: Prediction) -> Prediction:
    """Remove the id if the user's record has none."""
    return {name: value for name, value in prediction.items() if name != "id" or value not in (None, "")}
