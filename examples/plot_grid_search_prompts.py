"""
Which prompt works best?
========================

The prompt is a parameter like any other, so a grid search can choose it. All candidates
share one copy of the language model.

With a few hundred texts the folds differ more than the prompts do: look at the spread,
not only at the winner. The plot needs matplotlib.
"""

# %%
# A small training set
# --------------------
# 400 questions and the kind of answer that each asks for.
import matplotlib.pyplot as plt
from example_data import load_trec
from sklearn.model_selection import GridSearchCV, train_test_split

from sksemantic import SKTuningClassifier

X, y = load_trec()
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=400, test_size=400, stratify=y, random_state=0
)

# %%
# The search
# ----------
prompts = [
    "Question:",
    "What kind of answer does this question ask for?",
    "Is the answer a person, a place, a number, a thing or a description?",
]
search = GridSearchCV(
    SKTuningClassifier(
        model="sentence-transformers/all-MiniLM-L6-v2", random_state=0, verbose=0
    ),
    {"prompt": prompts},
    cv=3,
)
search.fit(X_train, y_train)

# %%
# What it found
# -------------
means = search.cv_results_["mean_test_score"]
spreads = search.cv_results_["std_test_score"]
for prompt, mean, spread in zip(prompts, means, spreads, strict=True):
    print(f"{mean:.3f} +- {spread:.3f}  {prompt}")
print(f"test accuracy of the best: {search.score(X_test, y_test):.3f}")

fig, ax = plt.subplots(figsize=(8, 2.5), layout="constrained")
ax.errorbar(means, prompts, xerr=spreads, fmt="o")
ax.set_xlabel("accuracy, 3 folds")
plt.show()
