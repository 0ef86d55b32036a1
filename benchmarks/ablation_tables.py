"""Tables of `ablation.py`, from its rows."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr
from tables import line, table

BASES = {"base": 0, "base, another seed": 100, "base, a third seed": 200}  # and seeds
FROZEN, SEARCHED = ", frozen", "searched"
OTHER_KINDS = ("unrelated", "random", "none")  # of prompts that are not about the task


@dataclass(frozen=True)
class Difference:
    """How many points a variant is ahead of the base, over all tasks and seeds.

    `error` is the standard error of the `n_runs` differences. `by_task` has the names
    of data sets, and the mean over the seeds.
    """

    method: str
    defaults: str
    mean: float
    error: float
    n_runs: int
    by_task: list


def by_seed(rows):
    """Return the accuracy by task, method and seed; the latest of a seed counts."""
    found = {}
    for row in rows:
        methods = found.setdefault(row["task"], {}).setdefault(row["method"], {})
        methods[row["seed"]] = row["scores"]["accuracy"]
    return found


def differences(rows, group):
    """Return the differences of all variants in one group, the best ones first.

    A group is what the names of tasks end with: "1000-minilm". Variants are compared
    with a base of the same defaults alone.
    """
    found = []
    rows = [r for r in rows if r["task"].partition("-")[2] == group]
    for defaults in sorted({row["defaults"] for row in rows if row["defaults"]}):
        gaps = {}
        chosen = [row for row in rows if row["defaults"] == defaults]
        for task, methods in by_seed(chosen).items():
            bases = [methods.pop(name) for name in BASES if name in methods]
            for method, seeds in methods.items():
                for seed in sorted(seeds):
                    scores = [base[seed] for base in bases if seed in base]
                    if scores:
                        gap = 100 * (seeds[seed] - np.mean(scores))
                        gaps.setdefault(method, {}).setdefault(task, []).append(gap)
        found += [difference(m, defaults, by_task) for m, by_task in gaps.items()]
    return sorted(found, key=lambda each: -each.mean)


def difference(method, defaults, gaps):
    """Return the summary of one variant's differences by task."""
    runs = np.concatenate(list(gaps.values()))
    error = runs.std(ddof=1) / len(runs) ** 0.5 if len(runs) > 1 else np.nan
    by_task = [(name.partition("-")[0], np.mean(found)) for name, found in gaps.items()]
    return Difference(method, defaults, runs.mean(), error, len(runs), by_task)


def difference_table(rows, n_texts):
    """Return the differences of all variants on so many texts, by backbone."""
    lines = []
    for backbone, model in (("minilm", "MiniLM"), ("gemma", "Gemma 3 270M")):
        found = differences(rows, f"{n_texts}-{backbone}")
        if not found:
            continue
        n_runs = max(each.n_runs for each in found)
        runs = "one run" if n_runs == 1 else f"up to {n_runs} runs"
        lines += [f"{model}, {n_texts:,} texts, {runs} of each:", ""]
        heading = ["changed", "defaults", "points", "standard error", "by data set"]
        lines += [*table(heading, [difference_line(each) for each in found]), ""]
    return lines


def difference_line(found):
    """Return one variant's line."""
    by_task = ", ".join(f"{name} {gap:+.1f}" for name, gap in found.by_task)
    error = "" if np.isnan(found.error) else f"{found.error:.1f}"
    return line([found.method, found.defaults, f"{found.mean:+.1f}", error, by_task])


def layer_table(rows):
    """Return the accuracy with each layer's frozen states, by data set."""
    found = by_seed(row for row in rows if row["task"].startswith("layers-"))
    lines = [
        line(
            [f"`{task}`", *(f"{np.mean([*s.values()]):.3f}" for s in methods.values())]
        )
        for task, methods in found.items()
    ]
    n_layers = max((len(methods) for methods in found.values()), default=0)
    return table(["layer", *range(1, n_layers + 1)], lines) if lines else []


def candidates(prompts):
    """Return the names of the prompts that are searched among."""
    return [*prompts][::4]


def kind(method):
    """Return the kind of a prompt."""
    return method.partition(":")[0]


def by_kind(scores):
    """Return the scores of prompts by their kind, and those of all about the task."""
    found = {}
    for method, each in scores.items():
        found.setdefault(kind(method), []).append(each)
    about = [each for name, each in scores.items() if kind(name) not in OTHER_KINDS]
    return found | ({"all about the task": about} if about else {})


def spread(scores):
    """Return mean, least and most."""
    if len(scores) < 2:
        return "".join(f"{score:.3f}" for score in scores)
    return f"{np.mean(scores):.3f} ({np.min(scores):.3f} to {np.max(scores):.3f})"


def prompt_lines(rows, prompts, is_few):
    """Return the spread over the prompts of each kind, frozen and trained.

    The kind of a prompt is what stands before the colon in its name. Each draw of the
    training texts has a column, as far as all of the prompts were trained on it. Tasks
    on few texts are those where no model was frozen.
    """
    lines = []
    rows = [row for row in rows if row["task"].startswith("prompts-")]
    ids = {row["task"]: row["defaults"] for row in rows if FROZEN not in row["method"]}
    for task, methods in by_seed(rows).items():
        columns = prompt_columns(methods)
        if ("frozen" not in columns) != is_few:
            continue
        kinds = {name: by_kind(column) for name, column in columns.items()}
        cells = []
        for each in dict.fromkeys(each for found in kinds.values() for each in found):
            scores = [found.get(each, []) for found in kinds.values()]
            cells.append(line([each, max(map(len, scores)), *map(spread, scores)]))
        lines += [f"`{task}`, accuracy, defaults {ids.get(task)}:", ""]
        lines += [*table(["kind of prompt", "prompts", *columns], cells), ""]
        lines += correlation_lines(columns)
        lines += searched_lines(methods, candidates(prompts[task.split("-")[1]]))
    return lines


def prompt_columns(methods):
    """Return accuracies by prompt, for the frozen model and each draw of the texts."""
    columns = {}
    for method, seeds in methods.items():
        if method.endswith(FROZEN):
            columns.setdefault("frozen", {})[method.removesuffix(FROZEN)] = seeds[0]
        elif method != SEARCHED:
            for seed, accuracy in seeds.items():
                columns.setdefault(f"draw {seed}", {})[method] = accuracy
    return columns


def correlation_lines(columns):
    """Return how two columns agree; with a frozen one, on prompts about the task."""
    if len(columns) != 2:
        return []
    (one, first), (other, second) = columns.items()
    left_out = OTHER_KINDS if one == "frozen" else ()
    names = [n for n in first if n in second and kind(n) not in left_out]
    if len(names) < 3:
        return []
    before, after = np.array([(first[n], second[n]) for n in names]).T
    return [
        f"Rank correlation of {one} and {other}: "
        f"{spearmanr(before, after).statistic:.2f}. The best prompt of {one} has "
        f"{after[before.argmax()]:.3f} in {other}; the best has {after.max():.3f}, "
        f"the median {np.median(after):.3f}.",
        "",
    ]


def searched_lines(methods, names):
    """Return what each seed's search ended with, beside a fit with each prompt."""
    lines = []
    for seed, score in sorted(methods.get(SEARCHED, {}).items()):
        each = [methods[n][seed] for n in names if seed in methods.get(n, {})]
        if len(each) == len(names):
            lines += [
                f"`GridSearchCV` with three folds among {len(names)} of them: "
                f"{score:.3f}; with each of these {min(each):.3f} to "
                f"{max(each):.3f}, mean {np.mean(each):.3f}.",
                "",
            ]
    return lines


def tables(rows, prompts):
    """Return the tables of the pages by name; `prompts` are those of each data set."""
    return {
        "ablation": difference_table(rows, 1000),
        "ablation few": difference_table(rows, 200),
        "prompts": prompt_lines(rows, prompts, is_few=False),
        "few": prompt_lines(rows, prompts, is_few=True),
        "by layer": layer_table(rows),
    }
