"""Options of the verbs that use a finished run: ssl score, generate, fill, predict, convert, units and the like."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from ssl_cli.config.run import VerbConfig
from ssl_cli.config.types import (
    Count,
    Delimiter,
    EscapeFormulas,
    LengthPenalty,
    Natural,
    NonNegative,
    Path,
    Pattern,
    Range,
    Seed,
    Vocoder,
)


@dataclass(kw_only=True)
class ScoreConfig(VerbConfig):
    """Options of ssl score."""

    run: Annotated[Path, "a run folder of ssl detect, or latest"]
    input: Annotated[Path, "a .csv (or .csv.gz, .bz2, .xz, .zst, .lz4) or .parquet file of rows to score"]
    output: Annotated[
        Annotated[str, Pattern(r".+\.(csv|parquet)", "a path that ends in .csv or .parquet")], "file for the scores"
    ]
    rejects: Annotated[Path | None, "file for rows that can't be read; null: rejects.csv beside the output"]
    keep: Annotated[list[str], "columns of the input to copy to the output"]
    explain: Annotated[bool, "for flagged rows of a table, the columns that contribute most to the score, and why"]
    report: Annotated[bool, "write a page beside the output: its name, and .report.html"]
    overwrite: Annotated[bool, "replace an output that exists"]
    header: Annotated[bool | None, "whether the first line of a CSV names its columns; null: as in the training file"]
    delimiter: Annotated[Delimiter | None, "character that separates fields of a CSV; null: as in the training file"]
    escape_formulas: EscapeFormulas
    trust: Annotated[str | None, "your package whose classes may be built from the run folder; null: none"]


@dataclass(kw_only=True)
class UseConfig(VerbConfig):
    """Options of all verbs that use a finished run and write with `overwrite`."""

    run: Annotated[Path, "a run folder of ssl reconstruct, or latest"]
    overwrite: Annotated[bool, "write where there is something already, over files of the same names"]
    trust: Annotated[str | None, "your package whose classes may be built from the run folder; null: none"]


@dataclass(kw_only=True)
class GenerateConfig(UseConfig):
    """Options of ssl generate."""

    run: Annotated[Path, "a run folder of ssl reconstruct or ssl pretrain, or latest"]
    n: Annotated[
        Annotated[int, Range(1, 1_000_000)] | None,
        "number of images, or of texts for each prompt; null: 64 images, 1 text",
    ]
    seed: Annotated[Seed, "seed of all random draws"]
    output: Annotated[
        Path | None,
        "folder for samples.png and samples.npz, null: a new one in outputs; or for texts.jsonl, null: none",
    ]
    prompt: Annotated[str | None, "a text to continue (null: the start of a new one), or with gaps to restore"]
    prompts: Annotated[Path | None, "a file of prompts, one per line, instead of prompt"]
    max_tokens: Annotated[Count, "most tokens to generate: after a prompt, or of a restored text"]
    temperature: Annotated[
        NonNegative | None,
        "below 1 likely tokens become likelier; 0: always the likeliest; null: 0.8, or 0 with beams and for one "
        "restored text",
    ]
    beams: Annotated[Count, "beginnings that a beam search for the likeliest text goes on with; 1: no search"]
    length_penalty: Annotated[
        LengthPenalty, "of a beam search: power of the length that divides a log-probability; more favours long texts"
    ]
    no_repeat_ngram: Annotated[Natural, "no sequence of so many tokens occurs twice in a text; 0: any may"]
    min_tokens: Annotated[Natural, "fewest tokens to generate"]
    top_k: Annotated[Count | None, "draw among the k likeliest tokens; null: no limit"]
    top_p: Annotated[
        Annotated[float, Range(0, 1, open_low=True)] | None,
        "draw among the likeliest tokens whose probabilities add up to this; null: no limit",
    ]
    min_p: Annotated[
        Annotated[float, Range(0, 1)] | None,
        "draw among the tokens at least this likely, relative to the likeliest; null: no limit",
    ]
    repetition_penalty: Annotated[Annotated[float, Range(1)], "makes earlier tokens less likely; 1: no penalty"]
    stop: Annotated[list[str], r"strings that end a text and are left out; \n is a new line"]
    batch_size: Annotated[Count, "texts generated at a time"]
    precision: Annotated[
        Literal["auto", "32-true", "bf16-true"],
        "of the weights; auto: bf16-true if the CPU supports it, which is twice as fast",
    ]


@dataclass(kw_only=True)
class FillConfig(UseConfig):
    """Options of ssl fill."""

    run: Annotated[Path, "a run folder of ssl pretrain, or latest"]
    text: Annotated[str | list[str] | None, "a text with [MASK] for what is missing, or several texts"]
    input: Annotated[Path | None, "a file of such texts, one per line, instead of text"]
    n: Annotated[Count, "candidates for each mask"]
    output: Annotated[
        Annotated[str, Pattern(r".+\.jsonl", "a path that ends in .jsonl")] | None,
        "file for the candidates; null: no file",
    ]


@dataclass(kw_only=True)
class SummarizeConfig(UseConfig):
    """Options of ssl summarize."""

    run: Annotated[Path, "a run folder of ssl reconstruct on articles, or latest"]
    text: Annotated[str | list[str] | None, "a text to summarize, or several"]
    input: Annotated[Path | None, "a file of such texts, one per line, instead of text"]
    output: Annotated[
        Annotated[str, Pattern(r".+\.jsonl", "a path that ends in .jsonl")] | None,
        "file for the summaries; null: they are printed",
    ]


@dataclass(kw_only=True)
class PredictConfig(UseConfig):
    """Options of ssl predict."""

    run: Annotated[Path, "a run folder of ssl finetune, or latest"]
    text: Annotated[str | list[str] | None, "a text to predict the label of, or to write another from; or several"]
    pair: Annotated[str | list[str] | None, "for a task on pairs: the second text, or as many as there are of text"]
    question: Annotated[str | list[str] | None, "a question about the context, or several"]
    context: Annotated[str | None, "the passage that contains the answer"]
    input: Annotated[
        Path | None,
        "a file instead: .csv, .tsv, .jsonl, .json, .parquet, .txt with a text per line, .conll, .conllu; may be "
        "compressed; of a run on speech or images, a recording or an image, or a folder of them",
    ]
    output: Annotated[
        Annotated[str, Pattern(r".+\.(jsonl|csv)", "a path that ends in .jsonl or .csv")] | None,
        "with input: file for the predictions",
    ]
    rejects: Annotated[Path | None, "file for records that can't be read; null: rejects.csv beside the output"]
    escape_formulas: EscapeFormulas
    precision: Annotated[
        Literal["auto", "32-true", "bf16-mixed"], "auto: that of the run's validations, whose numbers these are"
    ]


@dataclass(kw_only=True)
class ExportConfig(UseConfig):
    """Options of ssl export."""

    run: Annotated[Path, "a run folder of ssl pretrain, or latest"]
    output: Annotated[Path, "folder for the checkpoint, which transformers can read; of images torchvision"]


@dataclass(kw_only=True)
class EmbedConfig(UseConfig):
    """Options of ssl embed."""

    data: Annotated[Any, "the data set whose images are embedded; null: that of the run, in its splits"]
    input: Annotated[Path | None, "an image, or a folder of images, instead of a data set"]
    map: Annotated[Literal["tsne", "pca"], "how codes are projected to two dimensions for the map"]
    output: Annotated[Path | None, "folder for codes.parquet and the map; null: a new one in outputs"]
    seed: Annotated[Seed, "of the map, and of the splits of a data set from data="]
    escape_formulas: EscapeFormulas


@dataclass(kw_only=True)
class CompressConfig(UseConfig):
    """Options of ssl compress."""

    input: Annotated[Path, "an image or a recording, or a folder of them"]
    output: Annotated[Annotated[str, Pattern(r".+\.sslz", "a path that ends in .sslz")], "file for the codes"]


@dataclass(kw_only=True)
class DecompressConfig(UseConfig):
    """Options of ssl decompress."""

    input: Annotated[Annotated[str, Pattern(r".+\.sslz", "a path that ends in .sslz")], "a file of ssl compress"]
    output: Annotated[Path, "folder for the images, as PNG, or the recordings, as WAV"]


@dataclass(kw_only=True)
class ConvertConfig(UseConfig):
    """Options of ssl convert."""

    source: Annotated[Path, "a recording, or a folder of recordings, that say what is to be said"]
    target: Annotated[str, "whose voice: a speaker of the run, or a recording or a folder of recordings"]
    output: Annotated[
        Path | None, "a .wav file, with its spectrograms beside it, or a folder; null: a new one in outputs"
    ]
    vocoder: Vocoder
    escape_formulas: EscapeFormulas


@dataclass(kw_only=True)
class UnitsConfig(UseConfig):
    """Options of ssl units."""

    input: Annotated[Path, "a recording, or a folder of recordings"]
    layer: Annotated[Natural | None, "of a speech_bert: the layer whose vectors are sorted; null: the middle one"]
    num_units: Annotated[Annotated[int, Range(2, 10_000)] | None, "of a speech_bert: how many units; null: 50"]
    seed: Annotated[Seed, "of the k-means classes of a layer"]
    output: Annotated[Path | None, "folder for units.tsv and the figures; null: a new one in outputs"]
    escape_formulas: EscapeFormulas
