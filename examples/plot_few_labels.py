"""
Few labels, and names for them
==============================

Labelled texts are dear, and unlabelled ones are not. If the labels have names, the
classifier can read them: it then predicts from few examples, or from none. You learn to
use ``label_texts``, to pass texts without a label, and what the first labels bring.
"""

# %%
# The data
# --------
# Definitions of four kinds. At most eight of each have a label here; 40 more have
# none.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sksemantic import SKTuningClassifier
from sksemantic.datasets import load_definitions

KINDS = ["animal", "food", "person", "place"]
definitions = load_definitions(as_frame=True).frame.query("kind in @KINDS")
test = load_definitions(subset="test", as_frame=True).frame.query("kind in @KINDS")
test = test.groupby("kind").head(25)
by_kind = definitions.groupby("kind")
labelled = by_kind.head(8)
unlabelled = definitions.drop(labelled.index).head(40)

# %%
# No label at all
# ---------------
# For an encoder such as MiniLM, a label text should be like the texts themselves: here
# a short definition of the kind. The keys are the labels. In ``y`` a text without a
# label has -1, or None.
label_texts = {
    "animal": "a living creature that moves and eats",
    "food": "something to eat or to drink",
    "person": "somebody who does something, by a job or as a habit",
    "place": "a region, a city or a part of the land",
}
zero = SKTuningClassifier(label_texts=label_texts, random_state=0)
zero.fit(unlabelled["definition"], [-1] * len(unlabelled))
print(f"accuracy without a label: {zero.score(test['definition'], test['kind']):.3f}")

# %%
# The first labels
# ----------------
# Now one, four and eight texts of each kind have a label, and the others still
# have none: with ``label_texts`` they say where the middle between the kinds is.
# Without ``label_texts`` the same labelled texts are used alone.
scores = {"with label_texts": {0: zero.score(test["definition"], test["kind"])}}
scores["without"] = {}
for n in [1, 4, 8]:
    few = by_kind.head(n)
    texts = pd.concat([few["definition"], unlabelled["definition"]])
    y = np.array([*few["kind"], *[-1] * len(unlabelled)], dtype=object)
    named = SKTuningClassifier(label_texts=label_texts, random_state=0).fit(texts, y)
    plain = SKTuningClassifier(random_state=0).fit(few["definition"], few["kind"])
    for name, clf in [("with label_texts", named), ("without", plain)]:
        scores[name][n] = clf.score(test["definition"], test["kind"])

table = pd.DataFrame(scores)
ax = table.plot(marker="o", figsize=(6.4, 4), xticks=table.index)
ax.set(xlabel="labelled texts of each kind", ylabel="test accuracy")
ax.grid(alpha=0.3)
plt.show()

# %%
# One draw of the labelled texts, and 100 to test on: a few points may be chance.
# :doc:`/tasks` has means over several draws, on larger sets.
table.rename_axis("labelled texts of each kind").round(3)

# %%
# None for a missing label
# ------------------------
# A column with gaps is taken as it is, with ``label_texts`` or without. As gaps may be
# a mistake, a warning counts them. Here they are meant, so it is silenced by its name.
import warnings

from sksemantic import UnlabelledWarning

column = labelled["kind"].astype(object).where(labelled.index % 2 == 0, None)
clf = SKTuningClassifier(random_state=0)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", UnlabelledWarning)
    clf.fit(labelled["definition"], column)
print(f"{column.isna().sum()} of {len(column)} labels are missing")
print("classes:", *clf.classes_)
