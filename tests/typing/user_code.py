"""What a user writes, for type checkers: never run."""

from typing import assert_type

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sksemantic import (
    Explanation,
    SKTuningClassifier,
    SKTuningRegressor,
    SKTuningTokenClassifier,
    TuningCurveDisplay,
)
from sksemantic.datasets import load_definitions

X, y = load_definitions(return_X_y=True)
clf = SKTuningClassifier(prompt="What kind of thing is this?", max_epochs=3).fit(X, y)
assert_type(clf, SKTuningClassifier)
labels: NDArray[np.str_] = clf.predict(X)
accuracy: float = clf.score(X, y)
explanation: list[Explanation] = clf.explain(X[:3])
seconds: float = clf.estimate_fit_time(X, y).seconds + clf.timing_.seconds
clf.save_pretrained("kinds")
again = SKTuningClassifier.from_pretrained("kinds")
assert_type(again, SKTuningClassifier)
TuningCurveDisplay.from_estimator(clf).plot()

frame: pd.DataFrame = load_definitions(as_frame=True).frame
reg = SKTuningRegressor(loss="huber").fit(frame["definition"], frame.index)
assert_type(reg, SKTuningRegressor)
assert_type(reg.set_params(lr=1e-3), SKTuningRegressor)
numbers: NDArray[np.float64] = reg.predict(frame["definition"])

tagger = SKTuningTokenClassifier().fit([["Ann", "left"]], [["B-PER", "O"]])
assert_type(tagger, SKTuningTokenClassifier)
f1: float = tagger.score([["Ann", "left"]], [["B-PER", "O"]])
