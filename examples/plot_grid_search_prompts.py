"""
Which prompt works best?
========================

The prompt is a parameter like any other, so a grid search can choose it. All candidates
share one copy of the language model. You learn to run such a search and to read its
result with :class:`~sksemantic.PromptComparisonDisplay`: with few labelled texts the
splits often differ more than the prompts do, so look at the spread, not only at the
winner.
"""

# %%
# A small training set
# --------------------
# Definitions of three kinds that are easily mixed up: things that people make, parts of
# the body, and places. Seventeen of each, and 75 to test on.
import pandas as pd
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit

from sksemantic import PromptComparisonDisplay, SKTuningClassifier
from sksemantic.datasets import load_definitions

KINDS = ["artifact", "body", "place"]
definitions = load_definitions(as_frame=True).frame.query("kind in @KINDS")
train = definitions.groupby("kind").head(17)
test = load_definitions(subset="test", as_frame=True).frame.query("kind in @KINDS")
test = test.groupby("kind").head(25)

# %%
# The search
# ----------
# ``None`` is the default prompt. The last one has a slot: what stands after ``{text}``
# is appended to each text. In each of three splits, five texts of a kind train and the
# others tell the score: so few that the prompt may matter. Only the upper three of six
# layers are tuned. What the lower ones make of a text is kept from split to split,
# which makes a search faster.
prompts = [
    None,
    "Is it a thing that people make, a part of the body, or a place?",
    "What do we call {text}? It is a kind of",
]
splits = StratifiedShuffleSplit(3, train_size=15, test_size=36, random_state=0)
search = GridSearchCV(
    SKTuningClassifier(tuned_layers=3, random_state=0), {"prompt": prompts}, cv=splits
)
search.fit(train["definition"], train["kind"])
PromptComparisonDisplay.from_cv_results(search)

# %%
# Small points are the splits, the bar is their standard deviation; on the right stand
# the mean and the seconds of a fit. The best prompt was fitted once more, to all of the
# training texts:
print(f"the best prompt: {search.best_params_['prompt']!r}")
print(f"test accuracy: {search.score(test['definition'], test['kind']):.3f}")

# %%
# Is the winner better, or lucky? All prompts had the same splits, so compare them split
# by split. A prompt that wins in one split and loses in another is no better.
scores = {f"split {i}": search.cv_results_[f"split{i}_test_score"] for i in range(3)}
pd.DataFrame(scores, index=[prompt or "(default)" for prompt in prompts]).round(3)
