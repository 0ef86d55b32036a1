"""Saved estimators under attack: killed writers, and files that are broken on purpose.

    python benchmarks/saving.py kills --times 50
    python benchmarks/saving.py fuzz --times 100000 --seed 0

"kills" ends processes with SIGKILL while they save over an earlier directory, at random
moments; what is there afterwards must load as the old or the new. "fuzz" changes bytes,
values and tensors of a saved directory at random; whatever then happens must be
documented: the estimator loads, or `from_pretrained` raises a ValueError.
"""

import argparse
import copy
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors.numpy import load_file, save_file

from sksemantic import SKTuningClassifier

TEXTS = ["a joy to watch", "warm and funny", "dull and slow", "a waste of time"] * 4
LABELS = ["good", "good", "bad", "bad"] * 4
WRITER = """
import pickle, sys
estimators = pickle.load(open(sys.argv[1], "rb"))
print("ready", flush=True)
while True:
    for estimator in estimators:
        estimator.save_pretrained(sys.argv[2], backbone=sys.argv[3] == "True")
"""
WITH_CHECKSUM = 0.9  # share of changed weights that have a checksum to match
ODD = (None, True, -1, 0, 10**9, 10**30, -0.5, 1e308, "", "x" * 1000, "../x", "$", [])
ODD += ({}, [[]], {"$float": "nan"}, {"$tuple": []}, {"$array": {}}, {"a": {"b": 1}})


def fitted(max_epochs):
    """Return a fitted estimator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clf = SKTuningClassifier(max_epochs=max_epochs, random_state=0)
        return clf.fit(TEXTS, LABELS)


def kills(times, seed, *, backbone):
    """Kill writers; return how often which one was found afterwards."""
    import pickle

    rng, found = random.Random(seed), Counter()
    with TemporaryDirectory() as folder:
        both, place = Path(folder, "both.pkl"), Path(folder, "saved")
        both.write_bytes(pickle.dumps([fitted(1), fitted(2)]))
        command = [sys.executable, "-c", WRITER, str(both), str(place), str(backbone)]
        for _ in range(times):
            writer = subprocess.Popen(command, stdout=subprocess.PIPE)
            writer.stdout.readline()
            time.sleep(rng.uniform(0.0, 1.0 if backbone else 0.3))
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            try:
                loaded = SKTuningClassifier.from_pretrained(place)
                name = f"loads, {loaded.max_epochs} epoch(s)"
                if len(loaded.history_) != loaded.max_epochs:
                    name = "a MIX of both"
            except (FileNotFoundError, ValueError):
                name = "nothing yet" if not place.exists() else "BROKEN"
            found[name] += 1
    return found


def places_of(value, path=()):
    """Return the paths of all entries of nested lists and dictionaries."""
    entries = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    found = [path] if path else []
    for key, each in entries:
        found += places_of(each, (*path, key))
    return found


def broken_config(config, places, rng):
    """Return a config in which one or two entries are others, or none."""
    config = copy.deepcopy(config)
    for _ in range(rng.choice((1, 1, 2))):
        *path, last = rng.choice(places)
        holder = config
        try:
            for key in path:
                holder = holder[key]
            if rng.random() < 0.3:
                del holder[last]
            else:
                holder[last] = copy.deepcopy(rng.choice(ODD))
        except (KeyError, IndexError, TypeError):
            continue
    return json.dumps(config)


def broken_bytes(content, rng):
    """Return bytes of which some are others, missing, or doubled."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 2, 8))):
        if not content:
            break
        i = rng.randrange(len(content))
        way = rng.random()
        if way < 0.6:
            content[i] = rng.randrange(256)
        elif way < 0.8:
            del content[i : i + rng.choice((1, 8, 1000))]
        else:
            content[i:i] = content[i : i + rng.choice((1, 8, 100))]
    return bytes(content)


def broken_tensors(tensors, rng):
    """Return tensors of which one is of another name, shape, dtype or value."""
    tensors = dict(tensors)
    name = rng.choice([*tensors])
    value = tensors[name]
    way = rng.randrange(5)
    if way == 0:
        tensors[name + "x"] = tensors.pop(name)
    elif way == 1:
        tensors[name] = np.resize(value, [rng.randrange(40) for _ in value.shape])
    elif way == 2:
        tensors[name] = value.astype(rng.choice((np.int8, np.float16, np.float64)))
    elif way == 3:
        tensors[name] = np.full_like(value, rng.choice((np.nan, np.inf, 1e38, 0)))
    else:
        del tensors[name]
    return tensors


def fuzz(times, seed):
    """Load broken directories; return what came of them, and the failures."""
    rng, found, failures = random.Random(seed), Counter(), []
    with TemporaryDirectory() as folder:
        good, bad = Path(folder, "good"), Path(folder, "bad")
        fitted(1).save_pretrained(good)
        config = json.loads((good / "config.json").read_text("utf-8"))
        places = places_of(config)
        contents = {file.name: file.read_bytes() for file in good.iterdir()}
        tensors = load_file(good / "model.safetensors")
        shutil.copytree(good, bad)
        before = listing(folder)
        for _ in range(times):
            way = rng.choices(("config", "bytes", "tensors"), (6, 3, 1))[0]
            changed = "config.json"
            if way == "config":
                content = broken_config(config, places, rng).encode()
                (bad / changed).write_bytes(content)
            elif way == "bytes":
                changed = rng.choice(("config.json", "model.safetensors"))
                (bad / changed).write_bytes(broken_bytes(contents[changed], rng))
            else:
                changed = "model.safetensors"
                save_file(broken_tensors(tensors, rng), bad / changed)
            if changed == "model.safetensors" and rng.random() < WITH_CHECKSUM:
                digest = hashlib.sha256((bad / changed).read_bytes()).hexdigest()
                changes = {"weights_sha256": digest}
                (bad / "config.json").write_text(json.dumps(config | changes), "utf-8")
            try:
                SKTuningClassifier.from_pretrained(bad)
                found[f"{way}: loads"] += 1
            except ValueError:
                found[f"{way}: refused"] += 1
            except Exception:
                found[f"{way}: FAILS"] += 1
                failures.append(traceback.format_exc())
            for name in ("config.json", changed):
                (bad / name).write_bytes(contents[name])
        if listing(folder) != before:
            found["FILES were made"] += 1
    return found, failures


def listing(folder):
    """Return all paths in a folder."""
    return sorted(str(path) for path in Path(folder).rglob("*"))


def main():
    """Run one of the attacks, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("attack", choices=("kills", "fuzz"))
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backbone", action="store_true", help='of "kills": its files')
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    failures = []
    start = time.perf_counter()
    if args.attack == "kills":
        found = kills(args.times, args.seed, backbone=args.backbone)
    else:
        found, failures = fuzz(args.times, args.seed)
    for name, count in sorted(found.items()):
        print(f"{name:30} {count:8,}")
    print(f"{time.perf_counter() - start:.0f} s")
    for text in dict.fromkeys(failures[:1000]):
        print(text)
    is_wrong = any(
        word in name for name in found for word in ("MIX", "BROKEN", "FAILS", "FILES")
    )
    sys.exit(is_wrong)


if __name__ == "__main__":
    main()
