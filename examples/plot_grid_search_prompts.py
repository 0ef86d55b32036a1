"""
Which prompt works best?
========================

The prompt is a parameter like any other, so a grid search can choose it. All candidates
share one copy of the language model. You learn to run such a search and to read its
result with :class:`~sksemantic.PromptComparisonDisplay`: with few labelled texts the
folds often differ more than the prompts do, so look at the spread, not only at the
winner.
"""

# %%
# A small training set
# --------------------
# Definitions of three kinds that are easily mixed up: parts of the body, food and
# animals. Twelve texts of each, and 150 to test on.
import pandas as pd
from sklearn.model_selection import GridSearchCV

from sksemantic import PromptComparisonDisplay, SKTuningClassifier
from sksemantic.datasets import load_definitions

KINDS = ["animal", "body", "food"]
definitions = load_definitions(as_frame=True).frame.query("kind in @KINDS")
train = definitions.groupby("kind").head(12)
test = load_definitions(subset="test", as_frame=True).frame.query("kind in @KINDS")

# %%
# The search
# ----------
# ``None`` is the default prompt. The last one has a slot: what stands after ``{text}``
# is appended to each text.
prompts = [
    None,
    "Is it an animal, a part of the body, or food?",
    "What do we call {text}? It is a kind of",
]
search = GridSearchCV(SKTuningClassifier(random_state=0), {"prompt": prompts}, cv=3)
search.fit(train["definition"], train["kind"])
PromptComparisonDisplay.from_cv_results(search)

# %%
# Small points are the folds, the bar is their standard deviation; on the right stand
# the mean and the seconds of a fit. The best prompt was fitted once more to all of the
# training texts:
print(repr(search.best_params_["prompt"]))
print(f"test accuracy: {search.score(test['definition'], test['kind']):.3f}")

# %%
# Is the winner better, or lucky? The same folds were used for all prompts, so compare
# them fold by fold:
scores = {f"fold {i}": search.cv_results_[f"split{i}_test_score"] for i in range(3)}
pd.DataFrame(scores, index=[prompt or "(default)" for prompt in prompts]).round(3)
