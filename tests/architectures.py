"""A tiny, randomly initialised model of every family of text models users name."""

from dataclasses import dataclass, field

import torch
from transformers import CONFIG_MAPPING, AutoModel

# The same small sizes under all the names that configs have for them.
SIZES = {
    **dict.fromkeys(["hidden_size", "d_model", "dim", "n_embd", "emb_dim"], 32),
    **dict.fromkeys(["num_hidden_layers", "n_layers", "n_layer", "num_layers"], 3),
    **dict.fromkeys(["num_attention_heads", "n_heads", "n_head", "num_heads"], 4),
    **dict.fromkeys(["intermediate_size", "hidden_dim", "n_inner", "d_ff"], 64),
    **dict.fromkeys(["ffn_dim", "ffn_hidden_size", "word_embed_proj_dim"], 32),
    **dict.fromkeys(["max_position_embeddings", "n_positions", "max_seq_len"], 128),
    **dict.fromkeys(["encoder_layers", "decoder_layers"], 3),
    **dict.fromkeys(["num_encoder_layers", "num_decoder_layers"], 3),
    **dict.fromkeys(["encoder_attention_heads", "decoder_attention_heads"], 4),
    **dict.fromkeys(["encoder_ffn_dim", "decoder_ffn_dim"], 64),
    **dict.fromkeys(["sliding_window", "attention_window", "local_attention"], 16),
    **dict.fromkeys(["num_experts", "num_local_experts"], 4),
    **dict.fromkeys(["initializer_range", "init_std"], 0.3),
    "num_key_value_heads": 2,
    "head_dim": 8,
    "d_kv": 8,
    "rotary_dim": 4,
    "embedding_size": 16,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "global_attn_every_n_layers": 2,
    "initializer_factor": 1.0,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "cls_token_id": 2,
    "eos_token_id": 3,
    "sep_token_id": 3,
}
_LATENT = {  # multi-head latent attention
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "head_dim": None,
    "num_key_value_heads": 4,
}
_LINEAR = {  # linear attention beside the usual one
    "num_hidden_layers": 4,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}


@dataclass(frozen=True)
class Architecture:
    """One entry of the matrix.

    Attributes
    ----------
    name : str
        What its users call it.
    model_type : str
        What transformers calls it.
    prefix_mechanism : str
        What "auto" should choose.
    changes : dict
        Config values that differ from SIZES; None takes the config's own default.
    since : str
        The release of transformers since which it is right.
    """

    name: str
    model_type: str
    prefix_mechanism: str
    changes: dict = field(default_factory=dict)
    since: str = "5.2"

    def make(self, vocab_size):
        """Build the model, always with the same weights."""
        config_class = CONFIG_MAPPING[self.model_type]
        known = config_class()
        aliases = getattr(config_class, "attribute_map", {})
        sizes = {k: v for k, v in SIZES.items() if hasattr(known, k)}
        sizes = {k: v for k, v in sizes.items() if k not in aliases}
        vocab = "n_words" if hasattr(known, "n_words") else "vocab_size"
        values = {**sizes, vocab: vocab_size, **self.changes}
        config = config_class(**{k: v for k, v in values.items() if v is not None})
        torch.manual_seed(0)
        return AutoModel.from_config(config).eval()


def _of(prefix_mechanism, entries):
    """Build entries from (name, model type, changes) or name and type alone."""
    return [
        Architecture(name, kind, prefix_mechanism, *rest)
        for name, kind, *rest in entries
    ]


ARCHITECTURES = [
    *_of(
        "attention",
        [
            ("BERT", "bert"),
            ("RoBERTa", "roberta", {"pad_token_id": 1}),
            ("XLM-R", "xlm-roberta", {"pad_token_id": 1}),
            ("XLM-R XL", "xlm-roberta-xl", {"pad_token_id": 1}),
            ("CamemBERT", "camembert", {"pad_token_id": 1}),
            ("RoBERTa-PreLayerNorm", "roberta-prelayernorm", {"pad_token_id": 1}),
            ("ELECTRA", "electra"),
            ("DistilBERT", "distilbert"),
            ("ALBERT", "albert"),
            ("ModernBERT", "modernbert"),
            ("EuroBERT", "eurobert"),
            ("ERNIE", "ernie"),
            ("data2vec-text", "data2vec-text", {"pad_token_id": 1}),
            ("Nomic BERT", "nomic_bert"),
            ("GTE", "gte"),
            ("Jina embeddings v3", "jina_embeddings_v3"),
            ("GPT-2", "gpt2"),
            ("GPT-NeoX, Pythia", "gpt_neox"),
            ("GPTBigCode", "gpt_bigcode"),
            ("GPT-J", "gptj"),
            ("OPT", "opt"),
            ("BioGPT", "biogpt"),
            ("Llama", "llama"),
            ("Mistral", "mistral"),
            ("Mixtral", "mixtral"),
            ("Ministral", "ministral"),
            ("Qwen2", "qwen2"),
            ("Qwen3", "qwen3"),
            ("Qwen3 MoE", "qwen3_moe"),
            ("Gemma", "gemma"),
            ("Gemma 2", "gemma2"),
            ("Gemma 3", "gemma3_text"),
            ("Phi-2", "phi"),
            ("Phi-3", "phi3"),
            ("OLMo", "olmo"),
            ("OLMo2", "olmo2"),
            ("OLMo3", "olmo3"),
            ("SmolLM3", "smollm3"),
            (
                "gpt-oss",
                "gpt_oss",
                {
                    "layer_types": ["sliding_attention", "full_attention"],
                    "num_hidden_layers": 2,
                },
            ),
            ("ModernBERT decoder", "modernbert-decoder"),
            ("StableLM", "stablelm"),
            ("StarCoder2", "starcoder2"),
            ("Cohere", "cohere"),
            ("Cohere 2", "cohere2"),
            ("GLM", "glm"),
            ("GLM-4", "glm4"),
            ("Granite", "granite"),
            ("Nemotron", "nemotron"),
            ("Helium", "helium"),
            ("EXAONE 4", "exaone4"),
            ("Seed-OSS", "seed_oss"),
            ("Apertus", "apertus"),
            ("ERNIE 4.5", "ernie4_5"),
            ("BitNet", "bitnet"),
            ("MiniCPM3", "minicpm3", _LATENT),
            ("DeepSeek-V2", "deepseek_v2", {**_LATENT, "n_routed_experts": 4}),
        ],
    ),
    *_of(
        "kv_cache",
        [
            ("RoFormer", "roformer"),
            ("BigBird", "big_bird"),
            ("RemBERT", "rembert", {"initializer_range": 0.1}),
            ("Megatron-BERT", "megatron-bert"),
            ("Bloom", "bloom"),
            ("Falcon, multi-query", "falcon", {"head_dim": None}),
            (
                "Falcon, new decoder",
                "falcon",
                {"head_dim": None, "new_decoder_architecture": True, "num_kv_heads": 2},
            ),
            ("Falcon, ALiBi", "falcon", {"head_dim": None, "alibi": True}),
            ("MPT", "mpt"),
            ("DiffLlama", "diffllama"),
            ("Doge", "doge", {}, "5.23"),
        ],
    ),
    *_of(
        "hidden_states",
        [
            ("MPNet", "mpnet", {"pad_token_id": 1}),
            ("DeBERTa", "deberta"),
            ("DeBERTa v2, v3", "deberta-v2", {"relative_attention": True}),
            ("Longformer", "longformer", {"attention_window": [16] * 3}),
            ("T5 encoder", "t5"),
            ("mT5 encoder", "mt5"),
            ("UMT5 encoder", "umt5"),
            ("BART encoder", "bart"),
            ("mBART encoder", "mbart"),
            ("LFM2", "lfm2", {"layer_types": ["conv", "full_attention", "conv"]}),
            ("Qwen3-Next", "qwen3_next", _LINEAR),
            (
                "Falcon-H1",
                "falcon_h1",
                {
                    "mamba_d_ssm": 32,
                    "mamba_n_heads": 4,
                    "mamba_d_head": 8,
                    "mamba_n_groups": 1,
                    "mamba_d_state": 8,
                    "mamba_expand": 1,
                    "mamba_chunk_size": 8,
                },
            ),
            (
                "Mamba 2",
                "mamba2",
                {
                    "num_heads": 8,
                    "head_dim": 8,
                    "state_size": 8,
                    "n_groups": 1,
                    "expand": 2,
                    "chunk_size": 8,
                },
            ),
        ],
    ),
]

# What is refused, and what the error says.
REFUSED = [
    (Architecture("Nyströmformer", "nystromformer", ""), "depends on the padding"),
    (Architecture("ConvBERT", "convbert", ""), "depends on the padding"),
    (Architecture("ESM", "esm", ""), "reads embeddings"),
    (Architecture("I-BERT", "ibert", ""), "tuple"),
    (Architecture("FNet", "fnet", ""), "depends on the padding"),
    (
        Architecture("SqueezeBERT", "squeezebert", "", {"embedding_size": 32}),
        "No list of 3 layers",
    ),
]
