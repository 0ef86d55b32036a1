"""Rows of results: one JSON object a line, with what one needs to read it years later.

A row's *head* says what was run (`task`, `method`, `seed`, and for our estimator `set`
and `defaults`). A head that a file already has is not run again. Beside the outcome,
every row has the commit, the versions and the machine.

`defaults` names what the package's defaults were. "0" is what they were before this was
recorded; "0a": the same, but an encoder's head had the rate 3e-3 and a tenth of the
tokens were hidden in training; "0b": before `text_rank`. Any other is computed from the
defaults themselves, see `defaults_id`.
"""

import argparse
import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import traceback
from functools import cache
from pathlib import Path

import numpy as np
import torch
from peers.frozen import fast_dtype

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
PACKAGES = ("torch", "transformers", "scikit-learn")
PEER_PACKAGES = {
    "setfit": ("setfit", "sentence-transformers"),
    **dict.fromkeys(("LIME", "LIME, 500 samples"), ("lime",)),
    **dict.fromkeys(("SHAP", "SHAP, words left out"), ("shap",)),
    **dict.fromkeys(("lora", "lora-3e-3", "prefix-tuning"), ("peft",)),
    **dict.fromkeys(("prompt-tuning", "p-tuning"), ("peft",)),
}


def is_ours(method):
    """Return whether a method is an estimator of the package."""
    return method.startswith("ours")


@cache
def defaults_id(describe):
    """Return eight letters for the package's defaults, which `describe` returns."""
    text = json.dumps(describe(), default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def provenance(method):
    """Return the commit, the versions and the machine that a row belongs to."""
    packages = (*PACKAGES, *PEER_PACKAGES.get(method, ()))
    versions = {"python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in packages}
    return {"commit": commit(), "versions": versions, "machine": machine()}


def commit():
    """Return the short commit, with a + if the package has changes; None: no git."""
    command = ["git", "-C", str(FOLDER)]
    try:
        head = subprocess.check_output([*command, "rev-parse", "--short", "HEAD"])
        status = [*command, "status", "--porcelain", "--", "../sksemantic"]
        changes = subprocess.check_output(status)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.decode().strip() + ("+" if changes.strip() else "")


@cache
def machine():
    """Return processor, cores, threads, native dtype, and the GPU if there is one."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [x.partition(":")[2].strip() for x in lines if x.startswith("model name")]
    found = {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "dtype": str(fast_dtype()).removeprefix("torch."),
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def read(file):
    """Return the rows of a file; none if it does not exist yet."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def append(file, row):
    """Add one row to a file, as it is read again."""
    line = json.dumps(row, default=plain, ensure_ascii=False)
    with file.open("a", encoding="utf-8") as opened:
        opened.write(line + "\n")
    return json.loads(line)


def plain(value):
    """Return numpy's numbers as Python's, and all else as a string."""
    return value.item() if isinstance(value, np.generic) else str(value)


def is_there(head, rows):
    """Return whether one of the rows has this head."""
    return any(
        all(row.get(key) == value for key, value in head.items()) for row in rows
    )


def run_missing(plan, file):
    """Run what a file does not have, and append it; return how many runs failed.

    Parameters
    ----------
    plan : iterable of (dict, callable)
        Heads, and what is called without arguments to get the outcome.
    file : path
    """
    rows = read(file)
    n_failed = 0
    for head, run in plan:
        if is_there(head, rows):
            continue
        try:
            outcome = run()
        except Exception:  # the others go on; the script ends with an error
            print(f"{head} failed:\n{traceback.format_exc()}", flush=True)
            n_failed += 1
            continue
        head = {"defaults": None} | head  # peers have none of ours
        row = append(file, head | provenance(head["method"]) | outcome)
        rows.append(row)
        print(json.dumps(brief(row)), flush=True)
    return n_failed


def brief(row):
    """Return what of a new row is printed."""
    names = ("task", "method", "set", "seed", "scores", "seconds", "peak_mib")
    return {name: row[name] for name in names if row.get(name) not in (None, {})}


def setting(text):
    """Return the name and the value in ``name=value``."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected name=value, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def names(text):
    """Return the names in a list; a comma before a space is part of a name."""
    return re.split(r",(?! )", text)


def parser(doc, file, tasks):
    """Return a parser with the options that all scripts have."""
    found = argparse.ArgumentParser(
        description=doc.split("\n")[0],
        epilog=f"Tasks: {tasks}",
    )
    add = found.add_argument
    add("--tasks", type=names, default=[], metavar="NAME,...")
    add("--methods", type=names, metavar="NAME,...", help="default: all of a task")
    add("--seeds", type=int, default=1, help="how many (default: 1)")
    add("--first-seed", type=int, default=0)
    add("--limit", type=int, metavar="ROWS", help="train on this many at most")
    add("--file", type=Path, default=RESULTS / file, help="read, and appended to")
    add("--table", action="store_true", help="run nothing, print the tables")
    return found


def finish(n_failed):
    """End with an error if something has failed."""
    if n_failed:
        sys.exit(f"{n_failed} runs failed, see above")
