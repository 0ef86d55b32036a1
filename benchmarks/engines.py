"""Searches and predictions inside engines, beside those of one process.

    python benchmarks/engines.py --tasks search,predict
    python benchmarks/engines.py --table

Needs `pip install "dask[dataframe,distributed]" "ray[data]" pyspark optuna datasets`,
and Java for Spark. Each row has a process of its own, and two workers.

search          a grid of 8 over MiniLM, 2 folds: log-losses, what is best, how often
                each process has loaded the backbone, bytes of a task beside the data
search-killed   the same; the first worker that has fitted something is killed
predict-N       N rows by a tiny random model: how many are not as in memory, and the
                peak memory of the worker that took most
predict-killed  the same; the first worker that has predicted something is killed
disk-N          what a fit to N texts has taken of memory before its first step
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import warnings
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import results
from tables import line, table

from sksemantic import BatchPredictor, SKTuningClassifier
from sksemantic.datasets import load_definitions

TESTS = Path(__file__).parents[1] / "tests"
LOG = "ENGINES_LOG"  # where the workers write
N_SEARCH = 42  # texts
GRID = {
    "lr": [1e-3, 4e-3],
    "adapter_rank": [4, 8],
    "prompt": ["What kind of thing is this?", "Classify the definition"],
}
ENGINES = ("serial", "threading", "loky", "dask 2x1", "dask 1x2", "ray", "optuna")
PREDICTING = ("memory", "dask", "ray", "ray actor", "spark", "spark udf")
TASKS = {
    "search": ENGINES,
    "search-killed": ("loky", "dask 2x1", "ray", "optuna"),
    "predict-50000": PREDICTING,
    "predict-200000": PREDICTING,
    "predict-killed": ("dask", "ray", "spark"),
    "disk-50000": ("list", "column"),
    "disk-200000": ("list", "column"),
}
N_KILLED = 20_000
BATCH = 2048
TEST = {"dashboard_address": None}


class Counted(SKTuningClassifier):
    """A classifier that notes in which process it was fitted, to which backbone."""

    def fit(self, X, y, **options):
        """Fit, and note it."""
        super().fit(X, y, **options)
        model = self.get_module().backbone.model
        if not hasattr(model, "engines_tag"):
            model.engines_tag = uuid.uuid4().hex
        note("fits", os.getpid(), model.engines_tag)
        return self


class Watched(BatchPredictor):
    """A predictor that notes the most memory that its process has taken."""

    def __call__(self, batch):
        """Predict, and note it."""
        found = super().__call__(batch)
        note("batches", os.getpid(), peak_mib())
        return found

    def make_predict_fn(self):
        """Return a function that predicts, and notes it."""
        predict = super().make_predict_fn()

        def watched(texts):
            found = predict(texts)
            note("batches", os.getpid(), peak_mib())
            return found

        return watched


def note(kind, *values):
    """Add a line to what the workers say."""
    with open(Path(os.environ[LOG]) / kind, "a") as file:
        file.write(" ".join(map(str, values)) + "\n")


def notes(kind):
    """Return what the workers have said, by process."""
    found = {}
    file = Path(os.environ[LOG]) / kind
    for row in file.read_text().splitlines() if file.exists() else []:
        pid, value = row.split()
        found.setdefault(int(pid), []).append(value)
    return found


def peak_mib():
    """Return the most memory that this process has taken, since it began."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


@contextmanager
def killer(kind):
    """Kill the first worker that has written something; return whom."""
    killed, ended = [], threading.Event()

    def watch():
        while not ended.wait(0.02):
            workers = [pid for pid in notes(kind) if pid != os.getpid()]
            if workers:
                killed.append(workers[0])
                os.kill(workers[0], signal.SIGKILL)
                return

    thread = threading.Thread(target=watch)
    thread.start()
    yield killed
    ended.set()
    thread.join()


@contextmanager
def dask(n_workers, n_threads):
    """Start workers of Dask; yield what joblib is told."""
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=n_workers, threads_per_worker=n_threads, **TEST)
    with cluster, Client(cluster):
        yield {"backend": "dask"}


@contextmanager
def ray():
    """Start Ray; yield what joblib is told."""
    import ray
    from ray.util.joblib import register_ray

    # One CPU is for those who read, beside two workers.
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    register_ray()
    yield {"backend": "ray", "n_jobs": 2}
    ray.shutdown()


@contextmanager
def of_joblib(backend, n_jobs):
    """Yield what joblib is told."""
    yield {"backend": backend, "n_jobs": n_jobs}


STARTS = {
    "serial": partial(of_joblib, "sequential", 1),
    "threading": partial(of_joblib, "threading", 2),
    "loky": partial(of_joblib, "loky", 2),
    "dask 2x1": partial(dask, 2, 1),
    "dask 1x2": partial(dask, 1, 2),
    "ray": ray,
}


def data():
    """Return some texts of each kind, and the kinds."""
    X, y = load_definitions(return_X_y=True)
    chosen = [i for kind in np.unique(y) for i in np.flatnonzero(y == kind)[:6]]
    return [X[i] for i in chosen[:N_SEARCH]], y[chosen[:N_SEARCH]]


def classifier():
    """Return what is searched over."""
    return Counted(max_epochs=1, random_state=0, model_kwargs={"dtype": "float32"})


def search(engine):
    """Search; return what was found."""
    import joblib
    from sklearn.model_selection import GridSearchCV

    if engine == "optuna":
        return search_with_optuna()
    X, y = data()
    options = {"scoring": "neg_log_loss", "refit": False, "error_score": "raise"}
    found = GridSearchCV(classifier(), GRID, cv=2, **options)
    with STARTS[engine]() as told:
        start = time.perf_counter()
        with joblib.parallel_config(**told):
            found.fit(X, y)
        seconds = time.perf_counter() - start
    outcome = {
        "seconds": seconds,
        "losses": (-found.cv_results_["mean_test_score"]).tolist(),
        "best": found.best_params_,
        "loads": [len({*tags}) for tags in notes("fits").values()],
    }
    if engine == "serial":
        outcome["task_bytes"] = task_bytes(X, y)
    return outcome


def task_bytes(X, y):
    """Return how large what joblib hands to an engine is, without the data."""
    import cloudpickle
    import joblib
    from joblib._parallel_backends import ThreadingBackend
    from sklearn.model_selection import GridSearchCV

    sizes = []

    class Measured(ThreadingBackend):
        def submit(self, func, callback=None):
            sizes.append(len(cloudpickle.dumps(func)))
            return super().submit(func, callback)

    joblib.register_parallel_backend("measured", Measured)
    quick = SKTuningClassifier(max_epochs=1, model_kwargs={"n_layers": 1})
    with joblib.parallel_config(backend="measured", n_jobs=2):
        GridSearchCV(quick, {"lr": [1e-3]}, cv=2, refit=False).fit(X, y)
    return max(sizes) - len(cloudpickle.dumps((X, y)))


def optuna_worker(storage):
    """Try candidates until none is left."""
    import optuna
    from sklearn.model_selection import cross_val_score

    X, y = data()

    def objective(trial):
        chosen = {k: trial.suggest_categorical(k, v) for k, v in GRID.items()}
        clf = classifier().set_params(**chosen)
        return -cross_val_score(clf, X, y, cv=2, scoring="neg_log_loss").mean()

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    sampler = optuna.samplers.GridSampler(GRID, seed=os.getpid())
    study = optuna.load_study(
        study_name="engines", storage=opened(storage), sampler=sampler
    )
    study.optimize(objective)


def opened(storage):
    """Return a storage where a trial whose process has died is tried again."""
    import optuna

    again = optuna.storages.RetryFailedTrialCallback()
    return optuna.storages.RDBStorage(
        storage, heartbeat_interval=1, grace_period=5, failed_trial_callback=again
    )


def search_with_optuna():
    """Search in two processes that share a storage."""
    import optuna

    place = f"sqlite:///{os.environ[LOG]}/optuna.db"
    study = optuna.create_study(study_name="engines", storage=opened(place))
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=optuna_worker, args=(place,)) for _ in range(2)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    complete = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    losses = {json.dumps(t.params, sort_keys=True): t.value for t in complete}
    from sklearn.model_selection import ParameterGrid

    grid = [json.dumps(each, sort_keys=True) for each in ParameterGrid(GRID)]
    return {
        "seconds": time.perf_counter() - start,
        "losses": [losses.get(each) for each in grid],
        "best": study.best_params,
        "loads": [len({*tags}) for tags in notes("fits").values()],
    }


def search_killed(engine):
    """Search, and kill a worker."""
    with killer("fits") as killed:
        try:
            found = search(engine)
        except Exception as exc:
            found = {"error": type(exc).__name__}
    return {"killed": len(killed), **found}


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
    peaks = [max(map(float, each)) for each in notes("batches").values()]
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


def run(task, method):
    """Return the outcome of one row, in this process."""
    warnings.simplefilter("ignore")
    name, _, size = task.partition("-")
    if task == "search":
        return search(method)
    if size == "killed":
        return {"search": search_killed, "predict": predict_killed}[name](method)
    return {"predict": predict, "disk": disk}[name](int(size), method)


def in_new_process(task, method):
    """Return the outcome of one row, of a process of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        code = f"import engines; engines.child({task!r}, {method!r})"
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        environment = {
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            **os.environ,
            LOG: folder,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }
        command = [sys.executable, "-c", code]
        subprocess.run(command, env=environment, check=True, timeout=900)
        return json.loads((Path(folder) / "outcome.json").read_text())


def child(task, method):
    """Write the outcome of one row."""
    outcome = run(task, method)
    text = json.dumps(outcome, default=results.plain)
    (Path(os.environ[LOG]) / "outcome.json").write_text(text)


def plan(args):
    """Yield the rows that were asked for."""
    for task in args.tasks or TASKS:
        for method in args.methods or TASKS[task]:
            if method in TASKS[task]:
                head = {"task": task, "method": method, "seed": 0}
                yield head, partial(in_new_process, task, method)


def print_tables(rows):
    """Print what was measured, a table for each task."""
    serial = [r for r in rows if (r["task"], r["method"]) == ("search", "serial")]
    for task in TASKS:
        found = [row for row in rows if row["task"] == task]
        if not found:
            continue
        names = ["killed", "error", "seconds", "n_different", "in_order", "n_workers"]
        names += ["peak_mib", "step_mib", "loads", "task_bytes"]
        names = [name for name in names if any(name in row for row in found)]
        lines = []
        for row in found:
            cells = [shown(row.get(name, "")) for name in names]
            if task.startswith("search"):
                cells += difference(row, serial[0])
            lines.append(line([row["method"], *cells]))
        heads = [*names, *["same best", "scores differ by"] * task.startswith("search")]
        print("", task, "", *table(["engine", *heads], lines), sep="\n")


def difference(row, serial):
    """Return whether a search has found the same, and how far its scores are off."""
    if "losses" not in row or None in row["losses"]:
        return ["", ""]
    off = np.abs(np.subtract(row["losses"], serial["losses"])).max()
    return [shown(row["best"] == serial["best"]), f"{off:.1g}"]


def shown(value):
    """Return a cell."""
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def main():
    """Run what is missing, or print the tables."""
    parser = results.parser(__doc__, "engines.jsonl", ", ".join(TASKS))
    args = parser.parse_args()
    if args.table:
        print_tables(results.read(args.file))
    else:
        results.finish(results.run_missing(plan(args), args.file))


if __name__ == "__main__":
    main()
