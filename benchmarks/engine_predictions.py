"""The predictions of `engines.py`, and its fits to texts on the disk."""

import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from engine_workers import LOG, STARTS, Watched, killer, notes, ray

from sksemantic import BatchPredictor, SKTuningClassifier

TESTS = Path(__file__).parents[1] / "tests"
N_KILLED = 20_000
BATCH = 2048


def tiny():
    """Return a fitted classifier on a tiny random model, and what makes texts."""
    sys.path.append(str(TESTS))
    from conftest import FAST, LABELS, TEXTS, save_tiny

    folder = tempfile.mkdtemp(dir=os.environ[LOG])
    clf = SKTuningClassifier(model=save_tiny("bert", folder), **FAST)
    return clf.fit(TEXTS, LABELS), TEXTS


def write_rows(texts, n_rows):
    """Write a table of rows, all of them different, in four files."""
    folder = Path(os.environ[LOG]) / "rows"
    folder.mkdir()
    for i, ids in enumerate(np.array_split(np.arange(n_rows), 4)):
        words = [f"{texts[k % len(texts)]} {k}" for k in ids]
        frame = pd.DataFrame({"id": ids, "text": words})
        frame.to_parquet(folder / f"{i}.parquet", row_group_size=8 * BATCH)
    return str(folder)


def by_memory(predictor, folder):
    """Predict all rows at once."""
    return predictor(pd.read_parquet(folder))


def by_dask(predictor, folder):
    """Predict partitions."""
    import dask.dataframe as dd

    with dask_workers():
        rows = dd.read_parquet(folder, split_row_groups=True)
        return rows.map_partitions(predictor, meta=predictor.meta(rows)).compute()


def dask_workers():
    """Return two workers of Dask."""
    return STARTS["dask 2x1"]()


def by_ray(predictor, folder, as_actor=False):
    """Predict batches, in tasks or in actors."""
    with ray():
        from ray import data as ray_data

        context = ray_data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        rows = ray_data.read_parquet(folder)
        options = {"batch_format": "pyarrow", "batch_size": BATCH}
        if as_actor:
            options["fn_constructor_args"] = predictor.estimator, "text"
            options["compute"] = ray_data.ActorPoolStrategy(size=2)
        worker = Watched if as_actor else predictor
        return rows.map_batches(worker, **options).to_pandas()


def by_spark(predictor, folder, as_udf=False):
    """Predict batches of a table, or a column."""
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(BATCH),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.task.maxFailures": "4",
        "spark.sql.files.maxPartitionBytes": "1m",
    }
    builder = SparkSession.builder.master("local[2,4]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    rows = spark.read.parquet(folder)
    if as_udf:
        predict = predict_batch_udf(
            predictor.make_predict_fn,
            return_type=predictor.spark_type,
            batch_size=BATCH,
        )
        rows = rows.withColumn(predictor.output, predict("text"))
    else:
        rows = rows.mapInPandas(predictor.map, predictor.spark_schema(rows.schema))
    found = rows.toPandas()
    spark.stop()
    return found


BY = {
    "memory": by_memory,
    "dask": by_dask,
    "ray": by_ray,
    "ray actor": partial(by_ray, as_actor=True),
    "spark": by_spark,
    "spark udf": partial(by_spark, as_udf=True),
}


def predict(n_rows, engine):
    """Predict rows, and compare them with those of this process."""
    clf, texts = tiny()
    folder = write_rows(texts, n_rows)
    predictor = Watched(clf, "text")
    start = time.perf_counter()
    found = BY[engine](predictor, folder)
    seconds = time.perf_counter() - start
    noted = notes("batches")
    if engine != "memory":  # it has made the empty result for Dask
        noted.pop(os.getpid(), None)
    peaks = [max(map(float, each)) for each in noted.values()]
    expected = BatchPredictor(clf, "text")(pd.read_parquet(folder))
    in_order = found["id"].tolist() == expected["id"].tolist()
    found = found.sort_values("id")["prediction"].tolist()
    return {
        "seconds": seconds,
        "n_rows": len(found),
        "in_order": in_order,
        "n_different": sum(map(str.__ne__, found, expected["prediction"])),
        "peak_mib": max(peaks),
        "n_workers": len(peaks),
    }


def predict_killed(engine):
    """Predict, and kill a worker."""
    with killer("batches") as killed:
        try:
            found = predict(N_KILLED, engine)
        except Exception as exc:
            found = {"error": type(exc).__name__}
    return {"killed": len(killed), **found}


def disk(n_texts, how):
    """Return the memory that a fit has taken until its first step."""
    import datasets
    from skorch.callbacks import Callback

    clf, texts = tiny()
    process = psutil.Process()

    class First(Callback):
        def on_train_begin(self, net, **_):
            sizes.append(process.memory_full_info().uss - before)
            raise KeyboardInterrupt

    def rows():
        rng = np.random.RandomState(0)
        for _ in range(n_texts):
            yield {"text": " ".join(texts[k] for k in rng.randint(len(texts), size=12))}

    datasets.disable_progress_bars()
    folder = os.environ[LOG]
    column = datasets.Dataset.from_generator(rows, cache_dir=folder)["text"]
    before, sizes = process.memory_full_info().uss, []
    clf.set_params(max_epochs=1, time_limit=5, training__callbacks=[First()])
    try:
        clf.fit(column if how == "column" else column[:], np.arange(n_texts) % 2)
    except KeyboardInterrupt:
        pass
    return {"step_mib": sizes[0] / 2**20}
