"""Tables in Markdown, from rows of results. Every line says which defaults it is of."""

import numpy as np
import ranks
from catalogue import task_named
from results import is_ours

NAMES = {
    "lora": "LoRA",
    "lora-3e-3": "LoRA at 3e-3",
    "prefix-tuning": "prefix tuning",
    "prompt-tuning": "prompt tuning",
    "p-tuning": "P-tuning",
    "full": "full fine-tuning",
    "authors": "the authors' algorithm",
    "setfit": "SetFit",
    "frozen": "frozen + linear",
    "frozen-no-prompt": "frozen, no prompt",
    "frozen-rounded": "frozen + ridge, rounded",
    "tfidf": "TF-IDF + linear",
    "label-texts": "label texts",
    "label-texts-centred": "label texts, centred",
    "ours-unlabelled": "ours, and unlabelled",
    "ours-label-texts": "ours, label texts",
    "ours-label-texts-unlabelled": "ours, label texts and unlabelled",
    "ours-ordinal": "ours, ordinal",
    "ours-per-target": "ours, one per target",
    "ours-over-noise": "ours, over noise",
}
ORDER = ["ours", *NAMES]
PEFT = ("LoRA", "prefix tuning", "prompt tuning", "P-tuning")


def table(heading, lines):
    """Return the lines of a table."""
    return [line(heading), line(["---"] * len(heading)), *lines]


def line(cells):
    """Return one line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def mean_and_spread(scores):
    """Return a mean over seeds and, of several seeds, its standard deviation."""
    text = f"{np.mean(scores):.3f}"
    return f"{text} ±{np.std(scores, ddof=1):.3f}" if len(scores) > 1 else text


def label(row):
    """Return the name of a row's method, with what was set."""
    settings = [
        f"{name.rpartition('__')[2]}={value}"
        for name, value in sorted(row.get("set", {}).items())
    ]
    return " ".join([NAMES.get(row["method"], row["method"]), *settings])


def newest(rows):
    """Return the rows without those of older defaults than the last of their kind.

    A mean is never one over different defaults: of a method in a task, with what was
    set, only those rows count that have the defaults of the last one.
    """

    def kind(row):
        return row["task"], label(row)

    last = {kind(row): row["defaults"] for row in rows}
    return [
        row
        for row in rows
        if not is_ours(row["method"]) or row["defaults"] == last[kind(row)]
    ]


def by_task(rows):
    """Return the rows by task, label and seed; the latest of a seed counts."""
    found = {}
    for row in newest(rows):
        methods = found.setdefault(row["task"], {})
        methods.setdefault(label(row), {})[row["seed"]] = row
    return found


def scores_of(runs, scoring):
    """Return ``scores[task][label][seed]``, as `ranks` takes them."""
    return {
        task: {
            name: {seed: row["scores"][scoring[task]] for seed, row in seeds.items()}
            for name, seeds in methods.items()
        }
        for task, methods in runs.items()
    }


def scorings(runs):
    """Return the score that is compared, by task."""
    return {task: task_named(task).scoring for task in runs}


def defaults_of(rows):
    """Return which defaults rows of ours are of, in one cell; nothing for peers."""
    return ", ".join(
        sorted({row["defaults"] for row in rows if is_ours(row["method"])})
    )


def every(methods):
    """Return all rows of a task's methods."""
    return [row for seeds in methods.values() for row in seeds.values()]


def sorted_labels(runs):
    """Return all labels, in the order of `NAMES`."""
    found = {name for methods in runs.values() for name in methods}
    known = [name for name in map(nice, ORDER) if name in found]
    return known + sorted(found - set(known))


def nice(method):
    """Return the name of a method."""
    return NAMES.get(method, method)


def star(seeds):
    """Return a star if our estimator kept the linear probe on a seed at least."""
    return (
        "*" if any(row.get("kept") == "linear_probe" for row in seeds.values()) else ""
    )


def score_table(runs):
    """Return one line for each task, with a column for each method.

    In bold is what is best on the seeds that all of the line have.
    """
    columns, scoring = sorted_labels(runs), scorings(runs)
    cells, lines = scores_of(runs, scoring), []
    for task, methods in runs.items():
        there = list(methods)
        means = ranks.shared_means(cells[task], there)
        rounded = np.round(np.full(len(there), np.nan) if means is None else means, 3)
        top = max(rounded) if len(there) > 1 else np.nan
        best = {name for name, mean in zip(there, rounded, strict=True) if mean == top}
        found = []
        for name in columns:
            scores = [*cells[task].get(name, {}).values()]
            text = mean_and_spread(scores) if scores else ""
            mean, space, spread = text.partition(" ")
            mean = f"**{mean}**" if name in best else mean
            found.append(mean + space + spread + star(methods.get(name, {})))
        head = [
            f"`{task}`",
            scoring[task].replace("_", " "),
            defaults_of(every(methods)),
        ]
        lines.append(line([*head, *found]))
    return table(["task", "score", "defaults", *columns], lines)


def beside_table(runs):
    """Return one line for each task: ours, and all other methods in one cell."""
    scoring, lines = scorings(runs), []
    for task, methods in runs.items():
        texts = {
            name: mean_and_spread([r["scores"][scoring[task]] for r in seeds.values()])
            + star(seeds)
            for name, seeds in methods.items()
        }
        # Of ordered classes, the estimator that is told of the order is ours.
        main = "ours, ordinal" if "ours, ordinal" in texts else "ours"
        ours = texts.pop(main, "")
        if not ours:
            continue
        others = ", ".join(f"{name} {text}" for name, text in texts.items())
        rows = every(methods)
        head = [f"`{task}`", f"{max(row['n_train'] for row in rows):,}"]
        head += [scoring[task].replace("_", " "), defaults_of(rows)]
        lines.append(line([*head, ours, others]))
    return table(["task", "rows", "score", "defaults", "ours", "beside it"], lines)


def ranks_in_words(methods, found):
    """Return the average ranks, if there are any, and what of them may be chance."""
    if found is None or found.n_data < 2:
        return []
    places = zip(found.methods, found.means, strict=True)
    listed = ", ".join(f"{method} {mean:.2f}" for method, mean in places)
    done = f"{found.n_tasks} tasks of {found.n_data} data sets"
    lines = [f"Average ranks of {methods}, {done} that these have done: {listed}."]
    if np.isfinite(found.critical):
        lines.append(
            f"Friedman's test: p = {found.p_value:.2g}; methods that are less than "
            f"{found.critical:.2f} ranks apart may differ by chance."
        )
    return [*lines, ""]


def rank_lines(cells, model, short, folder):
    """Return the average ranks in words and, of all methods, as a diagram."""
    efficient, faster = ["ours", *PEFT], ["ours", "LoRA at 3e-3", *PEFT[1:]]
    lines = ranks_in_words(
        "the parameter-efficient methods", ranks.rank(cells, efficient)
    )
    found = ranks.rank(cells, faster)
    if found is not None and "LoRA at 3e-3" in found.methods:
        lines += ranks_in_words("the same with LoRA's other rate", found)
    found = ranks.rank(cells)
    lines += ranks_in_words("all methods", found)
    if folder is not None and found is not None and np.isfinite(found.critical):
        ranks.draw(found, folder / f"ranks_{short}.svg")
        lines += [f"![Average ranks with {model}](ranks_{short}.svg)", ""]
    return lines


def duel_table(runs):
    """Return wins, ties and losses against each peer."""
    cells, lines = scores_of(runs, scorings(runs)), []
    for peer in sorted_labels(runs):
        found = ranks.duel(cells, "ours", peer) if peer != "ours" else None
        if found:
            gaps = [f"{gap:+.3f}" for gap in (found.mean, found.median, found.worst)]
            counts = (found.won, found.tied, found.lost)
            lines.append(line([peer, *counts, *gaps, f"`{found.worst_task}`"]))
    heading = ["won", "tied", "lost", "mean", "median", "worst", "worst task"]
    return table(["ours against", *heading], lines)


def cost_table(runs):
    """Return seconds, as ratios to ours, and trained values: medians over tasks."""
    lines = []
    for name in sorted_labels(runs):
        both = [m for m in runs.values() if {name, "ours"} <= set(m)]
        if both:
            ratio = np.median([seconds(m[name]) / seconds(m["ours"]) for m in both])
            counts = [
                next(iter(m[name].values())).get("n_trainable_params") for m in both
            ]
            known = [count for count in counts if count]
            trained = f"{int(np.median(known)):,}" if known else ""
            lines.append(line([name, f"{ratio:.2f}", trained]))
    return table(["", "seconds, of ours", "trained values"], lines)


def seconds(seeds):
    """Return the median seconds of the training."""
    return np.median([row["seconds"] for row in seeds.values()])


def gain_table(runs, pairs, headings):
    """Return lines of our estimator in one form and in another, on the same seeds.

    Each pair names two forms by what was set. Lines say what more was set in the second
    form than in the first pair's. Forms of different defaults are not compared.
    """
    usual, lines = pairs[0][1].split(), []
    for task, methods in runs.items():
        scoring = task_named(task).scoring
        for one, other in pairs:
            forms = [" ".join(["ours", *form.split()]) for form in (one, other)]
            if not set(forms) <= set(methods):
                continue
            rows = [row for form in forms for row in methods[form].values()]
            cell = scores_of({task: methods}, {task: scoring})[task]
            means = ranks.shared_means(cell, forms)
            if means is None or len({row["defaults"] for row in rows}) > 1:
                continue
            second = next(iter(methods[forms[1]].values()))
            more = "".join(
                f" --set {name}={value}"
                for name, value in sorted(second.get("set", {}).items())
                if f"{name.rpartition('__')[2]}={value}" not in usual
            )
            n_seeds = len(set.intersection(*(set(methods[form]) for form in forms)))
            head = [f"`{task}{more}`", scoring.replace("_", " "), n_seeds]
            numbers = [
                *(f"{mean:.3f}" for mean in means),
                f"{means[1] - means[0]:+.3f}",
            ]
            lines.append(line([*head, defaults_of(rows), *numbers]))
    return table(["task", "score", "seeds", "defaults", *headings, "gain"], lines)


def size_table(runs, columns):
    """Return the scores, and how many values are trained, of methods side by side.

    `columns` has the headings by label.
    """
    lines, means, trained = [], [], []
    for task, methods in runs.items():
        cell = scores_of({task: methods}, scorings([task]))[task]
        found = ranks.shared_means(cell, list(columns))
        if found is not None:
            rows = [row for name in columns for row in methods[name].values()]
            scores = [f"{mean:.3f}" for mean in found]
            lines.append(line([f"`{task}`", defaults_of(rows), *scores]))
            means.append(found)
            firsts = [next(iter(methods[name].values())) for name in columns]
            trained.append([first["n_trainable_params"] for first in firsts])
    if lines:
        scores = [f"{mean:.3f}" for mean in np.mean(means, axis=0)]
        counts = [f"{count:,.0f}" for count in np.median(trained, axis=0)]
        lines += [line(["mean", "", *scores]), line(["trained", "", *counts])]
    return table(["task", "defaults", *columns.values()], lines)
