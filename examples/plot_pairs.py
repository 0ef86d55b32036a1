"""
Do two texts belong together?
=============================

A row may have two texts: a question and an answer, two titles of a product, a claim and
its evidence. Here it is a word and a definition, and the question is whether the
definition is that of the word. You learn how pairs are passed, what the model is
compared with, and what a threshold on the probability would bring.
"""

# %%
# The pairs
# ---------
# Half of the words keep their definition. The others get that of another word *of the
# same kind*: a food that of a food. So the kind tells nothing, and each definition
# occurs once.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import RocCurveDisplay, accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sksemantic import SKTuningClassifier
from sksemantic.datasets import load_definitions

pd.options.display.max_colwidth = 200  # show whole texts


def make_pairs(frame, n_of_a_kind):
    """Return words with definitions, right ones and those of the next word."""
    parts = []
    for _, part in frame.groupby("kind"):
        part = part.head(n_of_a_kind)
        half = len(part) // 2
        definitions = part["definition"].to_numpy().copy()
        definitions[half:] = np.roll(definitions[half:], 1)
        belongs = ["yes"] * half + ["no"] * (len(part) - half)
        parts.append(
            pd.DataFrame(
                {"word": part["word"], "definition": definitions, "belongs": belongs}
            )
        )
    return pd.concat(parts)


train = make_pairs(load_definitions(as_frame=True).frame, 16)
test = make_pairs(load_definitions(subset="test", as_frame=True).frame, 14)
columns = ["word", "definition"]
train.groupby("belongs").head(3)

# %%
# The fit
# -------
# ``X`` is a table of two columns, or a list of tuples. An encoder reads each pair three
# times, as a whole and its two texts alone. For pairs the training starts from the
# linear probe, so that three epochs of the upper half of the layers do here; the
# defaults, 30 epochs of all layers, would take minutes.
clf = SKTuningClassifier(max_epochs=3, tuned_layers=3, random_state=0)
clf.fit(train[columns], train["belongs"])
clf.predict_proba(
    [
        ("bicycle", "a vehicle with two wheels that is moved by pedals"),
        ("bicycle", "a large vehicle for many passengers"),
        ("train", "a vehicle with two wheels that is moved by pedals"),
    ]
).round(2)

# %%
# The columns are those of ``classes_``, "no" and "yes".
#
# Beside it, word counts of the joined texts. A word and its definition seldom share a
# word, and which definition goes with which word is not a matter of counts: they
# do no better than a guess.
joined = FunctionTransformer(lambda X: X["word"] + " " + X["definition"])
words = make_pipeline(joined, TfidfVectorizer(), LogisticRegression(C=30))
words.fit(train[columns], train["belongs"])
models = {"SKTuningClassifier": clf, "TF-IDF + LogisticRegression": words}
probabilities = {
    name: model.predict_proba(test[columns])[:, 1] for name, model in models.items()
}
belongs = test["belongs"] == "yes"
accuracy = {
    name: accuracy_score(belongs, probability > 0.5)
    for name, probability in probabilities.items()
}
pd.DataFrame({"test accuracy": accuracy}).round(3)

# %%
# More right ones, or fewer wrong ones?
# -------------------------------------
# The curve shows what each threshold on the probability would bring: how many of the
# right pairs are found, and how many of the swapped ones are taken for right.
fig, ax = plt.subplots(figsize=(5.5, 5), layout="constrained")
for name, probability in probabilities.items():
    RocCurveDisplay.from_predictions(belongs, probability, name=name, ax=ax)
ax.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
ax.set(xlabel="share of the swapped pairs", ylabel="share of the right pairs")
plt.show()
