"""Steps that fine-tuning on speech and on images share: predictions of whole inputs, and what is printed first."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.finetune.adaptation import n_trained
from ssl_cli.commands.finetune.inference import predict_all
from ssl_cli.methods.supervised.head import SupervisedMethod
from ssl_cli.tasks.input_classification import InputClassification, LabelledInputs
from ssl_cli.tasks.task import Prediction, RawPredictions
from ssl_cli.training.limits import validated_rows

EXAMPLES_PER_S = "train/examples_per_s"
ORDER = ("dev", "test", "unheard", "train")


def watched_examples(cfg: DictConfig, dev: Any, eval_batch_size: int) -> Any:
    """Return the inputs of as many validation batches as trainer.limit_val_batches says, evenly spaced."""
    which = validated_rows(cfg.trainer, len(dev), eval_batch_size)
    return dev if len(which) == len(dev) else dev.take(which)


def metrics_of(
    task: InputClassification, examples: LabelledInputs, raw: RawPredictions, classes: Sequence[str]
) -> dict[str, float]:
    """Return the metrics of raw predictions of labelled inputs."""
    scores = task.scores(task.decode(examples.names, raw, classes, examples.label))
    assert scores is not None, "all of them have labels"
    return scores.metrics()


def predict_splits(
    with_train: bool,
    task: InputClassification,
    model: SupervisedMethod,
    examples: Mapping[str, LabelledInputs],
    rows: Mapping[str, Any],
    classes: Sequence[str],
) -> dict[str, Sequence[Prediction]]:
    """Return the predictions of each split but train, unless `with_train`."""
    predictions: dict[str, Sequence[Prediction]] = {}
    for split in sorted(examples, key=ORDER.index):
        if split == "train" and not with_train:
            continue
        each = examples[split]
        console.say(f"predicting {split}: {len(each):,}")
        raw = predict_all(model, rows[split], "32-true")  # as in ssl predict
        predictions[split] = task.decode(each.names, raw, classes, each.label)
    return predictions


def describe(
    cfg: DictConfig,
    loaded: list[list[str]],
    model: SupervisedMethod,
    examples: Mapping[str, LabelledInputs],
    inputs: str,
    warnings: Sequence[str],
) -> None:
    """Print the number of inputs, which parts of the model are loaded and trained, and warnings about the data."""
    counts = ", ".join(f"{split} {len(each):,}" for split, each in examples.items())
    console.say(f"finetune task={cfg.choices.task} init={cfg.init} seed={cfg.seed}: {inputs}: {counts}")
    if cfg.resume is None:
        console.say(console.table("", ["part", "weights", "parameters"], loaded, right={"parameters"}))
    trained, total = n_trained(model)
    if trained < total:
        console.say(f"{trained:,} of {total:,} parameters are trained ({trained / total:.1%})")
    for warning in warnings:
        console.warn(warning)
