"""Backbones with random weights and texts of random words: for seconds and memory.

They are made on the spot, on the GPU if there is one: neither seconds nor memory depend
on what the weights are.
"""

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModel, LlamaConfig, PreTrainedTokenizerFast

SIZES = {
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 1000,
    },
    "1b": {  # Llama 3.2 1B, with fewer words
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32_000,
    },
    "7b": {  # Mistral 7B
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32_000,
    },
}
N_PROMPT = 20  # tokens, as many as PEFT's virtual ones
_SPECIAL = ("<pad>", "<unk>")


def device():
    """Return the device that is measured."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def save_backbone(size, folder):
    """Make a backbone in bfloat16, and save it with its tokenizer."""
    config = LlamaConfig(
        **SIZES[size],
        max_position_embeddings=2048,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(0)
    with torch.device(device()):
        model = AutoModel.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer(config.vocab_size).save_pretrained(folder)
    return Path(folder)


def tokenizer(n_words):
    """Return a tokenizer of whole words, "w2" and so on, without special tokens."""
    words = [*_SPECIAL, *(f"w{i}" for i in range(len(_SPECIAL), n_words))]
    ids = {word: i for i, word in enumerate(words)}
    found = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    found.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=found,
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=2048,
    )


def random_ids(size, n_texts, length, seed):
    """Return the tokens (n, T) of random texts, none of them special."""
    rng = np.random.default_rng(seed)
    n_words = SIZES[size]["vocab_size"]
    return rng.integers(len(_SPECIAL), n_words, (n_texts, length))


def texts_of(ids):
    """Return the texts that have these tokens."""
    return [" ".join(f"w{i}" for i in row) for row in ids]


def random_labels(n_texts):
    """Return labels of two classes, equally many of each."""
    return np.arange(n_texts) % 2


def prompt(size):
    """Return a prompt of `N_PROMPT` tokens."""
    (text,) = texts_of(random_ids(size, 1, N_PROMPT, seed=99))
    return text
