"""Methods over many tasks: average ranks, what of them is chance, wins and losses.

A cell has the scores of one method in one task by seed, higher is better:
``cells[task][method][seed]``. Methods are compared on the seeds, and with them the
rows, that all of them have. The statistics are those of Demšar, "Statistical
comparisons of classifiers over multiple data sets", JMLR 7, 2006, section 3.2.
"""

from dataclasses import dataclass

import numpy as np
from plots import save, subplots
from scipy.stats import friedmanchisquare, rankdata, studentized_range

TIE = 0.005  # of a score; differences below it count as none


@dataclass(frozen=True)
class Ranks:
    """Average ranks over the data sets of the tasks that all methods have done.

    `means` are the average ranks, 1 the best, and `scores` the mean scores of the
    `methods`, the best first. A method's ranks in tasks of the same data are averaged
    first: they are no independent trials. `p_value` is that of Friedman's test that all
    methods are alike, NaN if it does not apply; `critical` the difference in ranks that
    is none by chance, at 5 %, by Nemenyi's test.
    """

    methods: list
    means: np.ndarray
    scores: np.ndarray
    n_tasks: int
    n_data: int
    p_value: float
    critical: float


@dataclass(frozen=True)
class Duel:
    """One method against another, over the tasks that both have done."""

    won: int
    tied: int
    lost: int
    mean: float
    median: float
    worst: float
    worst_task: str


def rank(cells, among=None):
    """Return the `Ranks` of the methods that most tasks have, or None if too few.

    `among` names the methods that are considered; by default all are.
    """
    if among is not None:
        cells = {task: _only(cell, among) for task, cell in cells.items()}
    methods = complete_methods(cells)
    if len(methods) < 2:
        return None
    shared = {task: shared_means(cell, methods) for task, cell in cells.items()}
    done = [task for task, means in shared.items() if means is not None]
    if not done:
        return None
    scores = np.array([shared[task] for task in done])
    # The same questions have six classes, or fifty.
    sources = [task.partition("-")[0].rstrip("0123456789") for task in done]
    data = np.unique(sources, return_inverse=True)[1]
    by_task = rankdata(-scores, axis=1)
    ranks = np.stack([by_task[data == i].mean(axis=0) for i in range(data.max() + 1)])
    n_data, n_methods = ranks.shape
    p_value = critical = np.nan
    if n_methods > 2 and n_data > 1:
        p_value = friedmanchisquare(*ranks.T).pvalue
        critical = studentized_range.ppf(0.95, n_methods, np.inf) / np.sqrt(2)
        critical *= np.sqrt(n_methods * (n_methods + 1) / (6 * n_data))
    order = np.argsort(ranks.mean(axis=0), kind="stable")
    return Ranks(
        [methods[i] for i in order],
        ranks.mean(axis=0)[order],
        scores.mean(axis=0)[order],
        len(done),
        n_data,
        float(p_value),
        float(critical),
    )


def _only(cell, methods):
    return {method: runs for method, runs in cell.items() if method in methods}


def shared_means(cell, methods):
    """Return the methods' mean scores over the seeds of all; None without any."""
    if not set(methods) <= set(cell):
        return None
    seeds = sorted(set.intersection(*(set(cell[method]) for method in methods)))
    if not seeds:
        return None
    return [float(np.mean([cell[method][s] for s in seeds])) for method in methods]


def complete_methods(cells):
    """Return the methods that at least half of the tasks have, in their first order."""
    counts = {}
    for cell in cells.values():
        for method in cell:
            counts[method] = counts.get(method, 0) + 1
    return [method for method, n in counts.items() if 2 * n >= len(cells)]


def duel(cells, method, peer):
    """Return the `Duel` of two methods, or None if no task has both."""
    pairs = {task: shared_means(cell, (method, peer)) for task, cell in cells.items()}
    gaps = {task: pair[0] - pair[1] for task, pair in pairs.items() if pair is not None}
    if not gaps:
        return None
    values = np.array([*gaps.values()])
    won, lost = int((values > TIE).sum()), int((values < -TIE).sum())
    return Duel(
        won,
        len(values) - won - lost,
        lost,
        float(values.mean()),
        float(np.median(values)),
        float(values.min()),
        min(gaps, key=gaps.get),
    )


def draw(ranks, file):
    """Draw a critical-difference diagram: bars join what may differ by chance."""
    n_methods = len(ranks.methods)
    groups = chance_groups(ranks)
    height = 0.9 + 0.28 * (n_methods + 1) / 2 + 0.12 * len(groups)
    figure, axes = subplots(figsize=(8, height))
    axes.set(xlim=(0.4, n_methods + 0.6), ylim=(-(n_methods + 1) / 2 - 0.6, 0.2))
    axes.xaxis.tick_top()
    axes.set_xticks(range(1, n_methods + 1))
    axes.yaxis.set_visible(False)
    for side in ("left", "right", "bottom"):
        axes.spines[side].set_visible(False)
    for level, (first, last) in enumerate(groups):
        y = -0.15 - 0.16 * level
        ends = ranks.means[first] - 0.04, ranks.means[last] + 0.04
        axes.plot(ends, (y, y), linewidth=3, color="black", solid_capstyle="butt")
    below = 0.2 + 0.16 * len(groups)
    for i, (method, mean) in enumerate(zip(ranks.methods, ranks.means, strict=True)):
        is_left = i < (n_methods + 1) // 2
        place = i if is_left else n_methods - 1 - i
        y = -below - 0.4 * (place + 1)
        end = 0.45 if is_left else n_methods + 0.55
        axes.plot((mean, mean, end), (0, y, y), linewidth=0.8, color="grey")
        align = "left" if is_left else "right"
        axes.text(end, y + 0.04, f"{method} ({mean:.2f})", ha=align, va="bottom")
    save(figure, file)


def chance_groups(ranks):
    """Return the first and last place of each longest row of methods that are alike."""
    groups = []
    for first, mean in enumerate(ranks.means):
        alike = np.flatnonzero(ranks.means - mean <= ranks.critical)
        last = int(alike[-1]) if len(alike) else first
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups
