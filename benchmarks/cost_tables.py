"""Tables and the plot of `cost.py`, from its rows."""

import numpy as np
from plots import save, subplots
from tables import line, nice, table

NEARLY = 0.95  # of the accuracy in the end
MEASURED = {  # with some runs, beside the seconds
    "predict_seconds": "predictions",
    "peak_mib": "peak MiB",
    "before_mib": "MiB before",
}


def grouped(rows, measure, *keys):
    """Return the rows of a measure by the values of some keys."""
    found = {}
    for row in rows:
        if row["measure"] == measure:
            found.setdefault(tuple(row.get(key) for key in keys), []).append(row)
    return found


def tables(rows):
    """Return the table of each measure that there are rows of, by name."""
    measures = dict.fromkeys(row["measure"] for row in rows)
    return {
        name: peers_table(rows) if name == "peers" else cost_table(rows, name)
        for name in measures
    }


def cost_table(rows, measure):
    """Return the medians over the seeds of all that was measured, line by line.

    Seconds stand beside their ratio to the first line of the same task and, of fits,
    to the floor, which is in units of F. A column that no line fills is left out.
    """
    columns = (
        "texts",
        "defaults",
        "seconds",
        "of the first",
        "of its floor",
        *MEASURED.values(),
    )
    lines, firsts = [], {}
    keys = ("task", "method", "rows", "defaults")
    for (task, method, n_rows, defaults), found in grouped(
        rows, measure, *keys
    ).items():
        middle = {
            name: float(np.median([row[name] for row in found]))
            for name in ("seconds", "floor", *MEASURED)
            if name in found[0]
        }
        seconds = middle["seconds"]
        first = firsts.setdefault(task, seconds)
        floor = f"{seconds / first / middle['floor']:.2f}" if "floor" in middle else ""
        cells = [n_rows or "", defaults or "", f"{seconds:.3f}"]
        cells += [f"{seconds / first:.2f}", floor]
        for name in MEASURED:
            cells.append(f"{middle[name]:,.2f}" if name in middle else "")
        lines.append((f"`{task}`", method, *cells))
    filled = [
        i for i in range(len(columns)) if any(cells[i + 2] != "" for cells in lines)
    ]
    return table(
        ["task", "", *(columns[i] for i in filled)],
        [line([*cells[:2], *(cells[i + 2] for i in filled)]) for cells in lines],
    )


def curves(rows):
    """Return ``(steps, seconds, accuracies)`` by task, name and defaults.

    They are means over the seeds. A curve has a point for each number of epochs, each
    of a training of its own. Rows of the defaults "0" have several points of a single
    training; their curves are interpolated at the points of the run with the fewest.
    """
    found = {}
    for key, group in grouped(rows, "peers", "task", "method", "defaults").items():
        runs = [row["curve"] for row in group if "curve" in row]
        if runs:
            for name in {str(row["set"]) for row in group}:
                same = [r["curve"] for r in group if str(r["set"]) == name]
                more = "" if name == "{}" else ", all layers"
                found[key[0], nice(key[1]) + more, key[2]] = mean_curve(same)
            continue
        by_epochs = {}
        for row in group:
            by_epochs.setdefault(row["epochs"], []).append(row)
        points = [by_epochs[epochs] for epochs in sorted(by_epochs)]
        seconds = [np.mean([row["seconds"] for row in point]) for point in points]
        scores = [np.mean([r["scores"]["accuracy"] for r in point]) for point in points]
        found[key[0], nice(key[1]), key[2]] = (
            None,
            np.array(seconds),
            np.array(scores),
        )
    return found


def mean_curve(runs):
    """Return the mean steps, seconds and accuracies of single trainings' curves."""
    axes = []
    for axis in ("steps", "seconds"):
        places = np.array(min((run[axis] for run in runs), key=len), float)
        places[-1] = max(run[axis][-1] for run in runs)
        scores = [np.interp(places, run[axis], run["accuracy"]) for run in runs]
        axes.append((places, np.mean(scores, axis=0)))
    (steps, by_step), (seconds, by_second) = axes
    return (steps, by_step), seconds, by_second


def first_with(accuracy, seconds, scores):
    """Return the seconds in which an accuracy is first reached."""
    return float(seconds[np.argmax(scores >= accuracy)])


def peers_table(rows):
    """Return accuracy and seconds, as ratios to ours with the same task.

    "to the same" are the seconds to the accuracy that the worse of the two ends with;
    "nearly there" those to within 5 % of the method's own end.
    """
    found, lines = curves(rows), []
    for (task, name, defaults), (_, seconds, scores) in found.items():
        ratios = ["", ""]
        ours = next((v for k, v in found.items() if k[:2] == (task, "ours")), None)
        if ours is not None:
            goal = min(scores[-1], ours[2][-1])
            same = first_with(goal, seconds, scores) / first_with(goal, *ours[1:])
            ratios = [f"{seconds[-1] / ours[1][-1]:.2f}", f"{same:.2f}"]
        nearly = first_with(NEARLY * scores[-1], seconds, scores)
        cells = [f"`{task}`", name, defaults or "", f"{scores[-1]:.3f}"]
        cells += [f"{seconds[-1]:.1f}", *ratios, f"{nearly:.1f}"]
        lines.append(line(cells))
    heading = ["task", "", "defaults", "accuracy", "seconds", "relative"]
    return table([*heading, "to the same", "nearly there"], lines)


def plot_curves(rows, file):
    """Draw accuracy against seconds and, of single trainings, against steps."""
    figure, (by_time, by_step) = subplots(1, 2, figsize=(10, 4.5), sharey=True)
    for (_, name, defaults), (steps, seconds, scores) in curves(rows).items():
        label = f"{name} (defaults {defaults})" if name.startswith("ours") else name
        by_time.plot(seconds, scores, marker=".", label=label)
        if steps is not None:
            by_step.plot(*steps, marker=".")
    by_time.set(xscale="log", xlabel="seconds of training", ylabel="test accuracy")
    by_time.xaxis.set_minor_formatter("{x:.0f}")
    by_time.xaxis.set_major_formatter("{x:.0f}")
    by_time.tick_params(axis="x", which="both", labelsize="small", labelrotation=45)
    by_step.set(xlabel="steps")
    figure.legend(loc="outside lower center", ncols=3)
    save(figure, file)
