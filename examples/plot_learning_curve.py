"""
How many labels are enough?
===========================

A learning curve shows what the next hundred labels would bring. It works as for any
other estimator, and beside it stands the curve of word counts (TF-IDF). The plot needs
matplotlib.
"""

# %%
# 600 questions, a third of them to test on
# -----------------------------------------
import matplotlib.pyplot as plt
from example_data import load_trec
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    LearningCurveDisplay,
    StratifiedShuffleSplit,
    train_test_split,
)
from sklearn.pipeline import make_pipeline

from sksemantic import SKTuningClassifier

questions, kinds = load_trec()
X, _, y, _ = train_test_split(
    questions, kinds, train_size=600, stratify=kinds, random_state=0
)

# %%
# Both curves
# -----------
models = {
    "TF-IDF + LR": make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=30, max_iter=1000)
    ),
    "SKTuningClassifier": SKTuningClassifier(
        model="sentence-transformers/all-MiniLM-L6-v2", random_state=0, verbose=0
    ),
}
fig, ax = plt.subplots(layout="constrained")
for name, model in models.items():
    display = LearningCurveDisplay.from_estimator(
        model,
        X,
        y,
        train_sizes=[50, 100, 200, 400],
        cv=StratifiedShuffleSplit(n_splits=3, test_size=1 / 3, random_state=0),
        score_name="Accuracy",
        score_type="test",
        ax=ax,
    )
    display.lines_[0].set_label(name)
ax.legend()
plt.show()
