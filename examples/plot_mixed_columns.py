"""
Text beside numbers
===================

A table rarely holds texts alone. :class:`~sksemantic.CrossFittedScores` puts what a
text classifier says beside the other columns, for a model that reads all of them. Here
you learn to build such a model, and to see what each column is worth.
"""

# %%
# The data
# --------
# Definitions of food and of animals, and beside each how many hours ago somebody had a
# meal. We make up whether they will eat the thing: if it is food, and the meal was more
# than four hours ago. Neither column tells that alone.
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksemantic import CrossFittedScores, SKTuningClassifier
from sksemantic.datasets import load_definitions

rng = np.random.default_rng(0)


def table_of(subset, n_each):
    """Return some definitions of each kind, with hours, and what is eaten."""
    frame = load_definitions(subset=subset, as_frame=True).frame
    frame = frame[frame["kind"].isin(["food", "animal"])]
    frame = frame.groupby("kind").head(n_each).reset_index(drop=True)
    frame["hours"] = rng.uniform(0, 10, len(frame)).round(1)
    is_eaten = (frame["kind"] == "food") & (frame["hours"] > 4)
    return frame[["definition", "hours"]], is_eaten


X_train, y_train = table_of("train", 60)
X_test, y_test = table_of("test", 50)
X_train.groupby(y_train).head(3)

# %%
# One model for all columns
# -------------------------
# The scores are one column, the log-odds of being eaten. ``fit_transform``, which
# pipelines call, scores each text by a classifier that was fitted to the other folds.
# One that has learned the labels would be surer of them than of any new text. Three
# epochs keep the example short.
text = SKTuningClassifier(prompt="Is it food?", max_epochs=3, random_state=0)
columns = ColumnTransformer(
    [
        ("text", CrossFittedScores(text, cv=3), "definition"),
        ("numbers", StandardScaler(), ["hours"]),
    ]
)
model = make_pipeline(columns, LogisticRegression())
model.fit(X_train, y_train)
model

# %%
# Beside each column alone
# ------------------------
scores = model[0].named_transformers_["text"]
hours = make_pipeline(StandardScaler(), LogisticRegression())
hours.fit(X_train[["hours"]], y_train)
accuracy = {
    "hours alone": hours.score(X_test[["hours"]], y_test),
    "text alone": scores.estimator_.score(X_test["definition"], y_test),
    "both": model.score(X_test, y_test),
}
pd.Series(accuracy, name="accuracy").to_frame()

# %%
# Where it says yes
# -----------------
# Each dot is a thing of the test texts; the line is where the model is undecided.
table = pd.DataFrame(
    model[0].transform(X_test), columns=["score of the text", "hours (standardised)"]
)
ax = table.plot.scatter(
    "score of the text",
    "hours (standardised)",
    c=y_test.astype(int),
    colormap="cividis",
)
(w_text, w_hours), intercept = model[-1].coef_[0], model[-1].intercept_[0]
at = np.array(ax.get_xlim())
ax.plot(at, -(w_text * at + intercept) / w_hours, color="black")
ax.set_ylim(-2, 2)
ax.set_title("bright: eaten")
