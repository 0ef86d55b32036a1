"""Tiny valid backbones, each a directory, that `hostile_files.py` then breaks."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
)

WORDS = "a joy to watch warm and funny dull slow waste of time rate the film".split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.3,
}
NAMES = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def pieces():
    letters = "abcdefghijklmnopqrstuvwxyz.,!?"
    found = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *WORDS]
    return {piece: i for i, piece in enumerate(dict.fromkeys(found))}


def wordpiece():
    """Return BERT's kind of tokenizer."""
    tokenizer = Tokenizer(models.WordPiece(pieces(), unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=128, **NAMES
    )


def byte_level():
    """Return GPT-2's and Llama 3's kind of tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>"
    )


def save_bert(folder):
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(pieces()), max_position_embeddings=128, **SIZES)
    BertModel(config).save_pretrained(folder)


def make_bert(folder):
    """Save a BERT with `tokenizer.json` and the older files beside it."""
    save_bert(folder)
    tokenizer = wordpiece()
    tokenizer.save_pretrained(folder)
    (folder / "special_tokens_map.json").write_text(json.dumps(NAMES))
    (folder / "vocab.txt").write_text("\n".join(pieces()))


def make_old_bert(folder):
    """Save a BERT whose tokenizer is `vocab.txt` alone."""
    save_bert(folder)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(pieces()))
    BertTokenizer.from_pretrained(folder).save_pretrained(folder)
    vocabulary.write_text("\n".join(pieces()))
    (folder / "tokenizer.json").unlink()


def make_sharded(folder):
    """Save a Llama in several files of weights."""
    torch.manual_seed(0)
    tokenizer = byte_level()
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=256)
    for name, value in SIZES.items():
        setattr(config, name, value)
    config.num_key_value_heads, config.head_dim = 2, 8
    config.bos_token_id, config.eos_token_id = 0, 1
    LlamaModel(config).save_pretrained(folder, max_shard_size=20_000)
    tokenizer.save_pretrained(folder)


def make_gguf(folder, extra=()):
    """Save a Llama as a GGUF file; `extra` are keys and values for its header."""
    import gguf

    rng = np.random.RandomState(0)
    model = json.loads(byte_level().backend_tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_block_count(2)
    writer.add_context_length(256)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(8)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t in ("<s>", "</s>") else 1 for t in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    for key, value in extra:
        writer.kv_data[0].pop(key, None)
        kind = gguf.GGUFValueType.get_type(value)
        kind = gguf.GGUFValueType.UINT32 if isinstance(value, int) else kind
        writer.add_key_value(key, value, kind)
    shapes = {"token_embd": (len(tokens), 32), "output_norm": (32,)}
    for i in range(2):
        shapes |= {
            f"blk.{i}.attn_norm": (32,),
            f"blk.{i}.ffn_norm": (32,),
            f"blk.{i}.attn_q": (32, 32),
            f"blk.{i}.attn_k": (16, 32),
            f"blk.{i}.attn_v": (16, 32),
            f"blk.{i}.attn_output": (32, 32),
            f"blk.{i}.ffn_gate": (64, 32),
            f"blk.{i}.ffn_up": (64, 32),
            f"blk.{i}.ffn_down": (32, 64),
        }
    for name, shape in shapes.items():
        values = rng.normal(0, 0.3, shape).astype(np.float32)
        writer.add_tensor(f"{name}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


MAKERS = {
    "bert": make_bert,
    "old": make_old_bert,
    "sharded": make_sharded,
    "gguf": make_gguf,
}


class Bomb:
    """A pickle that makes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def make_outside(folder, model):
    """Fill a folder with what must never be read: a model, a pickle and code."""
    shutil.copytree(model, folder)
    for name in ("pytorch_model.bin", "adapter_model.bin"):
        with (folder / name).open("wb") as file:
            pickle.dump(Bomb(str(folder / "unpickled")), file)
    (folder / "evil.py").write_text(
        f"open({str(folder / 'run')!r}, 'w')\nclass C:\n    pass\n"
    )
    (folder / "secret.txt").write_text("a secret\n")
    return Path(folder)
