"""
Texts beside other columns
==========================

A table rarely holds texts alone. Here the text column goes through a semantic prefix,
whose embeddings (`transform`) then stand beside a number and a category in a tabular
model. The classifier is fitted on its own column first, as any transformer of a
`ColumnTransformer`.
"""

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sksemantic import SKTuningClassifier

# %%
# Messages to a help desk: whether somebody has to answer at once depends on what they
# say, on how long the customer has waited, and on the contract.

rng = np.random.RandomState(0)
URGENT = ["The server is down.", "Nobody can log in.", "We are losing orders."]
CALM = ["How do I change my logo?", "Thanks, it works.", "Please send an invoice."]
n = 240
is_urgent = rng.rand(n) < 0.5
waited = rng.exponential(8, n)
contract = rng.choice(["basic", "premium"], n)
tickets = pd.DataFrame(
    {
        "message": [rng.choice(URGENT if urgent else CALM) for urgent in is_urgent],
        "hours_waited": waited,
        "contract": contract,
    }
)
at_once = (is_urgent & (contract == "premium")) | (waited > 16)

# %%
# Columns that are no texts never go through the prompt: `SKTuningClassifier` would
# refuse them, and name them. Its embeddings are 384 numbers a text.

columns = ColumnTransformer(
    [
        ("text", SKTuningClassifier(prompt="How urgent is this?"), ["message"]),
        ("number", StandardScaler(), ["hours_waited"]),
        ("category", OneHotEncoder(), ["contract"]),
    ]
)
model = make_pipeline(columns, HistGradientBoostingClassifier(random_state=0))

X_train, X_test, y_train, y_test = train_test_split(
    tickets, at_once, stratify=at_once, random_state=0
)
model.fit(X_train, y_train)
print(f"accuracy with all columns: {model.score(X_test, y_test):.3f}")

# %%
# The text alone knows nothing of the contract, nor of the waiting.

text_only = SKTuningClassifier(prompt="How urgent is this?", random_state=0)
text_only.fit(X_train["message"], y_train)
print(f"accuracy with the text:    {text_only.score(X_test['message'], y_test):.3f}")
