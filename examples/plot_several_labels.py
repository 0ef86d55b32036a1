"""
Several labels for a text
=========================

A message to a shop may be about the delivery *and* about the invoice, or about neither.
With an indicator matrix for ``y``, as everywhere in scikit-learn,
:class:`~sksemantic.SKTuningClassifier` gives each text any number of labels. You learn
to make that matrix from lists of labels, to read the probabilities, and to choose a
threshold for each label.
"""

# %%
# The data
# --------
# Messages put together from sentences that were written for this example. The sentences
# of the test messages are others than those of the training messages.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer

from sksemantic import SKTuningClassifier

pd.options.display.max_colwidth = 200  # show whole texts

SENTENCES = {
    "delivery": [
        "My parcel has not arrived yet.",
        "The courier left it with a neighbour.",
        "It has been on its way for two weeks.",
        "The tracking page shows nothing.",
        "When will it be shipped?",
        "The driver did not ring the bell.",
        "Please send it to my new address.",
        "The package got lost.",
    ],
    "invoice": [
        "I was charged twice.",
        "The bill shows the wrong amount.",
        "My card was declined.",
        "Where is my refund?",
        "The discount was not taken off.",
        "I never got a receipt.",
        "The tax on it is too high.",
        "Can I pay by bank transfer?",
    ],
    "damage": [
        "The screen is cracked.",
        "One of the legs is broken.",
        "It does not turn on.",
        "The box was wet and torn.",
        "There are scratches all over it.",
        "It stopped working after a day.",
        "A screw is missing.",
        "The glass was shattered.",
    ],
    "praise": [
        "I love the colour.",
        "Thank you for the friendly help.",
        "It is better than I had hoped.",
        "My children are delighted.",
        "Great quality.",
        "I will order from you again.",
        "You have the best service.",
        "It looks wonderful.",
    ],
}


def write_messages(which, n, rng):
    """Return messages of up to three sentences, and the list of labels of each."""
    messages, labels = [], []
    for _ in range(n):
        topics = rng.choice(list(SENTENCES), rng.randint(1, 4), replace=False)
        texts = [SENTENCES[topic][rng.choice(which)] for topic in topics]
        messages.append(" ".join(texts))
        labels.append(sorted(topics))
    return messages, labels


rng = np.random.RandomState(0)
messages, labels = write_messages(range(5), 120, rng)
test_messages, test_labels = write_messages(range(5, 8), 100, rng)
pd.DataFrame({"message": messages, "labels": labels}).head(4)

# %%
# The fit
# -------
# ``MultiLabelBinarizer`` makes a column of zeros and ones for each label, and turns
# predictions back into labels. Ten epochs, a third of the default for so few texts, are
# faster and do here.
binarizer = MultiLabelBinarizer()
y = binarizer.fit_transform(labels)
clf = SKTuningClassifier(max_epochs=10, random_state=0).fit(messages, y)
new = [
    "The parcel came late and the lamp inside is broken.",
    "You charged me too much, but I like the shoes.",
    "Do you have a shop in Vienna?",
]
for text, found in zip(new, binarizer.inverse_transform(clf.predict(new)), strict=True):
    print(f"{text}  ->  {', '.join(found) or 'none'}")

# %%
# A probability for each label
# ----------------------------
# They need not add up to one: each label is decided by itself.
pd.DataFrame(clf.predict_proba(new), index=new, columns=binarizer.classes_).round(2)

# %%
# A threshold for each label
# --------------------------
# A label is given from a probability of 0.5 on. Another threshold may suit better, and
# it needs no new fit. Choose it on texts that the model was not trained on: here on
# half of the test messages.
truth = binarizer.transform(test_labels)
probabilities = clf.predict_proba(test_messages)
chosen, tested = slice(0, 50), slice(50, 100)
thresholds = np.arange(0.05, 1, 0.05)
curves = np.array(
    [
        f1_score(truth[chosen], probabilities[chosen] >= t, average=None)
        for t in thresholds
    ]
)  # (n_thresholds, n_labels)

fig, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
ax.plot(thresholds, curves, marker=".", label=list(binarizer.classes_))
ax.axvline(0.5, color="0.6", linestyle="--", linewidth=1)
ax.set(xlabel="threshold", ylabel="F1 on the first 50 messages", ylim=(0, 1.02))
ax.legend()
plt.show()

# %%
# The best ones, and what they bring on the other half. Fifty messages are few: expect
# chosen thresholds to be no better now and then.
best = thresholds[curves.argmax(axis=0)]
scores = {
    "0.5 for all": f1_score(
        truth[tested], clf.predict(test_messages[50:]), average=None
    )
}
clf.set_params(threshold=best)
scores["chosen"] = f1_score(
    truth[tested], clf.predict(test_messages[50:]), average=None
)
pd.DataFrame(
    {"threshold": best} | {f"F1, {name}": values for name, values in scores.items()},
    index=binarizer.classes_,
).round(2)
