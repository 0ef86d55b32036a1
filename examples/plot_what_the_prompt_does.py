"""
What does the prompt do?
========================

The model reads the prompt once, and all texts attend to what it made of it. You learn
to see how much they do, token by token and layer by layer, with
:class:`~sksemantic.PrefixAttentionDisplay`, and to check whether the wording helps.
"""

# %%
# Two classifiers
# ---------------
# The same twelve definitions of each of three kinds, after a prompt about the task and
# after one about something else.
import matplotlib.pyplot as plt
import pandas as pd

from sksemantic import PrefixAttentionDisplay, SKTuningClassifier
from sksemantic.datasets import load_definitions

KINDS = ["animal", "body", "food"]
definitions = load_definitions(as_frame=True).frame.query("kind in @KINDS")
train = definitions.groupby("kind").head(12)
test = load_definitions(subset="test", as_frame=True).frame.query("kind in @KINDS")
prompts = {
    "about the task": "Is it an animal, a body part, or food?",
    "about something else": "The meeting was moved to Tuesday afternoon.",
}
fitted = {
    name: SKTuningClassifier(prompt=prompt, random_state=0).fit(
        train["definition"], train["kind"]
    )
    for name, prompt in prompts.items()
}

# %%
# What a text attends to
# ----------------------
# Rows are the tokens of the text, columns those of the prompt. The darker, the more
# attention, as a mean over heads and layers. On the right is the share of all attention
# that the prompt gets in each layer; the rest stays within the text. Most goes to the
# first token, where such models look when nothing else matters, so ``vmax`` limits the
# colours: the words can then be told apart.
text = "a young sheep that is roasted and eaten"
displays = {
    name: PrefixAttentionDisplay.from_estimator(clf, text, vmax=0.08)
    for name, clf in fitted.items()
}
for name, display in displays.items():
    display.figure_.suptitle(name)
plt.show()

# %%
# Does the wording matter?
# ------------------------
# Attention shows where the model looks, not whether that helps. The accuracy tells:
pd.DataFrame(
    {
        name: {
            "predicted for the text": clf.predict([text])[0],
            "share of the prompt": displays[name].by_layer.mean().round(3),
            "test accuracy": round(clf.score(test["definition"], test["kind"]), 3),
        }
        for name, clf in fitted.items()
    }
).T

# %%
# An encoder as small as MiniLM gains little from the wording: what is trained on top of
# the prompt makes up for it. :doc:`/findings` has measurements with more labels, and of
# causal models, for which the prompt matters more.
