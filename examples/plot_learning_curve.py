"""
How many labels are enough?
===========================

A learning curve shows what more labels would bring, before anybody writes them. It
works as for any other estimator of scikit-learn, and beside it stands the curve of word
counts (TF-IDF).
"""

# %%
# The data
# --------
# Definitions of three kinds, 27 of each. In each split 45 of the texts are held out,
# and the others are the pool that the training texts are taken from.
import matplotlib.pyplot as plt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LearningCurveDisplay, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline

from sksemantic import SKTuningClassifier
from sksemantic.datasets import load_definitions

KINDS = ["artifact", "body", "place"]
definitions = load_definitions(as_frame=True).frame.query("kind in @KINDS")
sample = definitions.groupby("kind").head(27)

# %%
# Both curves
# -----------
# The shaded band is the standard deviation over the splits. Only the upper half of the
# layers is tuned (``tuned_layers=3``): what the others make of a text is kept from fit
# to fit.
models = {
    "TF-IDF + LogisticRegression": make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=30, max_iter=1000)
    ),
    "SKTuningClassifier": SKTuningClassifier(tuned_layers=3, random_state=0),
}
fig, ax = plt.subplots(figsize=(6.8, 4.4), layout="constrained")
for name, model in models.items():
    display = LearningCurveDisplay.from_estimator(
        model,
        sample["definition"],
        sample["kind"],
        train_sizes=[9, 18, 36],
        cv=StratifiedShuffleSplit(n_splits=3, test_size=45, random_state=0),
        score_name="Accuracy",
        score_type="test",
        line_kw={"marker": "o"},
        ax=ax,
    )
    display.lines_[0].set_label(name)
ax.legend(loc="lower right")
ax.grid(alpha=0.3)
plt.show()

# %%
# Where a curve still rises, more labels help. Where it is flat, a better prompt, a
# larger model or cleaner labels may help more.
