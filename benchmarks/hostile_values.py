"""Values that strangers could put into the JSON files of a backbone."""

DEEP = "deep"  # written as thousands of nested lists
# {outside} is a directory that must never be read.
PATHS = (
    "../outside",
    "{outside}",
    "{outside}/model.safetensors",
    "{outside}/pytorch_model.bin",
    "{outside}/tokenizer.json",
    "{outside}/vocab.txt",
    "{outside}/secret.txt",
    "../outside/pytorch_model.bin",
    "/dev/zero",
    "/etc/passwd",
    "https://example.com/model",
    "file:///etc/passwd",
    "someone/else",
)
NUMBERS = (-1, 0, 1, 3, -(10**9), 40_000, 10**5, 10**7, 10**9, 2**31, 2**63, 10**30)
NUMBERS += (-0.5, 0.5, 1e308, float("nan"), float("inf"), -float("inf"))
OTHERS = (None, True, False, "", "x", "x" * 100_000, "\ud800", "\0", [], {}, [[]])
OTHERS += ([None] * 1000, ["a", 1, None], {"a": {"b": 1}}, {"": None}, DEEP)
ODD = (*NUMBERS, *OTHERS, *PATHS)

CODE = ("evil.C", "someone/else--evil.C", "{outside}--evil.C", "../outside/evil.C")
AUTO_MAPS = [{"AutoConfig": c, "AutoModel": c, "AutoTokenizer": [c, c]} for c in CODE]
DTYPES = ("float16", "bfloat16", "int8", "float8_e4m3fn", "torch.float64", "nope")
CLASSES = ("BertTokenizer", "LlamaTokenizer", "T5Tokenizer", "ByT5Tokenizer")
CLASSES += ("BertJapaneseTokenizer", "RagTokenizer", "CanineTokenizer", "Trainer")
CLASSES += ("MistralCommonBackend", "GPT2Tokenizer", "PythonBackend", "os.system")
CLASSES += ("PreTrainedTokenizer", "WhisperTokenizer", "TapasTokenizer", "AutoModel")
CLASSES += ("BertModel", "SpeechT5Tokenizer", "Wav2Vec2CTCTokenizer", "FNetTokenizer")
QUANTIZERS = (
    {"quant_method": "bitsandbytes", "load_in_4bit": True},
    {"quant_method": "gptq", "bits": 4, "dataset": "c4", "tokenizer": "{outside}"},
    {"quant_method": "awq", "bits": 4},
    {"quant_method": "torchao", "quant_type": "int8_weight_only"},
    {"quant_method": "torchao", "quant_type": {"default": {"_type": "os.system"}}},
    {"quant_method": "quanto", "weights": "int8"},
    {"quant_method": "fp8"},
    {"quant_method": "mxfp4"},
    {"quant_method": "gguf"},
    {"quant_method": "nope"},
    {"quant_method": None},
    {"bits": 4},
    {},
)
ROPES = (
    {"rope_type": "linear", "factor": 0},
    {"rope_type": "dynamic", "factor": float("inf")},
    {"rope_type": "yarn", "factor": 1e300},
    {"rope_type": "longrope", "short_factor": [1] * 3, "long_factor": [1] * 10_000},
    {"rope_type": "llama3", "factor": 8.0},
    {"rope_type": "nope"},
    {"rope_theta": 0},
    {"rope_theta": -1e30},
    {"type": "su"},
    [],
    "linear",
)
# What is put into config.json.
CONFIG = {
    "auto_map": AUTO_MAPS,
    "quantization_config": QUANTIZERS,
    "torch_dtype": DTYPES,
    "dtype": DTYPES,
    "rope_scaling": ROPES,
    "rope_parameters": ROPES,
    "attn_implementation": ("sdpa", "eager", "flex_attention", *PATHS),
    "_attn_implementation": PATHS,
    "_experts_implementation": PATHS,
    "experts_implementation": PATHS,
    "transformers_weights": ("model.safetensors", "vocab.txt", *PATHS),
    "architectures": ([], ["Evil"], ["BertForMaskedLM"], "BertModel", [3]),
    "_name_or_path": PATHS,
    "tokenizer_class": (*CLASSES, *PATHS),
    "base_model_name_or_path": PATHS,
    "vocab_size": NUMBERS,
    "hidden_size": NUMBERS,
    "num_hidden_layers": NUMBERS,
    "num_attention_heads": NUMBERS,
    "num_key_value_heads": NUMBERS,
    "head_dim": NUMBERS,
    "intermediate_size": NUMBERS,
    "max_position_embeddings": NUMBERS,
    "type_vocab_size": NUMBERS,
    "pad_token_id": NUMBERS,
    "layer_norm_eps": NUMBERS,
    "rms_norm_eps": NUMBERS,
    "chunk_size_feed_forward": NUMBERS,
    "num_labels": NUMBERS,
    "id2label": ({"0": "a"}, {"x": 1}, [], {str(i): "a" for i in range(5000)}),
    "hidden_act": ("gelu", "nope", "__import__", {}, 3),
    "is_decoder": (True, "x"),
    "add_cross_attention": (True,),
    "is_encoder_decoder": (True, "x"),
    "tie_word_embeddings": (True, "x"),
    "pruned_heads": ({"0": [0, 1]}, {"0": [99]}, {"9": [0]}, []),
    "output_hidden_states": (True,),
    "output_attentions": (True,),
    "return_dict": (False,),
    "use_cache": (True, "x"),
    "layer_types": (["full_attention"], ["nope"] * 2, [None] * 2, "x"),
    "text_config": ({}, {"model_type": "bert"}, {"hidden_size": -1}, []),
    "sliding_window": NUMBERS,
    "pretraining_tp": NUMBERS,
    "base_model_tp_plan": ({"*": "colwise"}, PATHS),
    "base_model_pp_plan": ({}, []),
    "sub_configs": ({"a": 1}, {}),
    "position_embedding_type": ("relative_key", "nope"),
    "initializer_range": NUMBERS,
    "attribute_map": ({"hidden_size": "x"}, {"x": "x"}),
    "to_dict": ("x",),
    "__class__": ("x",),
    "transformers_version": ("4.0.0", "99", "x", 3),
    "model_type": ("bert", "llama", "gpt2", "t5", "mistral", "roberta", "evil", "vit"),
}
# What is put into tokenizer_config.json.
TOKENIZER_CONFIG = {
    "auto_map": (*AUTO_MAPS, {"AutoTokenizer": ["evil.C", None]}, ["evil.C", "evil.C"]),
    "tokenizer_class": (*CLASSES, *PATHS),
    "vocab_file": PATHS,
    "merges_file": PATHS,
    "tokenizer_file": PATHS,
    "spm_file": PATHS,
    "special_tokens_map_file": PATHS,
    "fast_tokenizer_files": (
        ["tokenizer.0.0.1.json"],
        ["../outside/tokenizer.4.0.0.json"],
    ),
    "vocab": (*PATHS, {"a": 0}, {"a": 10**12}, [["a", 0.0]]),
    "merges": (*PATHS, [["a", "b"]], ["a b"]),
    "gguf_file": PATHS,
    "init_inputs": ([], PATHS, [{"a": 1}], [1] * 50),
    "tokenizer_object": PATHS,
    "trust_remote_code": (True,),
    "name_or_path": PATHS,
    "local_files_only": (False,),
    "model_max_length": NUMBERS,
    "chat_template": (
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for i in range(10**12) %}x{% endfor %}",
        {"default": "x"},
    ),
    "added_tokens_decoder": (
        {"1000000000000": {"content": "a"}},
        {"-1": {"content": "a"}},
        {"x": {"content": "a"}},
        {"5": {"content": "", "special": True}},
        {"5": {"evil": 1}},
        {str(i): {"content": f"<{i}>"} for i in range(5000)},
    ),
    "extra_special_tokens": ({"a": "b"}, ["a", "a"], [{"content": "x"}], PATHS),
    "additional_special_tokens": (["a"] * 1000, [""], [3], "x"),
    "pad_token": ("", "a", 3, None, {"__type": "AddedToken", "content": "a"}, {"a": 1}),
    "cls_token": ("", "nope", 3, None),
    "unk_token": ("", "nope", 3, None),
    "eos_token": ("", "nope", None),
    "split_special_tokens": (True, "x"),
    "clean_up_tokenization_spaces": (True, "x"),
    "padding_side": ("left", "nope", 3),
    "truncation_side": ("left", "nope", 3),
    "tokenizer_truncation": ({"max_length": 1}, "x"),
    "tokenizer_padding": ({"length": 10**9}, "x"),
    "model_input_names": (["input_ids"], ["nope"], "x", 3),
    "post_processor": ("x", {"type": "x"}),
    "do_lower_case": (True, "x"),
    "add_prefix_space": (True, "x"),
    "add_bos_token": (True, "x"),
    "backend": ("sentencepiece", "mistral-common", "x"),
    "fix_mistral_regex": (True,),
    "from_slow": (True,),
    "mecab_kwargs": ({"mecab_dic": "{outside}"},),
    "sp_model_kwargs": ({"model_file": "{outside}/secret.txt"},),
    "transformers_version": ("4.0.0", "x", 3),
    "__class__": ("x",),
    "from_pretrained": ("x",),
}
BACKTRACKING = (r"(a+)+$", r"(a|a)*$", r"(\w*\s*)*!", r"((a*)*)*b", r"(?:a?){30}a{30}")
BACKTRACKING += (r"(", r"(?<=a+)b", r"\p{Nope}", r"(.*)(.*)(.*)(.*)(.*)x", "", r"(?R)")


def replace(content, pattern):
    return {"type": "Replace", "pattern": pattern, "content": content}


def split(pattern, behavior="Isolated"):
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": behavior,
        "invert": False,
    }


EVERY = {"Regex": "."}
TOKENIZER = {
    "normalizer": (
        replace("x" * 10**6, {"String": "a"}),
        replace("x" * 10**6, EVERY),
        replace("x", {"Regex": ""}),
        replace("", EVERY),
        {"type": "Sequence", "normalizers": [replace("aa", {"String": "a"})] * 40},
        {"type": "Prepend", "prepend": "a" * 10**7},
        {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
        {"type": "Precompiled", "precompiled_charsmap": "/////////w=="},
        {"type": "Sequence", "normalizers": []},
        {"type": "Sequence", "normalizers": [{"type": "NFKC"}] * 10_000},
        {"type": "Nope"},
        {"type": "NFKC"},
        *(replace("b", {"Regex": pattern}) for pattern in BACKTRACKING),
    ),
    "pre_tokenizer": (
        *(split(pattern) for pattern in BACKTRACKING),
        split("", "Removed"),
        split(".", "Removed"),
        {"type": "FixedLength", "length": 0},
        {"type": "FixedLength", "length": 1},
        {"type": "Metaspace", "replacement": "xx", "prepend_scheme": "always"},
        {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}] * 10_000},
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
        {"type": "CharDelimiterSplit", "delimiter": "a"},
        {"type": "Nope"},
    ),
    "post_processor": (
        {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 1000,
            "pair": [{"Sequence": {"id": "B", "type_id": 2**32 - 1}}],
            "special_tokens": {},
        },
        {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "x", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"x": {"id": "x", "ids": [5] * 10**6, "tokens": ["x"]}},
        },
        {"type": "BertProcessing", "sep": ["x", 10**6], "cls": ["y", 2**32 - 1]},
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
        {"type": "Nope"},
    ),
    "padding": (
        {
            "strategy": {"Fixed": 10**9},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
        {"strategy": "BatchLongest", "pad_to_multiple_of": 0},
        "x",
    ),
    "truncation": (
        {
            "direction": "Right",
            "max_length": 0,
            "strategy": "LongestFirst",
            "stride": 10**9,
        },
        {
            "direction": "Right",
            "max_length": 1,
            "strategy": "OnlySecond",
            "stride": 0,
        },
        "x",
    ),
    "added_tokens": (
        [{"id": 10**9, "content": "film", "special": False}],
        [{"id": -1, "content": "film"}],
        [{"id": 5, "content": ""}],
        [{"id": 5}],
        [3],
        [
            {
                "id": i,
                "content": content,
                "single_word": False,
                "lstrip": True,
                "rstrip": True,
                "normalized": True,
                "special": False,
            }
            for i, content in ((10**9, "film"), (2**32 - 1, "a"), (7, " "))
        ],
    ),
    "model": (
        {"type": "WordLevel", "vocab": {"a": 2**32 - 1}, "unk_token": "x"},
        {"type": "WordLevel", "vocab": {}, "unk_token": "x"},
        {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]},
        {"type": "BPE", "vocab": {"a": 4_000_000_000}, "merges": []},
        {"type": "BPE", "vocab": {}, "merges": [], "dropout": 0.5},
        {"type": "BPE", "vocab": {"a": 5}, "merges": [], "dropout": 7},
        {"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": 10**9},
        {"type": "Unigram", "vocab": [["a", float("nan")]], "unk_id": 0},
        {"type": "Unigram", "vocab": [], "unk_id": None},
        {
            "type": "WordPiece",
            "vocab": {"a": 0},
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "",
            "max_input_chars_per_word": 10**18,
        },
        {"type": "Nope"},
        {},
    ),
    "decoder": ({"type": "Nope"}, {"type": "Sequence", "decoders": []}),
    "version": ("2.0", 1),
}
# What is put into the header of a GGUF file.
GGUF = {
    "general.architecture": ("llama", "evil", "bert", "../outside", ""),
    "general.alignment": (1, 3, 2**30),
    "general.file_type": (0, 999),
    "llama.block_count": (1, 3, 10**6, 2**31),
    "llama.context_length": (1, 2**31),
    "llama.embedding_length": (1, 64, 10**6, 2**31),
    "llama.feed_forward_length": (1, 10**9),
    "llama.attention.head_count": (0, 1, 3, 10**9),
    "llama.attention.head_count_kv": (0, 3, 10**9),
    "llama.attention.layer_norm_rms_epsilon": (0.0, float("nan"), -1.0),
    "llama.rope.dimension_count": (0, 7, 10**9),
    "llama.rope.freq_base": (0.0, float("inf")),
    "llama.rope.scaling.type": ("yarn", "nope"),
    "llama.expert_count": (1, 10**6),
    "llama.vocab_size": (1, 10**6, 2**31),
    "tokenizer.ggml.model": ("llama", "bert", "nope", "t5"),
    "tokenizer.ggml.pre": ("llama-bpe", "nope"),
    "tokenizer.ggml.tokens": (["a"], ["a"] * 300, [str(i) for i in range(10_000)]),
    "tokenizer.ggml.merges": (["a b"], ["nope"], [""]),
    "tokenizer.ggml.bos_token_id": (10**9, 5),
    "tokenizer.ggml.eos_token_id": (10**9,),
    "tokenizer.chat_template": ("{{ x }}",),
    "split.count": (2, 1000),
}
