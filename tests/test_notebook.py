"""A notebook as a user has one: an estimator shown, explained and completed.

MLflow's autologging is on, where MLflow is installed.
"""

import asyncio
import json

import pytest
from conftest import FAST, LABELS, TEXTS

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

FIT = """
import json, os, warnings
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        import mlflow
    except ImportError:
        pass
    else:
        mlflow.set_tracking_uri("runs")
        mlflow.sklearn.autolog(silent=True, log_models=False)

from sksemantic import SKTuningClassifier, TokenAttributionDisplay

params, texts, labels = json.load(open("data.json"))
clf = SKTuningClassifier(**params).fit(texts, labels)
"""
UNFITTED = "SKTuningClassifier()"
EXPLAINED = "TokenAttributionDisplay.from_estimator(clf, texts[:1])"


@pytest.fixture(scope="module")
def notebook(tiny_bert, tmp_path_factory):
    """Return an executed notebook, and what the kernel completes after `clf.pre`."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "data.json").write_text(
        json.dumps([{"model": tiny_bert, **FAST}, TEXTS, LABELS])
    )
    sources = [FIT, "clf", UNFITTED, EXPLAINED]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    client = nbclient.NotebookClient(
        nbformat.v4.new_notebook(cells=cells),
        timeout=120,
        resources={"metadata": {"path": str(folder)}},
    )
    return client.nb, asyncio.run(execute(client))


async def execute(client):
    async with client.async_setup_kernel():
        for index, cell in enumerate(client.nb.cells):
            await client.async_execute_cell(cell, index)
        reply = await client.kc.complete("clf.pre", reply=True)
    return reply["content"]["matches"]


def shown(notebook, index):
    """Return what a cell shows, by MIME type; it must have printed nothing else."""
    (output,) = notebook[0].cells[index].outputs
    return output.data


def test_cell_when_it_fits_then_prints_nothing(notebook):
    # What dependencies say on import of what they cannot load.
    foreign = ("torchao", "torch/utils/_pytree", "tqdm")
    outputs = notebook[0].cells[0].outputs
    lines = "".join(out.get("text", str(out)) for out in outputs).splitlines()
    own = [line for line in lines if not any(name in line for name in foreign)]
    assert own == []


def test_cell_when_it_ends_with_a_fitted_estimator_then_shows_what_it_learned(notebook):
    data = shown(notebook, 1)
    assert "one label for each text</td>" in data["text/html"]
    assert "% of the backbone's" in data["text/plain"]


def test_cell_when_it_ends_with_an_unfitted_estimator_then_shows_the_call(notebook):
    data = shown(notebook, 2)
    assert data["text/plain"] == "SKTuningClassifier()"
    assert "sk-top-container" in data["text/html"]


def test_cell_when_it_ends_with_an_explanation_then_shows_coloured_words(notebook):
    data = shown(notebook, 3)
    assert "background" in data["text/html"]


def test_kernel_when_asked_to_complete_then_offers_the_methods(notebook):
    names = {match.rpartition(".")[2] for match in notebook[1]}
    assert {"predict", "predict_proba"} <= names
