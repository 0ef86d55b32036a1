"""
Several labels for a text
=========================

A message to a shop may be about the delivery *and* about the invoice, or about neither.
With an indicator matrix for ``y``, as everywhere in scikit-learn,
:class:`~sksemantic.SKTuningClassifier` gives each text any number of labels. You learn
to make that matrix from lists of labels, to read the probabilities, and to choose a
threshold for each label.
"""

# %%
# The data
# --------
# Short lists of things, put together from the words that
# :func:`~sksemantic.datasets.load_definitions` defines, as in "toast, ape and
# Baltimore". The labels are the kinds that occur in a list. Some words mean several
# things, and nearly all words of the lists to test on are new to the model.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer

from sksemantic import SKTuningClassifier
from sksemantic.datasets import load_definitions

KINDS = ["animal", "body", "food", "place"]


def write_lists(subset, n, rng):
    """Return lists of one to three words, and the kinds in each."""
    frame = load_definitions(subset=subset, as_frame=True).frame
    words = {kind: frame["word"][frame["kind"] == kind].tolist() for kind in KINDS}
    texts, labels = [], []
    for _ in range(n):
        kinds = rng.choice(KINDS, rng.randint(1, 4), replace=False).tolist()
        *first, last = [words[kind].pop() for kind in kinds]
        texts.append(f"{', '.join(first)} and {last}" if first else last)
        labels.append(sorted(kinds))
    return texts, labels


rng = np.random.RandomState(0)
texts, labels = write_lists("train", 140, rng)
test_texts, test_labels = write_lists("test", 80, rng)
pd.DataFrame({"text": texts, "labels": labels}).head(5)

# %%
# The fit
# -------
# ``MultiLabelBinarizer`` makes a column of zeros and ones for each label, and turns
# predictions back into labels. For so few and short texts the training starts from the
# linear probe and is short. With the defaults it would fit the training texts too well,
# and a ``FallbackWarning`` would say that the linear probe is used instead.
binarizer = MultiLabelBinarizer()
y = binarizer.fit_transform(labels)
clf = SKTuningClassifier(
    prompt="A list of things:",
    training={"head_init": "linear_probe"},
    max_epochs=6,
    random_state=0,
)
clf.fit(texts, y)
new = ["salmon and Norway", "knee, cheese and wolf", "arithmetic"]
for text, found in zip(new, binarizer.inverse_transform(clf.predict(new)), strict=True):
    print(f"{text}  ->  {', '.join(found) or 'none'}")

# %%
# A probability for each label
# ----------------------------
# They need not add up to one: each label is decided by itself.
pd.DataFrame(clf.predict_proba(new), index=new, columns=binarizer.classes_).round(2)

# %%
# A threshold for each label
# --------------------------
# A label is given from a probability of 0.5 on. Another threshold may suit better, and
# it needs no new fit. Choose it on texts that the model was not trained on: here on
# half of the test lists.
truth = binarizer.transform(test_labels)
probabilities = clf.predict_proba(test_texts)
chosen, tested = slice(0, 40), slice(40, 80)
thresholds = np.arange(0.05, 1, 0.05)
curves = np.array(
    [
        f1_score(truth[chosen], probabilities[chosen] >= t, average=None)
        for t in thresholds
    ]
)  # (n_thresholds, n_labels)

fig, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
ax.plot(thresholds, curves, marker=".", label=list(binarizer.classes_))
ax.axvline(0.5, color="0.6", linestyle="--", linewidth=1)
ax.set(xlabel="threshold", ylabel="F1 on the first 40 lists", ylim=(0, 1.02))
ax.legend()
plt.show()

# %%
# The best ones, and what they bring on the other half. Forty lists are few: expect
# chosen thresholds to be no better now and then.
best = thresholds[curves.argmax(axis=0)]
clf.set_params(threshold=best)
answers = {
    "0.5 for all": probabilities[tested] >= 0.5,
    "chosen": clf.predict(test_texts[tested]),
}
scores = {
    f"F1, {name}": f1_score(truth[tested], answer, average=None)
    for name, answer in answers.items()
}
pd.DataFrame({"threshold": best} | scores, index=binarizer.classes_).round(2)
