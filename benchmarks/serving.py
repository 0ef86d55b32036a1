"""Requests a second and waiting times of a server of many models.

    python benchmarks/serving.py --models 64
    python benchmarks/serving.py --table

64 classifiers on MiniLM, saved copies of eight with noise of their own, are served by
`sksemantic serve` on this machine, and asked for probabilities of one definition a
request, each request by another model. "together" is the server as it is. "one by one"
is the same server with `--batch-texts 1`: one prediction a request. The capacity of
both is what `wrk` gets through 64 connections, in turn. Then requests come at random
times, at 50 and 90 % of the capacity of "together", whether or not the earlier ones are
answered: milliseconds to the answer. At twice the capacity, of 64 texts that may wait,
it is counted which status comes how often.
"""

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import results
from many import N_TRAIN, copied, fitted
from tables import line, table

from sksemantic.datasets import load_definitions

CONNECTIONS = 64
WRK = """
local bodies = {}
for body in io.lines("%s") do bodies[#bodies + 1] = body end
math.randomseed(os.time())
request = function()
  local headers = {["Content-Type"] = "application/json"}
  local body = bodies[math.random(#bodies)]
  return wrk.format("POST", "/predict_proba", headers, body)
end
"""


def save_models(folder, n_models):
    """Save so many classifiers; return bodies of requests, one a line."""
    texts, labels = load_definitions(return_X_y=True)
    eight = fitted(list(texts[:N_TRAIN]), labels[:N_TRAIN])
    for i, clf in enumerate(copied(eight, n_models)):
        weights = clf.get_module().state_dict().items()
        clf._model.weights.update({name: w.numpy().copy() for name, w in weights})
        clf.save_pretrained(folder / f"m{i}")
    rng = random.Random(0)
    test = [rng.choice(texts[N_TRAIN:]) for _ in range(5000)]
    return [
        json.dumps({"model": f"m{i % n_models}", "texts": [text]})
        for i, text in enumerate(test)
    ]


@contextmanager
def served(folder, n_models, *options):
    """Serve the models, and yield the port."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    models = [str(folder / f"m{i}") for i in range(n_models)]
    command = [sys.executable, "-m", "sksemantic", "serve", *models]
    command += ["--port", str(port), *options]
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ready")
                break
            except (urllib.error.URLError, OSError):
                if server.poll() is not None:
                    raise RuntimeError("The server has ended.") from None
                time.sleep(0.5)
        yield port
    finally:
        server.terminate()
        server.wait()


def wrk(port, script, seconds):
    """Return answers a second through many connections."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script)]
    command += ["--timeout", "30s", f"http://127.0.0.1:{port}"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in printed, printed
    return float(re.search(r"Requests/sec:\s+([\d.]+)", printed)[1])


async def ask(port, body, found):
    """Send one request on a connection of its own; note its status and seconds."""
    start = time.perf_counter()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = (
            "POST /predict_proba HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        status = int((await reader.readline()).split()[1])
        await reader.read()
        writer.close()
    except (OSError, IndexError) as exc:
        status = type(exc).__name__
    found.append((status, time.perf_counter() - start))


async def at_rate(port, bodies, rate, seconds):
    """Send requests at random times, so many a second; return status and seconds."""
    found, tasks, rng = [], set(), random.Random(0)
    due = time.perf_counter()
    end = due + seconds
    while due < end:
        due += rng.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.add(asyncio.create_task(ask(port, rng.choice(bodies), found)))
    await asyncio.gather(*tasks)
    return found


def waits(port, bodies, rate, seconds):
    """Return percentiles of milliseconds, and how often each status came."""
    found = asyncio.run(at_rate(port, bodies, rate, seconds))
    answered = [1000 * x for status, x in found if status == 200]
    p50, p99 = np.percentile(answered, [50, 99])
    statuses = Counter(str(status) for status, _ in found)
    return {
        "rate": round(rate, 1),
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
        "statuses": dict(statuses),
    }


def measure(n_models, seconds, repeats):
    """Return one row: capacities in turn, and waiting times."""
    assert shutil.which("wrk"), "install wrk"
    with TemporaryDirectory() as name:
        folder = Path(name)
        lines = save_models(folder, n_models)
        (folder / "bodies").write_text("\n".join(lines) + "\n", "utf-8")
        script = folder / "wrk.lua"
        script.write_text(WRK % (folder / "bodies"), "utf-8")
        bodies = [each.encode() for each in lines]
        capacity = {"together": [], "one by one": []}
        with (
            served(folder, n_models) as together,
            served(folder, n_models, "--batch-texts", "1") as alone,
        ):
            for _ in range(repeats):
                capacity["together"].append(wrk(together, script, seconds))
                capacity["one by one"].append(wrk(alone, script, seconds))
        rate = median(capacity["together"])
        few = ("--queue-texts", "64", "--request-texts", "16")
        with served(folder, n_models, *few) as port:
            found = {
                share: waits(port, bodies, share * rate, 2 * seconds)
                for share in (0.5, 0.9, 2.0)
            }
    pairs = zip(capacity["together"], capacity["one by one"], strict=True)
    return {
        "models": n_models,
        "seconds": seconds,
        "capacity": {name: round(median(x), 1) for name, x in capacity.items()},
        "together_over_one_by_one": round(median(a / b for a, b in pairs), 2),
        "load": {f"{100 * share:.0f} %": each for share, each in found.items()},
    }


def serving_table(row):
    """Return a line for each load."""
    heading = ["load", "requests a second", "median ms", "p99 ms", "statuses"]
    lines = []
    for name, each in row["load"].items():
        statuses = ", ".join(f"{k}: {v}" for k, v in sorted(each["statuses"].items()))
        cells = [name, each["rate"], each["p50_ms"], each["p99_ms"], statuses]
        lines.append(line(map(str, cells)))
    return table(heading, lines)


def tables(rows):
    """Return the tables of the latest row by name."""
    row = rows[-1]
    heading = ["one predict a request", "common batches", "ratio"]
    cells = [row["capacity"]["one by one"], row["capacity"]["together"]]
    cells.append(row["together_over_one_by_one"])
    capacity = table(heading, [line(map(str, cells))])
    return {"server load": serving_table(row), "server capacity": capacity}


def main():
    """Measure, or print the latest."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--file", type=Path, default=results.RESULTS / "serving.jsonl")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if not args.table:
        row = measure(args.models, args.seconds, args.repeats)
        results.append(args.file, row | results.provenance("ours"))
    for found in tables(results.read(args.file)).values():
        print("\n".join(found))


if __name__ == "__main__":
    main()
