"""The engines themselves, where they are installed: started, asked and stopped."""

import os
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from conftest import LABELS, PROMPT, TEXTS, quietly_fit
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV

from sksemantic import BatchPredictor, SKTuningClassifier, SKTuningTokenClassifier

# What engines warn of, and leave open, is not ours to mend.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]
GRID = {"lr": [1e-3, 2e-2], "prompt": [PROMPT, "what kind of film"]}
FRAME = pd.DataFrame({"id": range(240), "text": TEXTS * 10, "other": TEXTS[::-1] * 10})


@pytest.fixture(params=["dask, 2 processes", "dask, 2 threads", "ray", "loky"])
def engine(request):
    """Start an engine; return what `parallel_config` is told."""
    name = request.param
    if name.startswith("dask"):
        distributed = pytest.importorskip("distributed")
        is_one = name.endswith("threads")
        with (
            distributed.LocalCluster(
                n_workers=1 if is_one else 2,
                threads_per_worker=2 if is_one else 1,
                dashboard_address=None,
            ) as cluster,
            distributed.Client(cluster),
        ):
            yield {"backend": "dask"}
    elif name == "ray":
        ray = pytest.importorskip("ray")
        from ray.util.joblib import register_ray

        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        register_ray()
        yield {"backend": "ray", "n_jobs": 2}
        ray.shutdown()
    else:
        yield {"backend": "loky", "n_jobs": 2}


def searched(estimator, search, **options):
    """Return the scores of a search, and what it has chosen."""
    found = search(estimator, GRID, cv=2, scoring="neg_log_loss", **options)
    quietly_fit(found, TEXTS, LABELS)
    return found.cv_results_["mean_test_score"], found.best_params_


@pytest.mark.parametrize(
    ("search", "options"),
    [(GridSearchCV, {}), (HalvingGridSearchCV, {"min_resources": 12, "factor": 2})],
)
def test_search_when_an_engine_runs_it_then_finds_the_same(
    search, options, engine, classifier
):
    if search is HalvingGridSearchCV:
        options = options | {"random_state": 0}
    scores, best = searched(classifier, search, **options)
    with joblib.parallel_config(**engine):
        found, best_found = searched(classifier, search, **options)
    np.testing.assert_allclose(found, scores, rtol=1e-6)
    assert best_found == best


@pytest.fixture
def predictors(fitted):
    """Return a predictor of labels, and one of probabilities."""
    methods = ("predict", "predict_proba")
    return [BatchPredictor(fitted, "text", method=method) for method in methods]


@pytest.fixture
def tagger(fast):
    tagger = SKTuningTokenClassifier(**fast)
    words = [text.split() for text in TEXTS]
    return quietly_fit(
        tagger,
        words,
        [["a" for _ in each] for each in words[:-1]] + [["b"] * len(words[-1])],
    )


def assert_predicted(table, predictors, fitted):
    """Compare what an engine has found with the estimator's own answers."""
    assert table["prediction"].tolist() == fitted.predict(FRAME["text"]).tolist()
    if "probabilities" in table:
        expected = fitted.predict_proba(FRAME["text"])
        found = np.stack(table["probabilities"])
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_dask_when_partitions_are_mapped_then_types_and_order_are_known(
    predictors, fitted
):
    dataframe = pytest.importorskip("dask.dataframe")
    table = dataframe.from_pandas(FRAME, npartitions=3)
    for predictor in predictors:
        table = table.map_partitions(predictor, meta=predictor.meta(table))
    found = table.compute(scheduler="threads", num_workers=2)
    pd.testing.assert_series_equal(found.dtypes, table.dtypes)
    assert found["id"].tolist() == FRAME["id"].tolist()
    assert_predicted(found, predictors, fitted)


def test_datasets_when_mapped_then_have_the_columns(predictors, fitted):
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_pandas(FRAME)
    for predictor in predictors:
        table = table.map(predictor, batched=True, batch_size=50)
    assert_predicted(table.to_pandas(), predictors, fitted)


@pytest.fixture(scope="module")
def spark():
    sql = pytest.importorskip("pyspark.sql")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = sql.SparkSession.builder.master("local[2]")
    for name, value in {
        "spark.ui.enabled": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "50",
        "spark.sql.shuffle.partitions": "2",
    }.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.mark.parametrize("method", ["mapInPandas", "mapInArrow"])
def test_spark_when_batches_are_mapped_then_have_the_columns(
    method, spark, predictors, fitted
):
    table = spark.createDataFrame(FRAME)
    for predictor in predictors:
        schema = predictor.spark_schema(table.schema)
        table = getattr(table, method)(predictor.map, schema)
    assert table.toPandas()["id"].tolist() == FRAME["id"].tolist()
    assert_predicted(table.orderBy("id").toPandas(), predictors, fitted)


def test_spark_when_a_column_is_predicted_then_is_a_udf(
    spark, predictors, fitted, fast
):
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.functions import struct

    table = spark.createDataFrame(FRAME)
    pairs = FRAME[["text", "other"]]
    clf = quietly_fit(SKTuningClassifier(**fast), pairs[:24], LABELS)
    of_pairs = BatchPredictor(clf, ["text", "other"], output="of_pairs")
    for predictor in [*predictors, of_pairs]:
        predict = predict_batch_udf(
            predictor.make_predict_fn,
            return_type=predictor.spark_type,
            batch_size=64,
        )
        column = struct("text", "other") if predictor is of_pairs else "text"
        table = table.withColumn(predictor.output, predict(column))
    found = table.toPandas()
    assert found["of_pairs"].tolist() == clf.predict(pairs).tolist()
    assert_predicted(found, predictors, fitted)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_spark_when_of_words_then_has_a_list_a_text(method, spark, tagger):
    words = [text.split() for text in TEXTS]
    predictor = BatchPredictor(tagger, "words", method=method, output="found")
    table = spark.createDataFrame(pd.DataFrame({"words": words}))
    table = table.mapInPandas(predictor.map, predictor.spark_schema(table.schema))
    expected = getattr(tagger, method)(words)
    for row, other in zip(table.toPandas()["found"], expected, strict=True):
        if method == "predict":
            assert [*row] == other
        else:
            np.testing.assert_allclose(np.stack(row), other, rtol=1e-5)


@pytest.fixture
def ray_data():
    data = pytest.importorskip("ray.data")
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    context = data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    yield data
    ray.shutdown()


def test_ray_when_batches_are_mapped_then_tasks_and_actors_agree(
    ray_data, predictors, fitted
):
    table = ray_data.from_pandas(FRAME)
    for predictor, form in zip(predictors, ("numpy", "pyarrow"), strict=True):
        table = table.map_batches(predictor, batch_format=form, batch_size=50)
    found = table.to_pandas()
    assert found["id"].tolist() == FRAME["id"].tolist()
    assert_predicted(found, predictors, fitted)
    actors = ray_data.from_pandas(FRAME).map_batches(
        BatchPredictor,
        fn_constructor_args=(fitted, "text"),
        batch_size=50,
        compute=ray_data.ActorPoolStrategy(size=1),
    )
    assert_predicted(actors.to_pandas(), predictors, fitted)
