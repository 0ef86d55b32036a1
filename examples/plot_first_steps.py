"""
Five lines instead of word counts
=================================

A definition says what a thing is: an animal, food, a place, a feeling... The words of
two definitions of animals may have nothing in common, so counting words goes only so
far. :class:`~sksemantic.SKTuningClassifier` reads what the words mean. Here you learn
to fit it, to compare it with a linear model on word counts (TF-IDF), and to look at
where it is wrong.
"""

# %%
# The data
# --------
# :func:`~sksemantic.datasets.load_definitions` is a part of the package: definitions of
# seven kinds. We take 32 of the 100 texts of each kind to train on, so that the example
# is fast, and all of the others to test on.
import matplotlib.pyplot as plt
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sksemantic import SKTuningClassifier
from sksemantic.datasets import load_definitions

pd.options.display.max_colwidth = 200  # show whole texts

train = load_definitions(as_frame=True)
test = load_definitions(subset="test", as_frame=True)
X_train, _, y_train, _ = train_test_split(
    train.data, train.target, train_size=7 * 32, stratify=train.target, random_state=0
)
train.frame.groupby("kind").first()

# %%
# Fit, predict, score
# -------------------
# As any classifier of scikit-learn. Labels may be strings, and ``X`` a list, an array
# or a column of a table.
clf = SKTuningClassifier(random_state=0)
clf.fit(X_train, y_train)
clf.predict(["a large cat with stripes", "a soup of beetroot", "the joint of the arm"])

# %%
# Beside word counts
# ------------------
# The same texts, for words and pairs of words, weighted by how rare they are.
words = make_pipeline(
    TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=30, max_iter=1000)
)
words.fit(X_train, y_train)
probabilities = clf.predict_proba(test.data)  # (n_texts, n_kinds)
predicted = clf.classes_[probabilities.argmax(axis=1)]
accuracy = {
    "SKTuningClassifier": accuracy_score(test.target, predicted),
    "TF-IDF + LogisticRegression": words.score(test.data, test.target),
}
pd.DataFrame({"test accuracy": accuracy}).round(3)

# %%
# Where it is wrong
# -----------------
# Rows are the true kinds, columns the predicted ones.
fig, ax = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
ConfusionMatrixDisplay.from_predictions(
    test.target, predicted, ax=ax, cmap="Blues", colorbar=False, xticks_rotation=45
)
plt.show()

# %%
# The texts themselves often tell why. The last column is the probability that the model
# gave to its answer.
table = test.frame.assign(predicted=predicted, probability=probabilities.max(axis=1))
wrong = table[table["predicted"] != table["kind"]]
wrong.sort_values("probability", ascending=False).head(8).round(2)
