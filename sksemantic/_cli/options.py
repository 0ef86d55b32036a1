"""Options that several commands share."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer


class Format(StrEnum):
    """How rows are written in a file."""

    csv = "csv"
    tsv = "tsv"
    jsonl = "jsonl"
    parquet = "parquet"


class Empty(StrEnum):
    """What becomes of rows with an empty cell."""

    error = "error"
    drop = "drop"
    keep = "keep"


class Task(StrEnum):
    """What is predicted: labels or numbers."""

    classification = "classification"
    regression = "regression"


_FILE = "CSV, TSV, JSONL or Parquet; '-' is standard input."
TrainFile = Annotated[str, typer.Argument(metavar="TRAIN", help=_FILE)]
DataFile = Annotated[str, typer.Argument(metavar="FILE", help=_FILE)]
SavedModel = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Directory that fit wrote, or a hub id."),
]
Prompt = Annotated[
    str | None, typer.Option(help="What the model reads before each text.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there already.")]


@dataclass(frozen=True)
class Reading:
    """How a file is read."""

    format: Annotated[
        Format | None,
        typer.Option(help="By default by the file's name; csv for '-'."),
    ] = None
    delimiter: Annotated[
        str | None, typer.Option(help="Between the cells of a CSV. Default: ','.")
    ] = None
    encoding: Annotated[str, typer.Option(help="Of a text file.")] = "utf-8-sig"
    empty: Annotated[
        Empty | None,
        typer.Option(
            help="Rows with an empty cell: 'error' names them, 'drop' leaves them out, "
            "'keep' reads an empty text. Default: keep in predict, evaluate and "
            "explain, error elsewhere."
        ),
    ] = None


@dataclass(frozen=True)
class Training:
    """What is learned, and how."""

    text: Annotated[
        list[str],
        typer.Option(help="Column of the texts. Repeat it for several texts a row."),
    ]
    target: Annotated[str, typer.Option(help="Column of the labels or numbers.")]
    task: Annotated[
        Task | None, typer.Option(help="By default by what is in the target.")
    ] = None
    model: Annotated[
        str | None, typer.Option(help="Hub id, directory or .gguf file.")
    ] = None
    method: Annotated[str | None, typer.Option(help="prefix or prompt.")] = None
    max_epochs: Annotated[int | None, typer.Option(help="Passes over the texts.")] = (
        None
    )
    max_length: Annotated[
        int | None, typer.Option(help="Tokens that are read at once.")
    ] = None
    class_weight: Annotated[
        str | None, typer.Option(help="'balanced', or JSON: label to weight.")
    ] = None
    ordinal: Annotated[
        bool, typer.Option("--ordinal", help="The sorted labels are in order.")
    ] = False
    label_texts: Annotated[
        str | None,
        typer.Option(help="JSON file: label to text, or texts. Or 'labels'."),
    ] = None
    random_state: Annotated[
        int | None, typer.Option(help="Seed of everything random.")
    ] = None
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N or mps.")] = None
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds that a fit may take.")
    ] = None
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other parameter of the estimator. The value is JSON or text.",
        ),
    ] = None


@dataclass(frozen=True)
class Loading:
    """How a saved model is loaded."""

    text: Annotated[
        list[str] | None,
        typer.Option(help="Column of the texts. Default: that of fit."),
    ] = None
    model: Annotated[
        str | None,
        typer.Option(help="Where the language model is now, if it has moved."),
    ] = None
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N or mps.")] = None


@dataclass(frozen=True)
class Serving:
    """What a server allows, and how long it waits."""

    token: Annotated[
        str | None,
        typer.Option(
            envvar="SKSEMANTIC_TOKEN",
            help="What clients send as 'Authorization: Bearer TOKEN'.",
        ),
    ] = None
    models_folder: Annotated[
        str | None,
        typer.Option(help="Folder whose models may be loaded while the server runs."),
    ] = None
    device: Annotated[
        str | None, typer.Option(help="Where to load the models. Default: as saved.")
    ] = None
    backbone: Annotated[
        str | None,
        typer.Option(help="Where the backbone is of models whose own is not found."),
    ] = None
    batch_texts: Annotated[
        int, typer.Option(min=1, help="The most texts of one batch.")
    ] = 256
    wait_seconds: Annotated[
        float, typer.Option(min=0.0001, help="How long a text waits for others.")
    ] = 0.005
    queue_texts: Annotated[
        int, typer.Option(min=1, help="The most texts that wait; above it 503.")
    ] = 1024
    request_texts: Annotated[
        int, typer.Option(min=1, help="The most texts of one request; above it 413.")
    ] = 256
    request_bytes: Annotated[
        int, typer.Option(min=1, help="The most bytes of one request; above it 413.")
    ] = 2**20
    timeout_seconds: Annotated[
        float, typer.Option(min=0.001, help="The longest wait; later it is 503.")
    ] = 30.0
