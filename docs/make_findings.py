"""Write the tables of `findings.md` and `tasks.md` from the results of the benchmarks.

Usage: ``python docs/make_findings.py``. They are never edited by hand; the results are
those of `ablation.py`, `prompts.py`, `suite.py` and `tasks.py`, run with
``--json benchmarks/results/NAME.jsonl``.
"""

import sys

import numpy as np
from _pages import DOCS, mean_and_spread, table, table_line, write_part
from scipy.stats import rankdata

FEW = 64
BENCHMARKS = DOCS.parent / "benchmarks"
RESULTS = BENCHMARKS / "results"

sys.path.insert(0, str(BENCHMARKS))

import ablation  # noqa: E402
import prompts  # noqa: E402
import suite  # noqa: E402
import tasks  # noqa: E402
from _ranks import shared_means  # noqa: E402
from _runner import by_seed, plain, read_results  # noqa: E402
from make_comparison import MODELS  # noqa: E402


def ablation_lines(n_texts):
    """Return the differences of all variants on so many texts, by backbone."""
    results = read_results(RESULTS / "ablation.jsonl")
    lines = []
    for short, model in MODELS.items():
        group = f"{n_texts}-{short}"
        found = ablation.differences(ablation.TASKS, results, group)
        if found:
            heading = ["changed", "points", "standard error", "by data set"]
            rows = [difference_line(each) for each in found]
            n_runs = max(each.n_runs for each in found)
            runs = "one run" if n_runs == 1 else f"up to {n_runs} runs"
            lines += [f"{model}, {n_texts:,} texts, {runs} of each:", ""]
            lines += [*table(heading, rows), ""]
    return lines


def difference_line(found):
    """Return one variant's line."""
    by_task = ", ".join(f"{name} {gap:+.1f}" for name, gap in found.by_task)
    error = "" if np.isnan(found.error) else f"{found.error:.1f}"
    return table_line([found.method, f"{found.mean:+.1f}", error, by_task])


def prompt_lines(results):
    """Return the spread over the prompts of each kind, data set by data set."""
    lines = []
    results = plain(results)
    for name in prompts.TASKS:
        pairs = prompts.before_and_after(prompts.TASKS, results, name)
        told = prompts.foretold(pairs)
        if told is None:
            continue
        rows = []
        for kind, found in prompts.kinds(pairs).items():
            cells = [spread(scores) for scores in np.array(found).T]
            rows.append(table_line([kind, str(len(found)), *cells]))
        for run in by_seed(results)[name].get(f"none, {prompts.FROZEN}", {}).values():
            score = f"{run[prompts.TASKS[name].scoring]:.3f}"
            rows.append(table_line(["none", "", score, ""]))
        heading = ["kind of prompt", "prompts", "frozen", "trained"]
        lines += [f"`{name}`, accuracy:", "", *table(heading, rows), ""]
        lines += [
            f"Rank correlation of frozen and trained over those about the task: "
            f"{told.correlation:.2f}. The prompt that is the best frozen has "
            f"{told.chosen:.3f} trained; the best has {told.best:.3f}, the median "
            f"{told.median:.3f}.",
            "",
        ]
        lines += searched_lines(results, name)
    return lines


def searched_lines(results, name):
    """Return what searches ended with."""
    lines = []
    for found in prompts.searched(prompts.TASKS, results, name):
        lines += [
            f"`GridSearchCV` with three folds among {found.n_prompts} of them: "
            f"{found.score:.3f}; with each of these {found.worst:.3f} to "
            f"{found.best:.3f}, mean {found.mean:.3f}.",
            "",
        ]
    return lines


def few_lines(results, n_texts):
    """Return what prompts of each kind are worth to those trained on few texts.

    Draw by draw of the texts, as far as all of the prompts were trained on it.
    """
    results = plain(results, n_texts)
    lines = []
    for name, methods in by_seed(results).items():
        scoring = prompts.TASKS[name].scoring
        methods.pop(prompts.SEARCHED, None)
        draws = sorted(set.intersection(*map(set, methods.values())))
        scores = {
            method: [runs[draw][scoring] for draw in draws]
            for method, runs in methods.items()
        }
        rows = [
            table_line([kind, str(len(found)), *map(spread, np.array(found).T)])
            for kind, found in prompts.kinds(scores).items()
        ]
        heading = ["kind of prompt", "prompts", *(f"draw {i}" for i in draws)]
        lines += [f"`{name}`, accuracy after training on {n_texts} texts:", ""]
        lines += [*table(heading, rows), ""]
        if len(draws) > 1:
            ranks = rankdata([*scores.values()], axis=0)  # (n_prompts, n_draws)
            between = np.corrcoef(ranks.T)[np.triu_indices(len(draws), 1)].mean()
            lines += [f"Rank correlation between draws: {between:.2f}.", ""]
        lines += searched_lines(results, name)
    return lines


def spread(scores):
    """Return mean, least and most."""
    if len(scores) == 1:
        return f"{scores[0]:.3f}"
    return f"{scores.mean():.3f} ({scores.min():.3f} to {scores.max():.3f})"


def gain_lines(results, *pairs, headings=("without", "with")):
    """Return the suite's results with the estimator's one form and another.

    Each pair names, by their overridden parameters, two forms to be compared. Tasks on
    other numbers of rows than their own come last; lines say what more was set in the
    second form than in the first pair's.
    """
    usual = pairs[0][1].split()
    rows = []
    for size in sorted({result["train_size"] or 0 for result in results}):
        chosen = [r for r in results if (r["train_size"] or 0) == size]
        cells = suite.scores_by_task(suite.TASKS, chosen)
        of_size = f" --train-size {size}" if size else ""
        for name, cell in ((n, cells[n]) for n in suite.TASKS if n in cells):
            for one, other in pairs:
                forms = [" ".join([suite.OURS, *form.split()]) for form in (one, other)]
                means = shared_means(cell, forms)
                if means is not None:
                    more = [each for each in other.split() if each not in usual]
                    option = of_size + "".join(f" --set {each}" for each in more)
                    n_seeds = len(set.intersection(*(set(cell[f]) for f in forms)))
                    rows.append(gain_line(name, option, n_seeds, *means))
    return table(["task", "score", "seeds", *headings, "gain"], rows)


def gain_line(name, option, n_seeds, first, second):
    """Return the line of both forms' means over the seeds that they share."""
    scores = [f"{first:.3f}", f"{second:.3f}", f"{second - first:+.3f}"]
    scoring = suite.TASKS[name].scoring.replace("_", " ")
    return table_line([f"`{name}{option}`", scoring, str(n_seeds), *scores])


def size_lines(results, methods):
    """Return the scores, and how many values are trained, of methods side by side.

    `methods` has the headings of the columns by the suite's names.
    """
    results = [result for result in results if result["train_size"] is None]
    cells = suite.scores_by_task(suite.TASKS, results)
    runs = by_seed(results, suite.label)
    rows, means, trained = [], [], []
    for name in suite.TASKS:
        found = shared_means(cells.get(name, {}), methods)
        if found is not None:
            rows.append(table_line([f"`{name}`", *(f"{mean:.3f}" for mean in found)]))
            means.append(found)
            firsts = [next(iter(runs[name][method].values())) for method in methods]
            trained.append([first["n_trainable_params"] for first in firsts])
    rows += [
        table_line(["mean", *(f"{mean:.3f}" for mean in np.mean(means, axis=0))]),
        table_line(["trained", *(f"{n:,.0f}" for n in np.median(trained, axis=0))]),
    ]
    return table(["task", *methods.values()], rows)


def task_lines():
    """Return the scores of each task but those on few labels, ours first."""
    results = plain(read_results(RESULTS / "tasks.jsonl"))
    groups = by_seed(result for result in results if result["shots"] is None)
    rows = []
    for name, task in tasks.TASKS.items():
        found = {
            method: list(runs.values()) for method, runs in groups.get(name, {}).items()
        }
        main = next(iter(task.ours))
        if main in found:
            peers = [
                f"{method} {score(task, runs)}"
                for method, runs in found.items()
                if method != main
            ]
            n_train = f"{found[main][0]['n_train']:,}"
            scoring = task.scoring.replace("_", " ")
            cells = [f"`{name}`", n_train, scoring, score(task, found[main])]
            rows.append(table_line([*cells, ", ".join(peers)]))
    return table(["task", "rows", "score", "ours", "beside it"], rows)


def score(task, runs):
    """Return the score of one method's runs."""
    return mean_and_spread([run[task.scoring] for run in runs])


def main():
    """Replace the tables in the pages."""
    write_part(DOCS / "findings.md", "ablation", ablation_lines(1000))
    write_part(DOCS / "findings.md", "ablation few", ablation_lines(200))
    asked = read_results(RESULTS / "prompts.jsonl")
    write_part(DOCS / "findings.md", "prompts", prompt_lines(asked))
    write_part(DOCS / "findings.md", "few", few_lines(asked, FEW))
    scores = read_results(RESULTS / "suite.jsonl")
    gains = gain_lines(scores, ("text_rank=0", ""))
    write_part(DOCS / "findings.md", "text rank", gains)
    forms = ("contrast=0", ""), ("contrast=0", "contrast=1.0"), ("", "contrast=1.0")
    write_part(DOCS / "findings.md", "contrast", gain_lines(scores, *forms))
    sizes = {"LoRA": "LoRA", suite.FASTER: suite.FASTER, suite.OURS: "rank 8"}
    sizes |= {f"{suite.OURS} adapter_rank={rank}": f"rank {rank}" for rank in (4, 2)}
    write_part(DOCS / "findings.md", "sizes", size_lines(scores, sizes))
    rates = gain_lines(scores, ("lr=0.004", ""), headings=("at 4e-3", "at 1e-2"))
    write_part(DOCS / "findings.md", "rates", rates)
    rates = gain_lines(scores, ("head_lr=0.003", ""), headings=("at 3e-3", "at 1.5e-3"))
    write_part(DOCS / "findings.md", "head rates", rates)
    all_layers = ("", "n_layers=all tuned_layers=all")
    depths = gain_lines(scores, all_layers, headings=("12 layers", "all"))
    write_part(DOCS / "findings.md", "layers", depths)
    write_part(DOCS / "tasks.md", "tasks", task_lines())


if __name__ == "__main__":
    main()
