"""Few labelled texts: tables of the methods, and the learning curves as a figure."""

import re

import numpy as np
from plots import save, subplots
from tables import by_task, line, mean_and_spread, sorted_labels, table

TITLES = {
    "trec6": "TREC, 6 classes",
    "trec50": "TREC, 50 classes",
    "sst2": "SST-2",
    "rotten": "Rotten Tomatoes",
    "bbc": "BBC",
    "sms": "SMS",
    "hutto3": "hutto, 3 classes",
}
BACKBONES = {"minilm": "MiniLM", "gemma": "Gemma 3 270M"}
# The label texts alone need no labelled text.
ZERO_SHOT = ("label texts", "label texts, centred")


def tables(rows, folder=None):
    """Return the tables by name; the learning curves are drawn into a folder."""
    runs = by_shots([row for row in rows if not row["set"]])
    if folder is not None:
        draw(runs, folder)
    return {
        "few by method": method_table(runs, 8),
        "few by labels": label_table(runs),
        "few in seconds": method_table(runs, 8, "cpu_seconds", "{:.0f}"),
    }


def by_shots(rows):
    """Return ``runs[data, backbone][label][shots][seed]``, rows of few labels."""
    found = {}
    for task, methods in by_task(rows).items():
        found_task = re.fullmatch(r"(\w+)-(\d+)shot-(\w+)", task)
        if found_task is None:  # sentences with labelled words
            continue
        data, shots, backbone = found_task.groups()
        for label, seeds in methods.items():
            cell = found.setdefault((data, backbone), {}).setdefault(label, {})
            cell[int(shots)] = seeds
    order = [*TITLES]
    return dict(
        sorted(
            found.items(),
            key=lambda each: (each[0][1] != "minilm", order.index(each[0][0])),
        )
    )


def values_of(seeds, what="accuracy"):
    """Return what the rows of all seeds have: a score, or another field."""
    return [
        row["scores"][what] if what in row["scores"] else row.get(what, np.nan)
        for row in seeds.values()
    ]


def method_table(runs, shots, what="accuracy", form=None):
    """Return one line for each data set, with a column for each method."""
    runs = {
        key: {label: by[shots] for label, by in methods.items() if shots in by}
        for key, methods in runs.items()
    }
    columns = sorted_labels(runs)
    lines = []
    for (data, backbone), methods in runs.items():
        cells = []
        for label in columns:
            values = values_of(methods[label], what) if label in methods else []
            known = [value for value in values if not np.isnan(value)]
            if not known:
                cells.append("")
            elif form is None:
                cells.append(f"{mean_and_spread(known)} ({len(known)})")
            else:
                cells.append(form.format(np.mean(known)))
        if any(cells):
            lines.append(line([TITLES[data], BACKBONES[backbone], *cells]))
    return table(["data", "backbone", *columns], lines)


def label_table(runs):
    """Return one line for each data set and method, with a column for each number."""
    counts = sorted({n for by in runs.values() for each in by.values() for n in each})
    lines = []
    for (data, backbone), methods in runs.items():
        for label in sorted_labels({"": methods}):
            by = methods[label]
            if len(by) > 1:
                cells = [
                    f"{np.mean(values_of(by[n])):.3f}" if n in by else ""
                    for n in counts
                ]
                lines.append(line([TITLES[data], BACKBONES[backbone], label, *cells]))
    return table(["data", "backbone", "method", *counts], lines)


def draw(runs, folder):
    """Draw MiniLM's accuracy by labelled texts of a class, a panel for each data set.

    Data sets of which one number was tried alone have none.
    """
    runs = {
        data: {label: by for label, by in methods.items() if label not in ZERO_SHOT}
        for (data, backbone), methods in runs.items()
        if backbone == "minilm" and any(len(by) > 1 for by in methods.values())
    }
    labels = sorted_labels(runs)
    n_columns = len(runs) + 1  # the last one is the legend
    figure, axes = subplots(1, n_columns, figsize=(4 * n_columns, 3.5))
    for panel, (data, methods) in zip(axes[:-1], runs.items(), strict=True):
        for i, label in enumerate(labels):
            if by := methods.get(label):
                shots = sorted(by)
                means = [np.mean(values_of(by[n])) for n in shots]
                places = [max(n, 0.5) for n in shots]  # 0 on a logarithmic axis
                panel.plot(places, means, marker="o", markersize=4, color=f"C{i}")
        panel.set_title(TITLES[data], fontsize=10)
        panel.set_xscale("log", base=2)
        panel.set_xticks([0.5, 1, 4, 8, 16, 32, 64], [0, 1, 4, 8, 16, 32, 64])
        panel.set_xlabel("labelled texts of a class")
        panel.set_ylabel("accuracy")
        panel.grid(alpha=0.3)
    handles = [axes[-1].plot([], [], marker="o")[0] for _ in labels]
    axes[-1].axis("off")
    axes[-1].legend(handles, labels, loc="center left", fontsize=9, frameon=False)
    save(figure, folder / "few_labels.svg")
