"""The searches of `engines.py`."""

import json
import multiprocessing
import os
import time
import warnings

import numpy as np
from engine_workers import LOG, STARTS, Counted, killer, notes

from sksemantic import SKTuningClassifier
from sksemantic.datasets import load_definitions

N_TEXTS = 42
NOT_SCATTERED = ", not scattered"
GRID = {
    "lr": [1e-3, 4e-3],
    "adapter_rank": [4, 8],
    "prompt": ["What kind of thing is this?", "Classify the definition"],
}


def data():
    """Return some texts of each kind, and the kinds."""
    X, y = load_definitions(return_X_y=True)
    chosen = [i for kind in np.unique(y) for i in np.flatnonzero(y == kind)[:6]]
    return [X[i] for i in chosen[:N_TEXTS]], y[chosen[:N_TEXTS]]


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
    with STARTS[engine.removesuffix(NOT_SCATTERED)]() as told:
        if told["backend"] == "dask" and not engine.endswith(NOT_SCATTERED):
            told["scatter"] = [X, y]  # to every worker: none takes them along
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
    """Try candidates until none waits."""
    import optuna
    from sklearn.model_selection import cross_val_score

    X, y = data()

    def objective(trial):
        chosen = {k: trial.suggest_categorical(k, v) for k, v in GRID.items()}
        clf = classifier().set_params(**chosen)
        return -cross_val_score(clf, X, y, cv=2, scoring="neg_log_loss").mean()

    def stop_when_none_waits(study, trial):
        if not n_trials_that(study, "WAITING"):
            study.stop()

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    study = optuna.load_study(study_name="engines", storage=opened(storage))
    study.optimize(objective, callbacks=[stop_when_none_waits])


def n_trials_that(study, state):
    """Return how many trials of a study are in a state."""
    from optuna.trial import TrialState

    return len(study.get_trials(deepcopy=False, states=(TrialState[state],)))


def opened(storage):
    """Return a storage where a trial whose process has died is tried again."""
    import optuna

    again = optuna.storages.RetryFailedTrialCallback()
    return optuna.storages.RDBStorage(
        storage, heartbeat_interval=5, grace_period=60, failed_trial_callback=again
    )


def search_with_optuna():
    """Search in two processes that share a storage; one more mends what they left."""
    import optuna
    from sklearn.model_selection import ParameterGrid

    place = f"sqlite:///{os.environ[LOG]}/optuna.db"
    study = optuna.create_study(study_name="engines", storage=opened(place))
    grid = [*ParameterGrid(GRID)]
    for candidate in grid:
        study.enqueue_trial(candidate)
    start = time.perf_counter()
    work_in_processes(place, 2)
    while n_trials_that(study, "RUNNING"):  # one has died, and is found by its silence
        time.sleep(10)
        optuna.storages.fail_stale_trials(study)
        if n_trials_that(study, "WAITING"):
            work_in_processes(place, 1)
    complete = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    losses = {json.dumps(t.params, sort_keys=True): t.value for t in complete}
    return {
        "seconds": time.perf_counter() - start,
        "losses": [losses.get(json.dumps(each, sort_keys=True)) for each in grid],
        "best": study.best_params,
        "loads": [len({*tags}) for tags in notes("fits").values()],
    }


def work_in_processes(storage, n_processes):
    """Run workers of a study, and wait for them."""
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=optuna_worker, args=(storage,))
        for _ in range(n_processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def search_killed(engine):
    """Search, and kill a worker."""
    with killer("fits") as killed:
        try:
            found = search(engine)
        except Exception as exc:
            found = {"error": type(exc).__name__}
    return {"killed": len(killed), **found}
