"""Example predictions on held-out text: masked tokens, the continuation of a passage, or a restored text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_cli.commands.pretrain.batch_view import visible_token
from ssl_cli.commands.pretrain.predicted_text import PredictedText, TextPiece
from ssl_cli.commands.pretrain.restored import restore_rows
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.files import write_text
from ssl_cli.methods.protocols import ContinuesText, PredictsMasked, WritesText
from ssl_cli.methods.scoring import device_of
from ssl_cli.models.generation.decode import generate_tokens
from ssl_cli.models.losses import IGNORE_INDEX
from ssl_cli.training.seeding import reseed

EXAMPLES = "examples.txt"
MAX_EXAMPLES = 8  # passages
PROMPT_DIVISOR = 4  # a prompt is the first quarter of a row
TEMPERATURE = 0.8


def write(folder: Path, model: Any, tokenizer: Tokenizer, rows: ArrayDataset, seed: int) -> list[PredictedText]:
    """Return predictions for a few rows, and write them into the run folder; none if the method has none to show."""
    ways = {PredictsMasked: predict_masks, ContinuesText: continue_rows, WritesText: restore_rows}
    predict = next((ways[protocol] for protocol in ways if isinstance(model, protocol)), None)
    if predict is None:
        return []
    sample = torch.linspace(0, len(rows) - 1, min(MAX_EXAMPLES, len(rows))).round().long()
    examples: Any = predict(model, tokenizer, rows[0, sample, 1.0], seed)
    write_text(folder / EXAMPLES, "\n\n---\n\n".join(map(str, examples)) + "\n")
    return examples


def predict_masks(model: Any, tokenizer: Tokenizer, batch: Mapping[str, Tensor], seed: int) -> list[PredictedText]:
    """Return each row with the model's most likely token for each masked one."""
    device = device_of(model)
    reseed(seed, 0, 0, device)
    arrays = {name: array.to(device) for name, array in batch.items() if isinstance(array, Tensor)}
    with torch.inference_mode():
        inputs, logits = model.masked_predictions(arrays)  # (B, n, V)
        probabilities, predictions = (array.cpu() for array in logits.float().softmax(2).max(2))  # (B, n)
    columns = [inputs[name].tolist() for name in ("inputs", "positions", "targets")]
    examples = []
    for ids, positions, targets, tokens, token_probabilities in zip(
        *columns, predictions.tolist(), probabilities.tolist(), strict=True
    ):
        predicted = {
            position: TextPiece(
                prediction=visible_token(tokenizer, token),
                target=visible_token(tokenizer, target),
                probability=probability,
            )
            for position, target, token, probability in zip(
                positions, targets, tokens, token_probabilities, strict=True
            )
            if target != IGNORE_INDEX
        }
        examples.append(PredictedText(_pieces(tokenizer, ids, predicted)))
    return examples


def _pieces(tokenizer: Tokenizer, ids: list[int], predicted: Mapping[int, TextPiece]) -> list[TextPiece]:
    """Return the predicted pieces by position, and the text between them, without the [CLS] of the row."""
    pieces, plain = list[TextPiece](), list[int]()
    for position, token in enumerate(ids):
        if position in predicted:
            pieces += [TextPiece(_text_between(tokenizer, plain)), predicted[position]]
            plain = []
        elif position:
            plain.append(token)
    return [*pieces, TextPiece(_text_between(tokenizer, plain))]


def _text_between(tokenizer: Tokenizer, tokens: list[int]) -> str:
    """Return the text between two predictions, with spaces around it."""
    text = tokenizer.decode(tokens)
    return f" {text} " if text else " "


def continue_rows(model: Any, tokenizer: Tokenizer, batch: Mapping[str, Tensor], seed: int) -> list[PredictedText]:
    """Return the beginning of each row, and its continuation by the model, sampled at TEMPERATURE."""
    n_prompt = model.row_length // PROMPT_DIVISOR
    prompts = [row[:n_prompt].tolist() for row in batch["ids"]]
    n_new, banned = model.row_length - n_prompt, tokenizer.special_ids_except_end
    completions = generate_tokens(model, prompts, max_tokens=n_new, temperature=TEMPERATURE, seed=seed, banned=banned)
    return [
        PredictedText([TextPiece(tokenizer.decode(prompt)), TextPiece(prediction=tokenizer.decode(completion))])
        for prompt, completion in zip(prompts, completions, strict=True)
    ]
