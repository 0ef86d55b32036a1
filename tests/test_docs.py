"""The Python blocks of the documents run, in order; the guide's tables fit the code."""

import re
import warnings
from copy import deepcopy
from dataclasses import fields
from functools import cache
from importlib.util import find_spec
from inspect import signature
from pathlib import Path

import pytest
from conftest import LABELS, TEXTS
from run_page import NOT_RUN

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
DATA_CALL = re.compile(r"\bload_definitions\(")
PARAMETERS = "parameters.md"


# Pages that run the default model. The others run a tiny one, which is faster, but has
# few layers, and is not found again by its name after it was saved.
GUIDE = ("methods", "saving", "serving", "speed")
REAL = ("README.md", "docs/index.md", "docs/tutorial.md")
REAL = (*REAL, *(f"docs/guide/{name}.md" for name in GUIDE))


def with_one_epoch(model):
    """Return what makes an estimator that passes over the texts once.

    It has the model, or four layers of the one that is named, or is the default.
    """

    def make(estimator, *args, **params):
        defaults = {"model_kwargs": {"n_layers": 4}}
        if model is not None and not args:
            defaults = {"model": model}
        return estimator(*args, **defaults | params | {"max_epochs": 1})

    return make


def few_of_each(load, **options):
    """Load two texts of each kind."""
    X, y = load(**options)
    kept = sorted(i for kind in set(y) for i in (y == kind).nonzero()[0][:2])
    return [X[i] for i in kept], y[kept]


def blocks_of(page):
    """Return the Python blocks of a page."""
    text = page.read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def is_runnable(block):
    """Whether a test can run a block, and all packages that it imports are there."""
    if any(words in block for words in NOT_RUN):
        return False
    imports = re.findall(r"^(?:from|import) ([\w.]+)", block, re.MULTILINE)
    return all(map(is_installed, imports))


def is_installed(name):
    """Whether a module is there; of a package that is not, none is."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


PAGES = [
    str(page.relative_to(ROOT))
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if page.is_file() and "_build" not in page.parts and blocks_of(page)
]


def test_pages_when_they_are_looked_for_then_the_guide_is_among_them():
    if not (ROOT / "docs").is_dir():
        pytest.skip("not part of this distribution")
    assert len(PAGES) > 20


@pytest.fixture(scope="module")
def names_with():
    """Return what makes the names that a page may use without making them."""

    @cache
    def make(model):
        make_estimator = with_one_epoch(model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            clf = make_estimator(SKTuningClassifier).fit(TEXTS[:12], LABELS[:12])
        return {
            "X": TEXTS[:12],
            "y": LABELS[:12],
            "X_new": TEXTS[12:14],
            "X_test": TEXTS[12:],
            "y_test": LABELS[12:],
            "with_one_epoch": make_estimator,
            "few_of_each": few_of_each,
            "clf": clf,
        }

    return make


@pytest.mark.parametrize("name", [name for name in PAGES if name not in REAL])
def test_page_when_its_code_is_run_then_works(
    name, names_with, tiny_bert, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # where files are saved
    run(name, names_with(tiny_bert))


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_page_when_its_code_is_run_with_the_default_model_then_works(
    name, names_with, minilm, tmp_path, monkeypatch
):
    if not (ROOT / name).is_file():
        pytest.skip("not part of this distribution")
    monkeypatch.chdir(tmp_path)
    run(name, names_with(None))


def run(name, names):
    """Run the blocks of a page, one after the other."""
    namespace = names | {"clf": deepcopy(names["clf"])}
    for block in filter(is_runnable, blocks_of(ROOT / name)):
        block = ESTIMATOR_CALL.sub(r"with_one_epoch(\1, ", block)
        block = FOLDS.sub("cv=2", block)
        block = DATA_CALL.sub("few_of_each(load_definitions, ", block)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(block, name, "exec"), namespace)


def guide_rows(page, start, heading):
    """Return the cells of the first table with a heading, after some words."""
    path = ROOT / "docs/guide" / page
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
        for row in guide_rows(PARAMETERS, start, heading)
    ]
    params = dict(signature(SKTuningClassifier).parameters)
    params |= signature(SKTuningRegressor).parameters
    assert names_of(rows) == sorted(params)
    defaults = {name: param.default for name, param in params.items()}
    assert {row[0].strip("`"): value_of(row[1]) for row in rows} == defaults


def test_guide_when_it_lists_the_keys_of_model_kwargs_then_all_with_their_defaults():
    rows = guide_rows(
        PARAMETERS, "## The two dictionaries", "| key | default | what it is |"
    )
    found = {row[0].strip("`"): value_of(row[1]) for row in rows}
    assert found == vars(ModelOptions())


def test_guide_when_it_lists_the_keys_of_training_then_all_with_both_defaults():
    rows = guide_rows(
        PARAMETERS, "## The two dictionaries", "| key | encoder | causal |"
    )
    assert names_of([row[:1] for row in rows]) == sorted(OPTION_NAMES)
    for name, encoder, causal, _ in rows:
        for preset, cell in (("encoder", encoder), ("causal", causal)):
            assert value_of(cell) == getattr(PRESETS[preset], name.strip("`")), name


def test_guide_when_it_lists_the_presets_then_all_with_their_values():
    rows = guide_rows(PARAMETERS, "## Presets", "| preset | when | what differs |")
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
    rows = guide_rows("after_fit.md", start, "| field | what it is |")
    assert names_of(rows) == sorted(field.name for field in fields(kind))


def test_serving_page_when_it_shows_the_dockerfile_then_that_of_the_examples():
    page = (ROOT / "docs/guide/serving.md").read_text("utf-8")
    assert (ROOT / "examples/docker/Dockerfile").read_text("utf-8") in page
