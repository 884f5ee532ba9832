"""The options of a transformer, as the objectives of text take them: flat, so that a user says `model.size=base`."""

from typing import Annotated, Literal

from ssl_cli.config.types import Count, Positive, Range
from ssl_cli.models import transformer

# The largest are beyond any model there is; a config that asks for more would only fill the memory.
Vocabulary = Annotated[int, Range(1, 1_000_000), "tokens in the vocabulary"]
Context = Annotated[int, Range(8, 131_072), "tokens that it reads at most"]
Size = Annotated[
    transformer.Size | None, "BERT's published layers x width: 2x128, 4x256, 4x512, 12x768, 24x1024; null: your own"
]
Layers = Annotated[Annotated[int, Range(1, 1000)] | None, "blocks; null: those of the size"]
Width = Annotated[Count | None, "numbers that stand for a token; null: those of the size"]
Heads = Annotated[Count | None, "of attention; null: one for each 64 numbers"]
Feedforward = Annotated[Count | None, "numbers within a block; null: 4 times the width"]
Positions = Annotated[Literal["learned", "sinusoidal", "rotary"], "how it is told a token's place"]
Norm = Annotated[Literal["pre", "post"], "before each part of a block, or after it"]
Activation = Annotated[transformer.Activation, "within a block; gelu_tanh is GPT-2's approximation"]
Dropout = Annotated[transformer.Drop, "share of numbers dropped after the embeddings and each part of a block"]
AttentionDropout = Annotated[transformer.Drop, "share of attention dropped; above 0 it is slower"]
NormEps = Annotated[Positive, "added to the variance in a norm"]
