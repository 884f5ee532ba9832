"""The verbs that use a finished run: ssl score, generate, fill, predict, export, embed, compress, decompress."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from ssl_cli.config.run import VerbConfig
from ssl_cli.config.train_verbs import IMAGE_HOMES
from ssl_cli.config.types import Count, Delimiter, NonNegative, Path, Pattern, Range, Seed


@dataclass(kw_only=True)
class ScoreConfig(VerbConfig):
    run: Annotated[Path, "a run folder of ssl detect, or latest"]
    input: Annotated[Path, "a .csv (or .csv.gz, .bz2, .zst, .lz4) or .parquet file of rows to score"]
    output: Annotated[
        Annotated[str, Pattern(r".+\.(csv|parquet)", "a path that ends in .csv or .parquet")], "where the scores go"
    ]
    rejects: Annotated[Path | None, "where rows that can't be read go; null: rejects.csv beside the output"]
    keep: Annotated[list[str], "columns of the input to carry over into the output"]
    overwrite: Annotated[bool, "replace an output that exists"]
    header: Annotated[bool | None, "whether a CSV's first line names its columns; null: as in the training file"]
    delimiter: Annotated[Delimiter | None, "what parts the fields of a CSV; null: as in the training file"]
    trust: Annotated[str | None, "package whose classes may be built from the run folder: your own"]


@dataclass(kw_only=True)
class UseConfig(VerbConfig):
    """What the verbs have that use a finished run."""

    run: Annotated[Path, "a run folder of ssl reconstruct, or latest"]
    overwrite: Annotated[bool, "write where there is something already, over files of the same names"]
    trust: Annotated[str | None, "package whose classes may be built from the run folder: your own"]


@dataclass(kw_only=True)
class GenerateConfig(UseConfig):
    # What has a say where the run writes texts, and none where it draws images.
    of_text: ClassVar[tuple[str, ...]] = (
        *("prompt", "prompts", "max_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "stop"),
        *("batch_size", "precision"),
    )

    run: Annotated[Path, "a run folder of ssl reconstruct or ssl pretrain, or latest"]
    n: Annotated[Count | None, "images to draw, or texts for each prompt; null: 64 images, 1 text"]
    seed: Annotated[Seed, "every draw follows from it"]
    output: Annotated[
        Path | None,
        "folder for samples.png and samples.npz, null: a new one in outputs; or for texts.jsonl, null: none",
    ]
    prompt: Annotated[str | None, "a text to go on from; null: the start of a new one"]
    prompts: Annotated[Path | None, "a file of prompts, one a line, instead of prompt"]
    max_tokens: Annotated[Count, "tokens written at most, after the prompt's"]
    temperature: Annotated[NonNegative, "below 1 likely tokens become likelier; 0: always the likeliest"]
    top_k: Annotated[Count | None, "draw among the k likeliest tokens; null: no limit"]
    top_p: Annotated[
        Annotated[float, Range(0, 1, open_low=True)] | None, "draw among the likeliest tokens that make up this share"
    ]
    min_p: Annotated[
        Annotated[float, Range(0, 1)] | None, "draw among the tokens at least this likely, measured by the likeliest"
    ]
    repetition_penalty: Annotated[Annotated[float, Range(1)], "makes what was there less likely; 1: no penalty"]
    stop: Annotated[list[str], r"texts that end a text and are left out; \n is a new line"]
    batch_size: Annotated[Count, "texts written at a time"]
    precision: Annotated[
        Literal["auto", "32-true", "bf16-true"], "of the weights; auto: bf16-true where the CPU has it, twice as fast"
    ]


@dataclass(kw_only=True)
class FillConfig(UseConfig):
    run: Annotated[Path, "a run folder of ssl pretrain, or latest"]
    text: Annotated[str | list[str] | None, "a text in which [MASK] stands for each word that is wanted, or several"]
    input: Annotated[Path | None, "a file of such texts, one a line, instead of text"]
    n: Annotated[Count, "answers to each mask"]
    output: Annotated[
        Annotated[str, Pattern(r".+\.jsonl", "a path that ends in .jsonl")] | None,
        "where the answers go too; null: no file",
    ]


@dataclass(kw_only=True)
class PredictConfig(UseConfig):
    run: Annotated[Path, "a run folder of ssl finetune, or latest"]
    text: Annotated[str | list[str] | None, "a text to judge, or several"]
    pair: Annotated[str | list[str] | None, "the second text, for a task of pairs; as many as there are of text"]
    question: Annotated[str | list[str] | None, "what is asked of the context, or several questions"]
    context: Annotated[str | None, "the passage in which the answer is"]
    input: Annotated[
        Path | None,
        "a file instead: .csv, .tsv, .jsonl, .json, .parquet, .txt of a text a line, .conll, .conllu; plain or packed",
    ]
    output: Annotated[
        Annotated[str, Pattern(r".+\.(jsonl|csv)", "a path that ends in .jsonl or .csv")] | None,
        "with input: where the answers go",
    ]
    rejects: Annotated[Path | None, "where records that can't be read go; null: rejects.csv beside the output"]
    precision: Annotated[
        Literal["auto", "32-true", "bf16-true"], "of the weights; auto: bf16-true where the device has it"
    ]


@dataclass(kw_only=True)
class ExportConfig(UseConfig):
    run: Annotated[Path, "a run folder of ssl pretrain, or latest"]
    output: Annotated[Path, "the folder that transformers will read"]


@dataclass(kw_only=True)
class EmbedConfig(UseConfig):
    data_needs: ClassVar[str] = "image_splits"
    homes: ClassVar[dict[str, tuple[str, ...]]] = IMAGE_HOMES

    data: Annotated[Any, "the data set whose images are embedded; null: that of the run, in its splits"]
    input: Annotated[Path | None, "an image, or a folder of images, instead of a data set"]
    map: Annotated[Literal["tsne", "pca"], "how a code becomes a point of the map"]
    output: Annotated[Path | None, "folder for codes.parquet and the map; null: a new one in outputs"]
    seed: Annotated[Seed, "of the map, and of the splits of a data set given by data="]


@dataclass(kw_only=True)
class CompressConfig(UseConfig):
    input: Annotated[Path, "an image, or a folder of images"]
    output: Annotated[Annotated[str, Pattern(r".+\.sslz", "a path that ends in .sslz")], "where the codes go"]


@dataclass(kw_only=True)
class DecompressConfig(UseConfig):
    input: Annotated[Annotated[str, Pattern(r".+\.sslz", "a path that ends in .sslz")], "a file of ssl compress"]
    output: Annotated[Path, "the folder that the images go to, as PNG"]
