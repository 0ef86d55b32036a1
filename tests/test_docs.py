"""The Python blocks of the documents run, in order; the guide's tables fit the code."""

import re
import warnings
from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest
from conftest import LABELS, TEXTS

from sksemantic import SKTuningClassifier, SKTuningRegressor
from sksemantic._backbone.source import BackboneSource
from sksemantic._inputs.model_options import ModelOptions
from sksemantic._model.config import ModelConfig
from sksemantic._tasks.linear_probe import LinearProbe
from sksemantic._training.comparison import Comparison
from sksemantic._training.options import OPTION_NAMES
from sksemantic._training.presets import PRESETS

ROOT = Path(__file__).parents[1]
ESTIMATOR_CALL = re.compile(r"\b(SKTuning\w+)\(")
FOLDS = re.compile(r"\bcv=\d+")


def with_one_epoch(estimator, *args, **params):
    """Make an estimator that passes over the texts once."""
    return estimator(*args, **params | {"max_epochs": 1})


@pytest.mark.real
@pytest.mark.parametrize("name", ["README.md", "docs/user_guide.md", "docs/tasks.md"])
def test_document_when_its_code_is_run_then_works(name, minilm, tmp_path, monkeypatch):
    if not (ROOT / name).is_file():
        pytest.skip("not part of this distribution")
    text = (ROOT / name).read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) > 4
    monkeypatch.chdir(tmp_path)  # where files are saved
    namespace = {
        "X": TEXTS[:12],
        "y": LABELS[:12],
        "X_new": TEXTS[12:14],
        "X_test": TEXTS[12:],
        "y_test": LABELS[12:],
        "with_one_epoch": with_one_epoch,
    }
    for block in blocks:
        block = ESTIMATOR_CALL.sub(r"with_one_epoch(\1, ", block)
        block = FOLDS.sub("cv=2", block)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(block, name, "exec"), namespace)


def guide_rows(start, heading):
    """Return the cells of the first table with a heading, after some words."""
    path = ROOT / "docs/user_guide.md"
    if not path.is_file():
        pytest.skip("not part of this distribution")
    text = path.read_text("utf-8").partition(start)[2].partition(heading)[2]
    lines = text.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def value_of(cell):
    """Return the value that a cell has in code, before any words."""
    return eval(re.match("`(.+?)`", cell)[1])


def names_of(rows):
    """Return the names that the first cells have in code."""
    return sorted(name for row in rows for name in re.findall(r"`(\w+)`", row[0]))


def test_guide_when_it_lists_the_parameters_then_all_with_their_defaults():
    heading = "| parameter | default | what it is |"
    rows = [
        row
        for start in ("five parameters:", "of all estimators:", "of some estimators,")
        for row in guide_rows(start, heading)
    ]
    params = dict(signature(SKTuningClassifier).parameters)
    params |= signature(SKTuningRegressor).parameters
    assert names_of(rows) == sorted(params)
    defaults = {name: param.default for name, param in params.items()}
    assert {row[0].strip("`"): value_of(row[1]) for row in rows} == defaults


def test_guide_when_it_lists_the_keys_of_model_kwargs_then_all_with_their_defaults():
    rows = guide_rows("### The two dictionaries", "| key | default | what it is |")
    found = {row[0].strip("`"): value_of(row[1]) for row in rows}
    assert found == vars(ModelOptions())


def test_guide_when_it_lists_the_keys_of_training_then_all_with_both_defaults():
    rows = guide_rows("### The two dictionaries", "| key | encoder | causal |")
    assert names_of([row[:1] for row in rows]) == sorted(OPTION_NAMES)
    for name, encoder, causal, _ in rows:
        for preset, cell in (("encoder", encoder), ("causal", causal)):
            assert value_of(cell) == getattr(PRESETS[preset], name.strip("`")), name


def test_guide_when_it_lists_the_presets_then_all_with_their_values():
    rows = guide_rows("### Presets", "| preset | when | what differs |")
    assert [row[0].strip('"') for row in rows] == [*PRESETS]
    for quoted, _, values in rows:
        name = quoted.strip('"')
        preset, base = PRESETS[name], PRESETS[name.partition(",")[0]]
        found = {key: float(x) for key, x in re.findall(r"`(\w+)` ([\d.e-]+)", values)}
        differing = {
            key: value
            for key, value in vars(preset).items()
            if value != getattr(base, key) and not isinstance(value, str)
        }
        assert found == (differing or found), name
        assert all(getattr(preset, key) == value for key, value in found.items()), name


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        ("`comparison_` is", Comparison),
        ("`linear_probe_` is", LinearProbe),
        ("`config_.model` the", ModelConfig),
        ("`backbone_source_` says which weights", BackboneSource),
    ],
)
def test_guide_when_it_lists_what_fit_leaves_then_all_fields(start, kind):
    rows = guide_rows(start, "| field | what it is |")
    assert names_of(rows) == sorted(field.name for field in fields(kind))
