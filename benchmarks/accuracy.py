"""Held-out scores of the estimators and of their peers, on every kind of task.

    python benchmarks/accuracy.py --tasks sst2,trec6-200-gemma --methods ours,lora
    python benchmarks/accuracy.py --table

Every seed draws its own training rows, and trains from that seed; all methods see the
same rows. Networks train for as many epochs as the estimator, in batches of the same
size, and read the same texts inside the same prompt.
"""

import gc

import ours
import ranks
import results
from catalogue import GRID, SIZES, all_names, task_named
from peers.frozen import reader
from tables import (
    PEFT,
    beside_table,
    by_task,
    cost_table,
    duel_table,
    gain_table,
    rank_lines,
    ranks_in_words,
    score_table,
    scores_of,
    scorings,
    size_table,
)
from tasks import Case

MODEL_NAMES = {"minilm": "MiniLM", "gemma": "Gemma 3 270M"}
# Pages' tables of our estimator in two forms: pairs of what was set, and headings.
GAINS = {
    "text rank": ([("text_rank=0", "")], ("without", "with")),
    "contrast": (
        [("contrast=0", ""), ("contrast=0", "contrast=1.0"), ("", "contrast=1.0")],
        ("without", "with"),
    ),
    "rates": ([("lr=0.004", "")], ("at 4e-3", "at 1e-2")),
    "head rates": ([("head_lr=0.003", "")], ("at 3e-3", "at 1.5e-3")),
    "layers": ([("", "n_layers=all tuned_layers=all")], ("12 layers", "all")),
}
COMPARED_SIZES = {
    "LoRA": "LoRA",
    "LoRA at 3e-3": "LoRA at 3e-3",
    "ours": "rank 8",
    "ours adapter_rank=4": "rank 4",
    "ours adapter_rank=2": "rank 2",
}


def plan(args):
    """Yield the head of every run, and what is called to run it."""
    tasks = all_names() if args.tasks == ["all"] else args.tasks
    for task in [task_named(name, args.limit) for name in tasks]:
        yield from plan_task(task, args)
        reader.cache_clear()
        gc.collect()


def plan_task(task, args):
    """Yield the runs of one task, ours first."""
    settings, split = dict(args.set), {}
    for method, run in task.methods.items():
        is_ours = results.is_ours(method)
        if args.methods and method not in args.methods or (args.set and not is_ours):
            continue
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            head = {"task": task.name, "method": method, "seed": seed}
            head["set"] = settings if is_ours else {}
            if is_ours:
                head["defaults"] = results.defaults_id(ours.defaults)

            def fit(run=run, seed=seed):
                if seed not in split:
                    split[seed] = task.split(seed)
                return run(Case(task, seed, split[seed], settings))

            yield head, fit


def place(name):
    """Return where a task's line belongs: by its place in the grid, others by size."""
    known = all_names()
    task = task_named(name)
    is_known = name in known
    return not is_known, known.index(name) if is_known else task.size, name


def is_in_grid(name):
    """Return whether the comparison of all methods has a task."""
    data, size, _ = name.rsplit("-", 2)
    return data in GRID and size in map(str, SIZES)


def tables(rows, folder=None):
    """Return the tables of the pages by name; diagrams are written into a folder."""
    runs = by_task(rows)
    runs = {name: runs[name] for name in sorted(runs, key=place)}
    plain = by_task([row for row in rows if not row["set"]])
    plain = {name: plain[name] for name in sorted(plain, key=place)}
    grid = {name: plain[name] for name in plain if is_in_grid(name)}
    others = {name: plain[name] for name in plain if name not in grid}
    known = set(all_names())
    found = {"results": comparison(grid, folder)}
    found["tasks"] = beside_table({n: others[n] for n in others if n in known})
    for name, (pairs, headings) in GAINS.items():
        found[name] = gain_table(runs, pairs, headings)
    found["sizes"] = size_table(
        {name: runs[name] for name in runs if is_in_grid(name)}, COMPARED_SIZES
    )
    return found


def comparison(grid, folder):
    """Return the comparison of all methods over the grid."""
    cells = scores_of(grid, scorings(grid))
    together = "the parameter-efficient methods, both backbones"
    lines = ranks_in_words(together, ranks.rank(cells, ["ours", *PEFT]))
    for short, model in MODEL_NAMES.items():
        runs = {name: grid[name] for name in grid if name.endswith(short)}
        if runs:
            cells = scores_of(runs, scorings(runs))
            lines += [f"## {model}", "", *score_table(runs), ""]
            lines += rank_lines(cells, model, short, folder)
            for found in (duel_table(runs), cost_table(runs)):
                lines += [*found, ""] if len(found) > 2 else []
    return lines


def main():
    """Run what is missing, and print the tables of these tasks."""
    parser = results.parser(__doc__, "accuracy.jsonl", "see catalogue.py, or all")
    parser.add_argument("--set", type=results.setting, action="append", default=[])
    args = parser.parse_args()
    n_failed = 0 if args.table else results.run_missing(plan(args), args.file)
    rows = results.read(args.file)
    if args.tasks and args.tasks != ["all"]:
        wanted = {task_named(name, args.limit).name for name in args.tasks}
        rows = [row for row in rows if row["task"] in wanted]
    for name, lines in tables(rows).items():
        if len(lines) > 2:  # more than a heading
            print(f"\n{name}\n\n" + "\n".join(lines))
    results.finish(n_failed)


if __name__ == "__main__":
    main()
