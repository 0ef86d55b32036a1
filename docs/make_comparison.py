"""Write `comparison.md`'s tables and diagrams from the results of the benchmarks.

Usage: ``python docs/make_comparison.py``. They are never edited by hand; the results
come from ``python benchmarks/suite.py --json benchmarks/results/suite.jsonl``.
"""

import sys

import numpy as np
from _pages import DOCS, mean_and_spread, table, table_line, write_part

ROOT = DOCS.parent
PAGE = DOCS / "comparison.md"
RESULTS = ROOT / "benchmarks" / "results" / "suite.jsonl"

sys.path.insert(0, str(ROOT / "benchmarks"))

import suite  # noqa: E402
from _ranks import draw, duel, rank, shared_means  # noqa: E402
from _runner import by_seed, mark, plain, read_results  # noqa: E402

EFFICIENT = [suite.OURS, *suite.PEFT]
WITH_FASTER = [suite.OURS, suite.FASTER, *suite.PEFT[1:]]
MODELS = {"minilm": "MiniLM", "gemma": "Gemma 3 270M"}


def section(short, results, folder):
    """Return the part of the page on one backbone, as lines of Markdown."""
    results = [r for r in results if r["task"].endswith(short)]
    runs = by_seed(results, suite.label)
    cells = suite.scores_by_task(suite.TASKS, results)
    cells = {name: cells[name] for name in suite.TASKS if name in cells}
    if not cells:
        return []
    methods = in_order(cells)
    return [
        f"## {MODELS[short]}",
        "",
        *score_table(cells, methods, runs),
        "",
        *rank_lines(short, cells, folder),
        *duel_table(cells, methods),
        "",
        *cost_table(runs, methods),
        "",
    ]


def in_order(cells):
    """Return all methods, ours first, in the order of the suite."""
    known = [suite.OURS, "LoRA", suite.FASTER, *suite.PEFT[1:]]
    known += ["frozen + linear", "TF-IDF + linear"]
    found = {method for cell in cells.values() for method in cell}
    return [m for m in known if m in found] + sorted(found - set(known))


def score_table(cells, methods, runs):
    """Return one line for each task: score and seeds.

    In bold is what is best of several on the seeds that all of the line have; a star
    stands where the estimator kept its closed-form head.
    """
    lines = []
    for name, cell in cells.items():
        there = list(cell)
        means = np.round(shared_means(cell, there) or np.full(len(there), np.nan), 3)
        top = max(means) if len(there) > 1 else np.nan
        best = {m for m, mean in zip(there, means, strict=True) if mean == top}
        stars = {m: max(map(mark, runs[name][m].values())) for m in there}
        found = [score_cell(cell.get(m), m in best) + stars.get(m, "") for m in methods]
        scoring = suite.TASKS[name].scoring.replace("_", " ")
        lines.append(table_line([f"`{name}`", scoring, *found]))
    return table(["task", "score", *methods], lines)


def score_cell(seeds, is_best):
    """Return a method's score in a task, the best one in bold; `seeds` may be None."""
    if not seeds:
        return ""
    scores = [*seeds.values()]
    mean, *spread = mean_and_spread(scores).split(" ")
    return " ".join([f"**{mean}**" if is_best else mean, *spread])


def rank_lines(short, cells, folder):
    """Return the average ranks in words and, of all methods, as a diagram."""
    ranks, faster = rank(cells), rank(cells, WITH_FASTER)
    lines = ranks_in_words("the parameter-efficient methods", rank(cells, EFFICIENT))
    if faster is not None and suite.FASTER in faster.methods:
        lines += ranks_in_words("the same with LoRA's other rate", faster)
    lines += ranks_in_words("all methods", ranks)
    if ranks is not None and np.isfinite(ranks.critical):
        file = f"ranks_{short}.svg"
        draw(ranks, folder / file)
        lines += [f"![Average ranks with {MODELS[short]}]({file})", ""]
    return lines


def ranks_in_words(methods, ranks):
    """Return the average ranks, if there are any, and what of them may be chance."""
    if ranks is None or ranks.n_data < 2:
        return []
    places = zip(ranks.methods, ranks.means, strict=True)
    listed = ", ".join(f"{method} {mean:.2f}" for method, mean in places)
    found = f"{ranks.n_tasks} tasks of {ranks.n_data} data sets"
    lines = [f"Average ranks of {methods}, {found} that these have done: {listed}."]
    if np.isfinite(ranks.critical):
        lines.append(
            f"Friedman's test: p = {ranks.p_value:.2g}; methods that are less than "
            f"{ranks.critical:.2f} ranks apart may differ by chance."
        )
    return [*lines, ""]


def duel_table(cells, methods):
    """Return wins, ties and losses against each peer."""
    lines = []
    for peer in methods:
        found = duel(cells, suite.OURS, peer) if peer != suite.OURS else None
        if found:
            gaps = [f"{gap:+.3f}" for gap in (found.mean, found.median, found.worst)]
            counts = [str(n) for n in (found.won, found.tied, found.lost)]
            lines.append(table_line([peer, *counts, *gaps, f"`{found.worst_task}`"]))
    heading = ["won", "tied", "lost", "mean", "median", "worst", "worst task"]
    return table(["ours against", *heading], lines)


def cost_table(runs, methods):
    """Return seconds, as ratios to ours, and trained parameters: medians over tasks."""
    lines = []
    for method in methods:
        ratios, trained = [], []
        for groups in runs.values():
            if {method, suite.OURS} <= set(groups):
                ratios.append(seconds(groups[method]) / seconds(groups[suite.OURS]))
                first = next(iter(groups[method].values()))
                trained.append(first.get("n_trainable_params"))
        if ratios:
            known = [n for n in trained if n]
            count = f"{int(np.median(known)):,}" if known else ""
            lines.append(table_line([method, f"{np.median(ratios):.2f}", count]))
    return table(["", "seconds, of ours", "trained parameters"], lines)


def seconds(runs):
    """Return the median seconds of the training."""
    return np.median([run["seconds"] for run in runs.values()])


def main():
    """Replace the results in the page."""
    results = plain(read_results(RESULTS))
    cells = suite.scores_by_task(suite.TASKS, results)
    together = "the parameter-efficient methods, both backbones"
    lines = ranks_in_words(together, rank(cells, EFFICIENT))
    for short in MODELS:
        lines += section(short, results, PAGE.parent)
    write_part(PAGE, "results", lines)


if __name__ == "__main__":
    main()
