"""The commands of ``sksemantic``."""

from typing import Annotated

import typer

from sksemantic._cli.command import command, reported
from sksemantic._cli.options import (
    DataFile,
    Force,
    Loading,
    Prompt,
    Reading,
    SavedModel,
    Serving,
    TrainFile,
    Training,
)
from sksemantic._version import __version__

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    with reported():
        app(prog_name="sksemantic")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sksemantic {__version__}")
        raise typer.Exit


@app.callback()
def sksemantic(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the version.",
        ),
    ] = False,
) -> None:
    """Fit a frozen language model to the texts of a file, and predict others."""


@app.command()
@command
def fit(
    train: TrainFile,
    *,
    out: Annotated[str, typer.Option(help="Directory to save the model in.")],
    prompt: Prompt = None,
    test: Annotated[
        str | None, typer.Option(help="File to score the model on.")
    ] = None,
    test_size: Annotated[
        float | None,
        typer.Option(
            min=0.001, max=0.999, help="Share of the rows to hold out and score on."
        ),
    ] = None,
    with_backbone: Annotated[
        bool, typer.Option("--with-backbone", help="Save the language model as well.")
    ] = False,
    force: Force = False,
    training: Training,
    reading: Reading,
) -> None:
    """Train on the rows of a file, and save the model."""
    from sksemantic._cli import fitting

    fitting.run(
        train,
        out=out,
        prompt=prompt,
        test=test,
        test_size=test_size,
        force=force,
        with_backbone=with_backbone,
        reading=reading,
        training=training,
    )


@app.command()
@command
def predict(
    model_directory: SavedModel,
    file: DataFile,
    *,
    out: Annotated[
        str, typer.Option(help="File of the predictions; '-' is standard output.")
    ] = "-",
    proba: Annotated[
        bool, typer.Option("--proba", help="Add the probability of each class.")
    ] = False,
    only_predictions: Annotated[
        bool,
        typer.Option("--only-predictions", help="Leave out the columns of the file."),
    ] = False,
    force: Force = False,
    loading: Loading,
    reading: Reading,
) -> None:
    """Predict the rows of a file, of any size."""
    from sksemantic._cli import predicting

    predicting.run(
        model_directory,
        file,
        out=out,
        proba=proba,
        only_predictions=only_predictions,
        force=force,
        reading=reading,
        loading=loading,
    )


@app.command()
@command
def evaluate(
    model_directory: SavedModel,
    file: DataFile,
    *,
    target: Annotated[
        str | None, typer.Option(help="Column of the target. Default: that of fit.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    loading: Loading,
    reading: Reading,
) -> None:
    """Score a model on the rows of a file."""
    from sksemantic._cli import evaluating

    evaluating.run(
        model_directory,
        file,
        target=target,
        as_json=json,
        reading=reading,
        loading=loading,
    )


@app.command()
@command
def explain(
    model_directory: SavedModel,
    file: DataFile,
    *,
    n: Annotated[
        int, typer.Option("-n", min=1, max=1000, help="How many rows, from the first.")
    ] = 5,
    label: Annotated[
        str | None, typer.Option(help="Class to explain. Default: the predicted one.")
    ] = None,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a page, print nothing.")
    ] = None,
    force: Force = False,
    loading: Loading,
    reading: Reading,
) -> None:
    """Show which words of the first texts decide: for a class green, against it red."""
    from sksemantic._cli import explaining

    explaining.run(
        model_directory,
        file,
        n=n,
        label=label,
        html=html,
        force=force,
        reading=reading,
        loading=loading,
    )


@app.command()
@command
def compare_prompts(
    train: TrainFile,
    *,
    prompt: Annotated[
        list[str] | None, typer.Option(help="A prompt. Repeat it for each.")
    ] = None,
    prompts_file: Annotated[
        str | None,
        typer.Option("--prompts", help="File of prompts: one a line, or a JSON list."),
    ] = None,
    cv: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation.")] = 3,
    scoring: Annotated[
        str | None, typer.Option(help="Score of scikit-learn. Default: accuracy or r2.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="File to write the table to.")] = None,
    force: Force = False,
    training: Training,
    reading: Reading,
) -> None:
    """Compare prompts by cross-validation."""
    from sksemantic._cli import comparing

    comparing.run(
        train,
        prompts=prompt or [],
        prompts_file=prompts_file,
        cv=cv,
        scoring=scoring,
        out=out,
        force=force,
        reading=reading,
        training=training,
    )


@app.command()
@command
def estimate_time(
    train: TrainFile, *, prompt: Prompt = None, training: Training, reading: Reading
) -> None:
    """Estimate seconds and memory of a fit."""
    from sksemantic._cli import fitting

    fitting.estimate_time(train, prompt=prompt, reading=reading, training=training)


@app.command()
@command
def serve(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Directories that fit wrote."),
    ],
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen at. Default: this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Another name that clients may call the server by; may be repeated. "
            "Default: this machine's own at a loopback address, else all."
        ),
    ] = None,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="Log each request.")
    ] = False,
    serving: Serving,
) -> None:
    """Serve models over HTTP, and a page to try them."""
    from sksemantic._cli import serving as command_module

    command_module.run(
        models,
        host=host,
        port=port,
        allowed_hosts=allowed_host or [],
        access_log=access_log,
        serving=serving,
    )
