"""Backbones of strangers: broken and malicious files, and what comes of them.

    python benchmarks/hostile.py --times 5000 --seed 0 --workers 2

Files of tiny valid backbones (BERT, BERT with `vocab.txt`, Llama in shards, Llama as
GGUF) are changed at random: bytes, values, links, pipes, pickles, code. An estimator
then reads texts with them, or is fitted. Each time it must work or raise a documented
error, within `--seconds` and `--megabytes`, with no file outside opened, no socket, no
process and no code of the directory run. `--only N` runs one case again and prints it.
"""

import argparse
import contextlib
import gc
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import mkdtemp

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads do not survive a fork
os.environ["RUST_BACKTRACE"] = "0"

import transformers
from hostile_files import break_files
from hostile_models import MAKERS, make_outside
from tripwire import Tripwire

from sksemantic import SKTuningClassifier
from sksemantic.exceptions import SKSemanticError

TEXTS = ["a joy to watch", "warm and funny", "dull and slow", "a waste of time"] * 4
TEXTS[0] = "a" * 30 + "! " + "the film " * 20
LABELS = ["good", "good", "bad", "bad"] * 4
SHARE_OF_FITS = 0.2
FINE = ("works", "refused")


def prepare(root):
    """Make the backbones, estimators fitted on them, and what must not be read."""
    for name, make in MAKERS.items():
        model = root / "models" / name
        model.mkdir(parents=True)
        make(model)
        clf = SKTuningClassifier(model=str(model), max_epochs=1, device="cpu")
        clf.fit(TEXTS, LABELS).save_pretrained(root / "saved" / name)
    make_outside(root / "outside", root / "models" / "bert")
    shutil.copytree(root / "outside", root / "payloads")


def use(saved, model, *, is_fit):
    """Read texts with the backbone in a directory."""
    if is_fit:
        clf = SKTuningClassifier(model=str(model), max_epochs=1, device="cpu")
        clf.fit(TEXTS, LABELS)
    else:
        clf = SKTuningClassifier.from_pretrained(
            saved, model=str(model), verify_backbone=False
        )
    clf.predict(TEXTS)


def is_documented(exc):
    """Return whether an error is of the package's classes, or raised by its code."""
    *_, (frame, _) = traceback.walk_tb(exc.__traceback__)
    is_ours = frame.f_globals.get("__name__", "").startswith("sksemantic")
    return isinstance(exc, SKSemanticError) or (isinstance(exc, ValueError) and is_ours)


def causes(exc):
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


def lacks_memory(exc):
    return any(
        isinstance(each, MemoryError) or "allocate memory" in str(each)
        for each in causes(exc)
    )


def outcome(saved, model, *, is_fit):
    """Return what came of a directory, and the error in full."""
    try:
        use(saved, model, is_fit=is_fit)
    except BaseException as exc:
        text = "".join(traceback.format_exception(exc))
        if lacks_memory(exc):
            return "MEMORY", text
        if is_documented(exc):
            return "refused", f"{type(exc).__name__}: {exc}"
        return f"UNDOCUMENTED {type(exc).__name__}", text
    return "works", ""


def limit_memory(megabytes):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def in_child(case, root, folder, options):
    """Run one case, write what came of it, and end this process."""
    name, is_fit = case["model"], case["fit"]
    with open(os.devnull, "w") as silent:
        os.dup2(silent.fileno(), 1)
        os.dup2(silent.fileno(), 2)
    wire = Tripwire(folder / "model", root / "outside")
    limit_memory(options.megabytes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    found, error = outcome(root / "saved" / name, folder / "model", is_fit=is_fit)
    seconds = time.perf_counter() - start
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    result = {"outcome": found, "error": error[-8000:], "wire": wire.seen()}
    result |= {"seconds": seconds, "megabytes": used}
    (folder / "result.json").write_text(json.dumps(result))


def run_case(number, root, options):
    """Break a copy of a backbone, and use it in a process of its own."""
    rng = random.Random(f"{options.seed}-{number}")
    name = rng.choice([*MAKERS])
    folder = root / f"case-{number}"
    model = shutil.copytree(root / "models" / name, folder / "model")
    changes = break_files(model, rng, root / "outside")
    case = {"number": number, "model": name, "changes": changes}
    case["fit"] = rng.random() < SHARE_OF_FITS
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            in_child(case, root, folder, options)
            code = 0
        os._exit(code)
    deadline = time.monotonic() + options.seconds
    status = None
    while status is None and time.monotonic() < deadline:
        done, code = os.waitpid(child, os.WNOHANG)
        status = code if done else None
        time.sleep(0.005)
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        case |= {"outcome": f"HANGS over {options.seconds} s"}
    elif (folder / "result.json").exists():
        case |= json.loads((folder / "result.json").read_text())
    else:
        case |= {"outcome": f"DIES with status {status}"}
    if not options.keep:
        shutil.rmtree(folder)
    return case


def faults(case):
    """Return what is wrong with what came of a case."""
    wrong = [] if case["outcome"] in FINE else [case["outcome"]]
    wrong += [f"TOUCHES {event}" for event in case.get("wire", [])]
    if case.get("megabytes", 0) > case["limit"]:
        wrong.append("MEMORY that is used")
    return wrong


def work(numbers, root, options, share):
    """Run the cases of one worker; write each as a line of JSON."""
    with (root / f"cases-{share}.jsonl").open("w") as file:
        for number in numbers:
            case = run_case(number, root, options)
            case["limit"] = options.megabytes // 2
            file.write(json.dumps(case) + "\n")
            file.flush()


def warm_up(root):
    """Import what a fit imports, so that no child does it again."""
    for name in MAKERS:
        for is_fit in (True, False):
            use(root / "saved" / name, root / "models" / name, is_fit=is_fit)
        transformers.AutoTokenizer.from_pretrained(root / "models" / "bert")
    gc.collect()
    gc.freeze()


def run(root, options):
    """Run all cases; return them."""
    prepare(root)
    warm_up(root)
    numbers = [options.only] if options.only is not None else range(options.times)
    workers = []
    for share in range(options.workers):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work(numbers[share :: options.workers], root, options, share)
                code = 0
            except BaseException:
                traceback.print_exc()
            os._exit(code)
        workers.append(child)
    with ThreadPoolExecutor() as pool:
        ends = pool.map(lambda child: os.waitpid(child, 0)[1], workers)
    if any(ends):
        raise RuntimeError("a worker has failed")
    lines = [f.read_text().splitlines() for f in sorted(root.glob("cases-*.jsonl"))]
    return [json.loads(line) for each in lines for line in each]


def report(cases, seconds, most=4):
    """Print what came of the cases; return whether anything is wrong."""
    found, wrong = Counter(case["outcome"] for case in cases), {}
    for case in cases:
        for fault in faults(case):
            fault = fault.replace(f"case-{case['number']}", "case-N")
            wrong.setdefault(fault, []).append(case)
    for name, count in sorted(found.items()):
        print(f"{name:40} {count:8,}")
    print(f"{len(cases):,} cases in {seconds:.0f} s, {len(wrong)} kinds of faults")
    slowest = max(case.get("seconds", 0) for case in cases)
    largest = max(case.get("megabytes", 0) for case in cases)
    print(f"the slowest took {slowest:.1f} s, the largest {largest:,} MB more")
    for fault, those in sorted(wrong.items()):
        print(f"\n{fault}: {len(those)}")
        for case in {c.get("error", "")[-100:]: c for c in those[::-1]}.values():
            print(f"  {case['number']} {case['model']}: {case['changes'][:300]}")
            if most > 0:
                print("    " + "\n    ".join(case.get("error", "").splitlines()[-6:]))
            most -= 1
        most = 4
    return bool(wrong)


def main():
    """Run the cases, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--megabytes", type=int, default=2048)
    parser.add_argument("--only", type=int, help="the number of one case")
    parser.add_argument("--keep", action="store_true", help="the directories")
    parser.add_argument("--file", type=Path, help="takes a line of JSON for each case")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    root = Path(mkdtemp())
    try:
        cases = run(root, options)
    finally:
        if not options.keep:
            shutil.rmtree(root)
    if options.file is not None:
        options.file.write_text("\n".join(map(json.dumps, cases)))
    if options.only is not None:
        print(json.dumps(cases[0], indent=1).replace("\\n", "\n"))
    sys.exit(report(cases, time.perf_counter() - start))


if __name__ == "__main__":
    main()
