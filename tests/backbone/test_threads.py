"""How many threads compute, and how they wait, in processes of their own.

What burns processor time while nothing is computed are threads that spin.
"""

import json
import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.skipif(
        (os.cpu_count() or 1) < 2, reason="one CPU's threads do not wait for each other"
    ),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
]
SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
SETTINGS += ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")

# Imports torch, and forks for each line of code, before any thread has computed.
FORKING = """
import json, os, sys, traceback, torch
import sksemantic._backbone.threads

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        sys.stdin = open(os.devnull)
        try:
            exec(json.loads(line), {"__name__": "__main__"})
        except SystemExit:
            pass
        except BaseException:
            traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
    print("done", flush=True)
"""
START = r"""
import os, subprocess, sys, threading, time, torch
from sksemantic._backbone.threads import shared_cpus

def burnt():
    seconds = []
    for _ in range(9):
        torch.ones(200, 200).sin()
        start = time.process_time()
        time.sleep(0.05)
        seconds.append(time.process_time() - start)
    return sorted(seconds)[4]

def is_spinning():
    return burnt() > spinning / 4

def sleeps_beside_busy_processes():
    code = f"import os\\nwhile os.getppid() == {os.getpid()}: pass"
    command = [sys.executable, "-c", code]
    busy = [subprocess.Popen(command) for _ in range(os.cpu_count())]
    end = time.monotonic() + 30
    while is_spinning() and time.monotonic() < end:
        pass
    for process in busy:
        process.kill()
        process.wait()
    return time.monotonic() < end

spinning = burnt()
if spinning < 4e-4:
    print("asleep")
    raise SystemExit
"""


@pytest.fixture(scope="module")
def forking():
    """Start a process where nobody has said anything of threads."""
    said = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    with subprocess.Popen(
        [sys.executable, "-c", FORKING],
        env=said,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def threads(forking):
    """Return a function that runs code in a fork of that process."""

    def run(code):
        print(json.dumps(START + code), file=forking.stdin, flush=True)
        shown = [*iter(lambda: forking.stdout.readline().rstrip(), "done")]
        if shown == ["asleep"]:
            pytest.skip("torch's threads sleep by themselves")
        return shown

    return run


def test_threads_when_they_wait_then_they_sleep_and_afterwards_spin_again(threads):
    code = """
with shared_cpus():
    with shared_cpus():
        print(sleeps_beside_busy_processes())
try:
    with shared_cpus():
        1 / 0
except ZeroDivisionError:
    pass
end = time.monotonic() + 60
while threading.active_count() > 1 and time.monotonic() < end:
    time.sleep(0.1)
print(is_spinning(), threading.active_count())
"""
    assert threads(code) == ["True", "True 1"]


def test_threads_when_another_thread_is_done_first_then_still_sleep(threads):
    code = """
def predict():
    with shared_cpus():
        pass

with shared_cpus():
    others = [threading.Thread(target=predict) for _ in range(8)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    time.sleep(2.5)
    print(sleeps_beside_busy_processes())
"""
    assert threads(code) == ["True"]


def test_threads_when_others_are_busy_at_the_start_then_sleep_at_once(threads):
    code = """
from sksemantic._backbone.threads import _others_running

command = [sys.executable, "-c", f"import os\\nwhile os.getppid() == {os.getpid()}: 0"]
busy = [subprocess.Popen(command) for _ in range(os.cpu_count())]
end = time.monotonic() + 30
while _others_running() < len(busy) and time.monotonic() < end:
    time.sleep(0.01)
with shared_cpus():
    time.sleep(0.1)
    print(threading.active_count())  # with the one that looks, and the idle ones
for process in busy:
    process.kill()
    process.wait()
"""
    assert threads(code) == ["3"]


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_threads_when_user_says_how_they_wait_then_wait_so(name, threads):
    code = f"""
os.environ[{name!r}] = "1"
with shared_cpus():
    time.sleep(1)
    print(is_spinning())
"""
    assert threads(code) == ["True"]


def test_threads_when_in_worker_processes_then_sleep_too(threads):
    code = """
import joblib

def work():
    with shared_cpus():
        return torch.get_num_threads(), sleeps_beside_busy_processes()

with joblib.parallel_config(backend="loky", inner_max_num_threads=2):
    print(*joblib.Parallel(n_jobs=2)([joblib.delayed(work)()] * 2))
"""
    assert threads(code) == ["(2, True) (2, True)"]


NUMBERS = """
n_all = torch.get_num_threads()
os.environ["LOKY_MAX_CPU_COUNT"] = "1"  # as a quota of the container does
def number():
    with shared_cpus():
        return torch.get_num_threads()
"""


def test_number_when_fewer_cpus_may_be_used_then_is_theirs_and_given_back(threads):
    code = """
found = []
other = threading.Thread(target=lambda: found.append(number()))
with shared_cpus():
    found.append(torch.get_num_threads())
    other.start()
    other.join()
try:
    with shared_cpus():
        1 / 0
except ZeroDivisionError:
    found.append(torch.get_num_threads() - n_all)
print(*found, number())
os.environ["LOKY_MAX_CPU_COUNT"] = str(n_all)
print(number() == n_all)
"""
    assert threads(NUMBERS + code) == ["1 1 0 1", "True"]


@pytest.mark.parametrize(
    "said",
    [
        "torch.set_num_threads(2)",
        "os.environ['OMP_NUM_THREADS'] = '2'",
        "os.environ['MKL_NUM_THREADS'] = '2'",
    ],
)
def test_number_when_user_says_it_then_is_never_changed(said, threads):
    code = f"""
{said}
print(number() == torch.get_num_threads() > 1)
"""
    assert threads(NUMBERS + code) == ["True"]


def test_number_when_threadpoolctl_limits_it_then_stays_so(threads):
    code = """
import threadpoolctl
os.environ["LOKY_MAX_CPU_COUNT"] = "2"
with threadpoolctl.threadpool_limits(1):
    print(number())
"""
    assert threads(NUMBERS + code) == ["1"]


FIT = """
import warnings
from sksemantic import SKTuningClassifier
from skorch.callbacks import Callback
warnings.simplefilter("ignore")
os.environ["LOKY_MAX_CPU_COUNT"] = "1"
n_all = torch.get_num_threads()
seen = []

class Look(Callback):
    def on_epoch_end(self, net, **kwargs):
        seen.append(torch.get_num_threads())

clf = SKTuningClassifier(
    model=MODEL, prompt="rate", max_epochs=1, training={"callbacks": [Look()]}
)
"""


def test_fit_when_fewer_cpus_may_be_used_then_computes_with_as_many(threads, tiny_bert):
    code = """
clf.fit(["good", "bad"] * 4, ["yes", "no"] * 4)
clf.partial_fit(["good", "bad"], ["yes", "no"])
print(*seen, torch.get_num_threads() == n_all)

def look(*arguments):
    seen.append(torch.get_num_threads())

clf.get_module().register_forward_hook(look)
clf.predict(["good"])
print(seen[-1], torch.get_num_threads() == n_all)
"""
    code = FIT.replace("MODEL", repr(tiny_bert)) + code
    assert threads(code) == ["1 1 True", "1 True"]


def test_fork_when_threads_have_helped_then_child_computes_alone(threads):
    code = """
import signal

def compute():
    with shared_cpus():
        return torch.ones(2000, 2000).sin().sum() > 0

def number_in_child():
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        compute()
        os._exit(torch.get_num_threads())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

n_all = torch.get_num_threads()
compute()
found = []
other = threading.Thread(target=lambda: found.append(number_in_child()))
other.start()
other.join()
print(number_in_child(), *found, n_all == found[0] == torch.get_num_threads() > 1)
"""
    (found,) = threads(code)
    assert found.startswith("1 ")
    assert found.endswith(" True")
