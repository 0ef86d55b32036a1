"""
Which words decided?
====================

A prediction is easier to trust, or to correct, if one sees what it rests on. You learn
to colour the words of a text by what they add to a class, with
:class:`~sksemantic.TokenAttributionDisplay`, to get the numbers behind the colours, and
to check them in another way.
"""

# %%
# A classifier
# ------------
# Definitions of four kinds, 16 of each.
import matplotlib.pyplot as plt
import pandas as pd

from sksemantic import SKTuningClassifier, TokenAttributionDisplay
from sksemantic.datasets import load_definitions

KINDS = ["animal", "body", "food", "person"]
definitions = load_definitions(as_frame=True).frame.query("kind in @KINDS")
train = definitions.groupby("kind").head(16)
clf = SKTuningClassifier(random_state=0).fit(train["definition"], train["kind"])

# %%
# Coloured words
# --------------
# As the last expression of a cell the display shows itself. The predicted class stands
# before each text. Green words speak for it, red ones against it, the text's strongest
# word in full colour; point at a word to see its number. The numbers are approximate
# Shapley values: what a word adds on average, whichever other words are there.
texts = [
    "a cook who prepares fish and other seafood",
    "the flesh of a cow that is eaten as meat",
    "a small bird that lives on seeds and fruit",
    "the muscle of the upper arm",
]
TokenAttributionDisplay.from_estimator(clf, texts)

# %%
# Why not the other class?
# ------------------------
# ``name`` chooses the class whose scores are shown. For the first two texts, what
# speaks for food, and what against it? What is predicted stands in brackets.
TokenAttributionDisplay.from_estimator(clf, texts[:2], name="food")

# %%
# The numbers
# -----------
# ``explain`` returns them. A score is what the word adds to the logit of a class, the
# mean over all classes taken off.
explanations = clf.explain(texts)
first = explanations[0]
pd.DataFrame(first.scores, index=first.words, columns=first.names).round(2)

# %%
# The words that speak most for the predicted class of each text:
for explanation in explanations:
    top = ", ".join(f"{word} {score:+.2f}" for word, score in explanation.top(n=3))
    print(f"{explanation.prediction}: {top}")

# %%
# The check
# ---------
# ``method="occlusion"`` reads the text once more without each of its words: the score
# is what the prediction loses. ``"integrated_gradients"``, the default for texts of
# more than 48 words, takes as long for a long text as for a short one. Where they
# agree, the picture can be relied on. Words that only count together may differ.
methods = ["shapley", "occlusion", "integrated_gradients"]
fig, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
for ax, method in zip(axes, methods, strict=True):
    TokenAttributionDisplay.from_estimator(clf, texts[:1], method=method).plot(ax=ax)
plt.show()
