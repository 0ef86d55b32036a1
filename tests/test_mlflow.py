"""MLflow, where it is installed: what autologging logs of a fit, and saved models."""

import json

import pytest
from conftest import LABELS, TEXTS
from sklearn.linear_model import LogisticRegression

from sksemantic._tasks.unpatched import fit_unpatched

RUNS = """
    import json, mlflow, os, warnings
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    mlflow.set_tracking_uri("runs")
    mlflow.set_experiment("one")
    mlflow.sklearn.autolog(silent=True, log_models=False)

    import numpy as np
    from sksemantic import SKTuningClassifier, SKTuningRegressor

    warnings.simplefilter("ignore")
    params, texts, labels = json.load(open("data.json"))
    numbers = np.where(np.array(labels) == "good", 5.0, 1.0)
    indicators = np.stack([numbers > 2, np.arange(24) % 2 > 0], 1).astype(int)
    with mlflow.start_run() as run:
        SKTuningClassifier(**params).fit(texts, labels)
    SKTuningClassifier(**params).fit(texts, indicators)
    SKTuningRegressor(**params, loss="huber").fit(texts, numbers)
    runs = mlflow.search_runs(output_format="list")
    assert [each.info.run_id for each in runs] == [run.info.run_id]
    assert not {**runs[0].data.params, **runs[0].data.metrics}

    from sklearn.linear_model import Ridge
    Ridge().fit(indicators, numbers)  # of the user
    print(len(mlflow.search_runs(output_format="list")))
"""


@pytest.mark.slow
def test_autolog_when_a_model_is_fitted_then_logs_no_inner_fit(
    fast, run_python, tmp_path
):
    pytest.importorskip("mlflow")
    (tmp_path / "data.json").write_text(json.dumps([fast, TEXTS, LABELS]))
    assert run_python(RUNS).split()[-1] == "2"


@pytest.mark.slow
def test_model_when_saved_with_mlflow_then_predicts_identically(
    fitted, run_python, tmp_path
):
    pytest.importorskip("mlflow")
    fitted.save_pretrained(tmp_path / "clf", backbone=True)
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS))
    found = run_python(
        """
        import json, mlflow, os, warnings
        from sksemantic import SKTuningClassifier
        warnings.simplefilter("ignore")
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
        texts = json.load(open("texts.json"))
        clf = SKTuningClassifier.from_pretrained("clf")
        for name in ("skops", "cloudpickle"):
            trusted = ["sksemantic.SKTuningClassifier"] if name == "skops" else None
            mlflow.sklearn.save_model(
                clf,
                name,
                serialization_format=name,
                skops_trusted_types=trusted,
                pip_requirements=["sksemantic"],
            )
            loaded = mlflow.sklearn.load_model(name)
            print(loaded.predict_proba(texts).tolist())
            print(mlflow.pyfunc.load_model(name).predict(texts).tolist())
        """
    ).splitlines()
    expected = [fitted.predict_proba(TEXTS).tolist(), fitted.predict(TEXTS).tolist()]
    assert found == [str(each) for each in 2 * expected]


def test_fit_when_mlflow_has_patched_it_then_the_patch_is_passed_over(monkeypatch):
    patch = {"__name__": "mlflow.utils.autologging_utils.safety", "calls": []}
    exec("def fit(*args): calls.append(args)", patch)
    patch["fit"].__wrapped__ = LogisticRegression.fit
    monkeypatch.setattr(LogisticRegression, "fit", patch["fit"])
    model = LogisticRegression()
    fit_unpatched(model, [[0.0], [1.0]], [0, 1], sample_weight=[1, 1])
    assert not patch["calls"]
    assert model.predict([[2.0]]) == 1
    with pytest.raises(ValueError, match="The 'C' parameter"):  # still checked
        fit_unpatched(LogisticRegression(C=-1), [[0.0], [1.0]], [0, 1])
