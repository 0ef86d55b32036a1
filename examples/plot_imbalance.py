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


def food_among_others(subset, n_food, n_others, skip=0):
    """Return definitions, and whether each one is of food."""
    frame = load_definitions(subset=subset, as_frame=True).frame
    kinds = {"food": n_food, "animal": n_others, "artifact": n_others}
    parts = [frame[frame["kind"] == kind][skip:].head(n) for kind, n in kinds.items()]
    found = pd.concat(parts).sample(frac=1, random_state=0)
    return found["definition"].tolist(), (found["kind"] == "food").to_numpy()


def scores(truth, answers):
    """Return how many texts are found, precision, recall and F2."""
    return {
        "texts found": answers.sum(),
        "precision": precision_score(truth, answers, zero_division=0),
        "recall": recall_score(truth, answers),
        "F2": fbeta_score(truth, answers, beta=2),
    }


X, y = food_among_others("train", 7, 28)
X_test, y_test = food_among_others("test", 11, 50)
print(
    f"{y.sum()} of {len(y)} training texts are of food, {y_test.sum()} of {len(y_test)}"
)

# %%
# Weights of the classes
# ----------------------
# Without weights, a model of rare texts does well by giving all of them a low
# probability. "balanced" lets both classes weigh the same in the loss.
models = {
    "no weights": SKTuningClassifier(random_state=0).fit(X, y),
    "balanced": SKTuningClassifier(class_weight="balanced", random_state=0).fit(X, y),
}
fig, ax = plt.subplots(figsize=(6, 5), layout="constrained")
answers = {}
for name, model in models.items():
    probability = model.predict_proba(X_test)[:, 1]  # (n_texts,), of food
    answers[name] = probability >= 0.5  # as `predict` does
    display = PrecisionRecallDisplay.from_predictions(
        y_test, probability, name=name, ax=ax
    )
    point = scores(y_test, answers[name])
    ax.plot(point["recall"], point["precision"], "o", color=display.line_.get_color())
ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
ax.legend(loc="lower center")
plt.show()

# %%
# The dots are where ``predict`` stands, at a probability of 0.5. The curve shows what
# other thresholds would bring, without another fit.
#
# Another threshold
# -----------------
# ``FixedThresholdClassifier`` wraps the fitted model and moves the threshold.
# ``TunedThresholdClassifierCV`` chooses it by a score: here F2, in which recall counts
# for more than precision. It needs texts that the model was not trained on, with as
# many rare ones among them as there will be. We take the other definitions of the
# training set and keep the model frozen.
# ``TunedThresholdClassifierCV(SKTuningClassifier())`` would make five folds and fit
# anew in each.
X_later, y_later = food_among_others("train", 12, 56, skip=28)
frozen = FrozenEstimator(models["no weights"])
f2 = make_scorer(fbeta_score, beta=2)
tuned = TunedThresholdClassifierCV(frozen, scoring=f2, cv="prefit", refit=False)
tuned.fit(X_later, y_later)
fixed = FixedThresholdClassifier(frozen, threshold=0.2).fit(X, y)
answers["no weights, threshold 0.2"] = fixed.predict(X_test)
name = f"no weights, tuned threshold {tuned.best_threshold_:.2f}"
answers[name] = tuned.predict(X_test)

# %%
# Eleven texts of food are few: a single one moves the recall by a tenth.
table = pd.DataFrame({name: scores(y_test, a) for name, a in answers.items()}).T
table.astype({"texts found": int}).round(2)
