"""Networks that are trained: PEFT's methods and full fine-tuning.

Each is set up as its own documentation recommends, with padding per batch and batches
of similar length, on the texts inside the task's prompt. Each is called with a `Case`
of `tasks.py` and returns the outcome; its seconds are those of the training alone.
"""

import tempfile
import time
import warnings

import numpy as np
import splits
import torch
from scipy.special import softmax
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)
from transformers.utils import logging

from peers.frozen import MAX_LENGTH, fast_dtype, unpacked
from peers.linear import fill
from peers.peft_cache import rename_cache

# Learning rates of the methods' pages in PEFT's documentation; full fine-tuning's is
# the one of the transformers course. LoRA has a higher one as well.
RATES = {
    "lora": 1e-3,
    "lora-3e-3": 3e-3,
    "prefix-tuning": 1e-2,
    "prompt-tuning": 3e-2,
    "p-tuning": 1e-3,
    "full": 2e-5,
}
N_VIRTUAL = 20  # tokens of PEFT's prompts and prefixes
IGNORED = -100  # the label of tokens that have none


def peft_config(method, task_type):
    """Return PEFT's configuration of a method."""
    import peft  # here, because only these methods need the package

    if method.startswith("lora"):
        return peft.LoraConfig(task_type=task_type, r=8, lora_alpha=16)
    shared = {"task_type": task_type, "num_virtual_tokens": N_VIRTUAL}
    if method == "prefix-tuning":
        return peft.PrefixTuningConfig(**shared)
    if method == "prompt-tuning":
        return peft.PromptTuningConfig(**shared)
    return peft.PromptEncoderConfig(**shared, encoder_hidden_size=128)


class MeanPooler(nn.Module):
    """The mean of a text's tokens, in place of a BERT's pooler.

    An encoder of sentences is read off so; the pooler that stands in its weights was
    never trained, and PEFT leaves it as it is. The encoder's calls are watched for the
    mask; `n_virtual` tokens of a soft prompt in front do not count.
    """

    def __init__(self, encoder, n_virtual):
        super().__init__()
        self.n_virtual = n_virtual
        encoder.register_forward_pre_hook(self.watch, with_kwargs=True)

    def watch(self, encoder, args, kwargs):
        """Keep the mask (B, P + T) of the call that begins."""
        self.mask = kwargs["attention_mask"]

    def forward(self, hidden):
        """Return the means (B, C) of states (B, T, C)."""
        hidden = hidden[:, self.n_virtual :]
        mask = self.mask[:, -hidden.shape[1] :, None].to(hidden.dtype)  # without prefix
        return (hidden * mask).sum(dim=1) / mask.sum(dim=1)


class Rows(torch.utils.data.Dataset):
    """Tokenised texts, as columns by name, with labels, as `Trainer` takes them."""

    def __init__(self, columns, labels=None):
        self.columns = columns if labels is None else {**columns, "labels": labels}

    def __len__(self):
        return len(self.columns["input_ids"])

    def __getitem__(self, i):
        return {name: values[i] for name, values in self.columns.items()}


def encode(tokenizer, X):
    """Return texts, pairs or lists of words as columns of token ids.

    Besides, where each word of a text starts, or None.
    """
    cut = {"truncation": True, "max_length": MAX_LENGTH}
    if isinstance(X[0], list):
        found = tokenizer(X, is_split_into_words=True, **cut)
        return dict(found), [first_tokens(found.word_ids(i)) for i in range(len(X))]
    columns = zip(*X, strict=True) if isinstance(X[0], tuple) else [X]
    return dict(tokenizer(*map(list, columns), **cut)), None


def first_tokens(words):
    """Return the place of the first token of each word, from each token's word."""
    places = {}
    for place, word in enumerate(words):
        if word is not None:
            places.setdefault(word, place)
    return list(places.values())


def token_labels(ids, starts, y):
    """Return a label for each token: that of the word that it starts."""
    labels = []
    for row, places, given in zip(ids, starts, y, strict=True):
        found = np.full(len(row), IGNORED)
        found[places] = given[: len(places)]
        labels.append(found.tolist())
    return labels


def labelled(case):
    """Return the case's rows without the unlabelled texts."""
    return splits.labelled(case.rows) if case.task.has_unlabelled else case.rows


class Targets:
    """Labels as numbers from 0, or numbers brought to mean 0 and variance 1."""

    def __init__(self, kind, y):
        self.kind = kind
        if kind == "numbers":
            self.mean, self.scale = np.mean(y), np.std(y)
        else:
            self.classes = np.unique(np.concatenate(y) if kind == "words" else y)

    @property
    def n_outputs(self):
        """How many outputs a network needs."""
        return 1 if self.kind == "numbers" else len(self.classes)

    def encode(self, y):
        """Return what a network is trained on, as lists."""
        if self.kind == "numbers":
            return ((np.asarray(y) - self.mean) / self.scale).tolist()
        if self.kind == "words":
            return [np.searchsorted(self.classes, row).tolist() for row in y]
        return np.searchsorted(self.classes, y).tolist()

    def decode(self, outputs):
        """Return predictions from a network's outputs."""
        if self.kind == "numbers":
            return np.array(outputs)[:, 0] * self.scale + self.mean
        if self.kind == "words":
            return [self.classes[row.argmax(1)].tolist() for row in outputs]
        return self.classes[np.argmax(outputs, axis=1)]


class Outputs:
    """A network's outputs for the test texts, asked as a fitted estimator is."""

    def __init__(self, targets, outputs):
        self.targets = targets
        self.outputs = outputs

    def predict(self, X):
        """Return the predictions."""
        return self.targets.decode(self.outputs)

    def predict_proba(self, X):
        """Return the probabilities of the classes."""
        return softmax(np.array(self.outputs), axis=1)


def build(method, folder, kind, n_outputs, pad_id):
    """Return the network that a method trains."""
    is_full = method == "full"
    auto, task_type = AutoModelForSequenceClassification, "SEQ_CLS"
    if kind == "words":
        auto, task_type = AutoModelForTokenClassification, "TOKEN_CLS"
    # Updates of all weights would be lost to rounding in bfloat16: only products are.
    dtype = torch.float32 if is_full else fast_dtype()
    network = auto.from_pretrained(folder, num_labels=n_outputs, dtype=dtype)
    network.config.pad_token_id = pad_id
    encoder = network.base_model
    if kind != "words" and getattr(encoder, "pooler", None) is not None:
        is_soft = method in ("prompt-tuning", "p-tuning")
        encoder.pooler = MeanPooler(encoder, N_VIRTUAL if is_soft else 0)
    return network if is_full else add_peft(network, method, task_type)


def add_peft(network, method, task_type):
    """Return a network with one of PEFT's methods; what it adds is in float32."""
    import peft  # here, because only these methods need the package

    if method == "prefix-tuning":
        rename_cache(network)
    network = peft.get_peft_model(network, peft_config(method, task_type))
    for name, module in network.named_modules():
        if name.endswith("modules_to_save.default"):  # the new head, in float32
            module.float()
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    return network


def fit_network(case, method):
    """Train one of PEFT's methods, or all weights, on transformers' `Trainer`."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.set_verbosity_error()
    X_train, X_test, y_train, y_test = labelled(case)
    kind = case.task.kind
    folder = unpacked(case.task.model)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    targets = Targets(kind, y_train)
    torch.manual_seed(case.seed)
    network = build(method, folder, kind, targets.n_outputs, tokenizer.pad_token_id)
    train, starts = encode(tokenizer, fill(case, X_train, case.task.prompt))
    test, test_starts = encode(tokenizer, fill(case, X_test, case.task.prompt))
    labels, collator = targets.encode(y_train), DataCollatorWithPadding(tokenizer)
    padder = collator
    if kind == "words":
        labels = token_labels(train["input_ids"], starts, labels)
        collator = DataCollatorForTokenClassification(tokenizer)
    seconds = train_network(case, method, network, Rows(train, labels), collator)
    found = outputs(network, Rows(test), padder)
    if kind == "words":
        found = [row[places] for row, places in zip(found, test_starts, strict=True)]
    predicted = case.task.predict(Outputs(targets, found), X_test)
    return case.outcome(predicted, seconds, len(y_train)) | {
        "n_epochs": case.peer_epochs,
        "n_trainable_params": n_trained(network),
    }


def train_network(case, method, network, rows, collator):
    """Train with `Trainer`; return the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=case.peer_epochs,
            per_device_train_batch_size=case.task.batch_size,
            learning_rate=RATES[method],
            train_sampling_strategy="group_by_length",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
            bf16=method == "full" and fast_dtype() == torch.bfloat16,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
            seed=case.seed,
        )
        trainer = Trainer(
            network, arguments, train_dataset=rows, data_collator=collator
        )
        start = time.perf_counter()
        trainer.train()
        return time.perf_counter() - start


def n_trained(network):
    """Return how many values are trained."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


@torch.inference_mode()
def outputs(network, test, collator, batch_size=64):
    """Return each text's outputs (K,), or each token's (T, K), in batches by length."""
    network.eval()
    device = next(network.parameters()).device
    order = np.argsort([len(ids) for ids in test.columns["input_ids"]], kind="stable")
    found = [None] * len(order)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        result = network(**collator([test[i] for i in chosen]).to(device))
        logits = getattr(result, "logits", result).float().cpu().numpy()
        for i, row in zip(chosen, logits, strict=True):
            found[i] = row
    return found
