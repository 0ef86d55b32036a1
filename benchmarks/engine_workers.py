"""What the workers of `engines.py` do and note, and how engines are started."""

import os
import signal
import threading
import uuid
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sksemantic import BatchPredictor, SKTuningClassifier

LOG = "ENGINES_LOG"  # the folder where the workers write


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

    options = {"n_workers": n_workers, "threads_per_worker": n_threads}
    cluster = LocalCluster(**options, dashboard_address=None)
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
    again = {"max_restarts": 4, "max_task_retries": 4}  # of a worker that dies
    yield {"backend": "ray", "n_jobs": 2, "ray_remote_args": again}
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
