"""`sksemantic compare-prompts`: cross-validate prompts on a file."""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import typer
from sklearn.metrics import get_scorer_names
from sklearn.model_selection import KFold, StratifiedKFold, cross_validate
from tqdm import tqdm

from sksemantic._cli.errors import UsageError, WorkError, did_you_mean
from sksemantic._cli.options import Format, Reading, Task, Training
from sksemantic._cli.parameters import check_prompt, make_estimator
from sksemantic._cli.tables import format_of
from sksemantic._cli.training_data import read_training_data
from sksemantic._cli.writing import check_is_free, row_writer


@dataclass(frozen=True)
class Scored:
    """A prompt, the mean and spread of its scores, and mean seconds of a fit."""

    score: float
    spread: float
    seconds: float
    prompt: str


def run(
    train: str,
    *,
    prompts: list[str],
    prompts_file: str | None,
    cv: int,
    scoring: str | None,
    out: str | None,
    force: bool,
    reading: Reading,
    training: Training,
) -> None:
    """Carry out the command."""
    prompts = [*dict.fromkeys([*prompts, *_read_prompts(prompts_file)])]
    if len(prompts) < 2:
        raise UsageError("Name two prompts or more: --prompt, or --prompts FILE.")
    for prompt in prompts:
        check_prompt(prompt, training.text)
    if scoring is not None and scoring not in get_scorer_names():
        hint = did_you_mean(scoring, get_scorer_names())
        raise UsageError(f"--scoring {scoring!r} is no score of scikit-learn.{hint}")
    if out is not None:
        _check_out(out, force=force)
    data = read_training_data(train, reading, training)
    estimator = make_estimator(training, data.target).set_params(verbose=0)
    X, y = data.labelled()
    is_labels = data.target.task is Task.classification
    splitter = StratifiedKFold if is_labels else KFold
    folds = splitter(cv, shuffle=True, random_state=training.random_state or 0)
    if len(y) < cv:
        raise WorkError(f"--cv {cv} needs {cv} rows with a target. Got {len(y)}.")
    found = []
    for prompt in tqdm(prompts, unit=" prompts", disable=None, leave=False):
        estimator.set_params(prompt=prompt)
        found.append(_scored(estimator, prompt, X, y, folds, scoring))
    found.sort(key=lambda each: -each.score)
    typer.echo(_table(found, scoring or ("accuracy" if is_labels else "R2"), cv))
    if out is not None:
        with row_writer(out, format_of(out) or Format.csv) as write:
            write(pd.DataFrame([vars(each) for each in found]))


def _scored(
    estimator: Any, prompt: str, X: Any, y: list[Any], folds: Any, scoring: str | None
) -> Scored:
    with warnings.catch_warnings():
        # Classes of fewer texts than there are folds are in some of them only.
        warnings.filterwarnings("ignore", "The least populated class")
        found = cross_validate(
            estimator, X, y, cv=folds, scoring=scoring, error_score="raise"
        )
    scores = found["test_score"]
    return Scored(
        round(float(scores.mean()), 6),
        round(float(scores.std()), 6),
        round(float(found["fit_time"].mean()), 1),
        prompt,
    )


def _table(found: list[Scored], name: str, cv: int) -> str:
    lines = [f"{name}, mean and standard deviation of {cv} folds; seconds of a fit"]
    lines.append(f"{'score':>7} {'spread':>7} {'seconds':>8}  prompt")
    for each in found:
        prompt = json.dumps(each.prompt, ensure_ascii=False)[1:-1].replace('\\"', '"')
        lines.append(
            f"{each.score:7.4f} {each.spread:7.4f} {each.seconds:8.1f}  {prompt}"
        )
    return "\n".join(lines)


def _read_prompts(path: str | None) -> list[str]:
    """Return the lines of a file, or the strings of a JSON list."""
    if path is None:
        return []
    try:
        text = Path(path).read_text("utf-8-sig")
        if not path.endswith(".json"):
            return [line for line in text.splitlines() if line.strip()]
        prompts = json.loads(text)
    except (OSError, ValueError) as exc:
        raise UsageError(f"--prompts {path}: {exc}") from exc
    if not isinstance(prompts, list) or not all(isinstance(p, str) for p in prompts):
        raise UsageError(f"--prompts {path} must hold a list of strings.")
    return prompts


def _check_out(out: str, *, force: bool) -> None:
    if format_of(out) is None:
        raise UsageError(f"--out {out!r} must end with .csv, .tsv, .jsonl or .parquet.")
    check_is_free(out, force=force)
