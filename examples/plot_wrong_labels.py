"""
Finding wrong labels
====================

Labels that people wrote are sometimes wrong. A model that was *not* trained on a text
but finds its label improbable is a good reason to look again. You learn to get such
probabilities by cross-validation, to rank the texts by them, and to pass them to
cleanlab, a package for this purpose.
"""

# %%
# The data
# --------
# Definitions of three kinds, 30 of each. One label in ten is replaced by another one at
# random, so that we know which are wrong.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import cross_val_predict

from sksemantic import SKTuningClassifier
from sksemantic.datasets import load_definitions

pd.options.display.max_colwidth = 200  # show whole texts

KINDS = np.array(["animal", "food", "place"])
definitions = load_definitions(as_frame=True).frame.query("kind in @KINDS")
sample = definitions.groupby("kind").head(30).reset_index(drop=True)

rng = np.random.RandomState(0)
is_wrong = np.zeros(len(sample), bool)
is_wrong[rng.choice(len(sample), 9, replace=False)] = True
shift = np.where(is_wrong, rng.randint(1, len(KINDS), len(sample)), 0)
given = KINDS[(np.searchsorted(KINDS, sample["kind"]) + shift) % len(KINDS)]
sample.assign(given=given)[is_wrong].head(4)

# %%
# Probabilities of texts that were not trained on
# -----------------------------------------------
# Each fold is predicted by a model that was trained on the other ones. Tuning only the
# upper half of the layers makes the folds faster.
probabilities = cross_val_predict(
    SKTuningClassifier(tuned_layers=3, random_state=0),
    sample["definition"],
    given,
    cv=3,
    method="predict_proba",
)  # (n_texts, n_kinds), the kinds in alphabetical order

# %%
# The ranking
# -----------
# The quality of a label is the probability that the model gives it. The lowest come
# first: look at those texts again.
quality = probabilities[np.arange(len(given)), np.searchsorted(KINDS, given)]
order = np.argsort(quality)
ranked = sample.assign(
    given=given, suggested=KINDS[probabilities.argmax(axis=1)], quality=quality
).iloc[order]
ranked[["definition", "given", "suggested", "kind", "quality"]].head(12).round(3)

# %%
# "kind" is the true label, which one would not have. Not every text with a low quality
# has a wrong label: some are hard, or belong to two kinds.
#
# How many have to be read again?
# -------------------------------
# The curve counts the wrong labels among those that were read, the worst first. The
# dashed line is for reading in any order.
found = np.cumsum(is_wrong[order])
fig, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
read = np.arange(1, len(order) + 1)
ax.plot(read, found, label="by quality")
ax.plot(read, is_wrong.mean() * read, "--", color="0.5", label="in any order")
ax.set(xlabel="texts read again", ylabel="wrong labels found")
ax.legend(loc="lower right")
ax.grid(alpha=0.3)
plt.show()

# %%
# With cleanlab
# -------------
# `cleanlab <https://docs.cleanlab.ai>`_ takes the same array, with the labels as
# numbers. It also decides *how many* of the labels are wrong, by confident learning
# (Northcutt et al. 2021): no threshold has to be chosen.
from cleanlab.filter import find_label_issues

issues = find_label_issues(
    np.searchsorted(KINDS, given),
    probabilities,
    return_indices_ranked_by="self_confidence",
    n_jobs=1,
)
pd.DataFrame(
    {
        "labels": [len(issues), is_wrong.sum()],
        "of which wrong": [is_wrong[issues].sum(), is_wrong.sum()],
    },
    index=["named by cleanlab", "all wrong ones"],
)
