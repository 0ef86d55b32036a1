"""
Rare classes and the threshold
==============================

One text in ten is what you look for, and to miss one costs more than a false alarm. You
learn what ``class_weight="balanced"`` does, to read a precision-recall curve, and to
move the threshold with scikit-learn's own tools,
:class:`~sklearn.model_selection.TunedThresholdClassifierCV` and
:class:`~sklearn.model_selection.FixedThresholdClassifier`.
"""

# %%
# The data
# --------
# Definitions of food among those of animals and artifacts, which are easily mixed up
# with it. Of food we keep so few that it is a tenth of the texts.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import (
    PrecisionRecallDisplay,
    fbeta_score,
    make_scorer,
    precision_score,
    recall_score,
)
from sklearn.model_selection import (
    FixedThresholdClassifier,
    TunedThresholdClassifierCV,
)

from sksemantic import SKTuningClassifier
from sksemantic.datasets import load_definitions


def food_among_others(subset, n_food, n_others):
    """Return definitions, and whether each one is of food."""
    frame = load_definitions(subset=subset, as_frame=True).frame
    kinds = {"food": n_food, "animal": n_others, "artifact": n_others}
    parts = [frame[frame["kind"] == kind].head(n) for kind, n in kinds.items()]
    found = pd.concat(parts).sample(frac=1, random_state=0)
    return found["definition"].tolist(), (found["kind"] == "food").to_numpy()


X, y = food_among_others("train", 7, 28)
X_test, y_test = food_among_others("test", 11, 50)
print(
    f"{y.sum()} of {len(y)} training texts are of food, {y_test.sum()} of {len(y_test)}"
)

# %%
# Weights of the classes
# ----------------------
# "balanced" counts each text of the rare class as much as all of its share is missing:
# both classes weigh the same in the loss.
models = {
    "no weights": SKTuningClassifier(random_state=0).fit(X, y),
    "balanced": SKTuningClassifier(class_weight="balanced", random_state=0).fit(X, y),
}
fig, ax = plt.subplots(figsize=(6, 5), layout="constrained")
for name, model in models.items():
    display = PrecisionRecallDisplay.from_estimator(
        model, X_test, y_test, name=name, ax=ax
    )
    predicted = model.predict(X_test)
    point = recall_score(y_test, predicted), precision_score(y_test, predicted)
    ax.plot(*point, "o", color=display.line_.get_color())
ax.set(xlim=(0, 1.03), ylim=(0, 1.03))
ax.legend(loc="lower left")
plt.show()

# %%
# The dots are where ``predict`` stands, at a probability of 0.5. The curve shows what
# other thresholds would bring, without another fit.
#
# A threshold of your own
# -----------------------
# ``FixedThresholdClassifier`` wraps the fitted model and moves the threshold.
# ``TunedThresholdClassifierCV`` chooses it by a score: here F2, in which recall counts
# for more than precision. It needs texts that the model has not seen. To show it
# without further fits we take 60 more definitions, with the frozen model; with
# ``TunedThresholdClassifierCV(SKTuningClassifier(), cv=5)`` it would make folds and fit
# anew in each.
frame = load_definitions(as_frame=True).frame
later = (
    frame[frame["kind"].isin(["food", "animal", "artifact"])].groupby("kind").tail(30)
)
frozen = FrozenEstimator(models["no weights"])
f2 = make_scorer(fbeta_score, beta=2)
tuned = TunedThresholdClassifierCV(frozen, scoring=f2, cv="prefit", refit=False)
tuned.fit(later["definition"].tolist(), (later["kind"] == "food").to_numpy())
fixed = FixedThresholdClassifier(frozen, threshold=0.2).fit(X, y)


def scores(model):
    """Return precision, recall and F2 on the test texts."""
    predicted = model.predict(X_test)
    return {
        "texts found": int(np.sum(predicted)),
        "precision": precision_score(y_test, predicted),
        "recall": recall_score(y_test, predicted),
        "F2": fbeta_score(y_test, predicted, beta=2),
    }


rows = {
    "threshold 0.5": models["no weights"],
    "threshold 0.2": fixed,
    f"tuned threshold, {tuned.best_threshold_:.2f}": tuned,
    "balanced, threshold 0.5": models["balanced"],
}
pd.DataFrame({name: scores(model) for name, model in rows.items()}).T.round(2)
