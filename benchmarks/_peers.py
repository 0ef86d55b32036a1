"""Parameter-efficient fine-tuning by other means: the peers of `speed.py`.

Each peer is set up as its own documentation recommends, on transformers' `Trainer`,
with padding per batch and batches of similar length. Nothing here imports sksemantic.
"""

import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _baselines import MAX_LENGTH, locate
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    DynamicCache,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.utils import logging

warnings.filterwarnings("ignore", category=FutureWarning)
logging.set_verbosity_error()

# Learning rates of the methods' pages in PEFT's documentation; full fine-tuning's is
# the one of the transformers course. LoRA has a higher one as well.
RATES = {
    "LoRA": 1e-3,
    "LoRA at 3e-3": 3e-3,
    "prefix tuning": 1e-2,
    "prompt tuning": 3e-2,
    "P-tuning": 1e-3,
    "full fine-tuning": 2e-5,
}


# What is predicted, as tasks of transformers and PEFT.
KINDS = {
    "classes": (AutoModelForSequenceClassification, "SEQ_CLS"),
    "numbers": (AutoModelForSequenceClassification, "SEQ_CLS"),
    "words": (AutoModelForTokenClassification, "TOKEN_CLS"),
}
CUT = {"truncation": True, "max_length": MAX_LENGTH}
IGNORED = -100  # the label of tokens that have none


def peft_config(method, task="SEQ_CLS"):
    """Return PEFT's configuration of a method, None for full fine-tuning."""
    import peft

    def lora():
        return peft.LoraConfig(task_type=task, r=8, lora_alpha=16)

    return {
        "LoRA": lora,
        "LoRA at 3e-3": lora,
        "prefix tuning": lambda: peft.PrefixTuningConfig(
            task_type=task, num_virtual_tokens=20
        ),
        "prompt tuning": lambda: peft.PromptTuningConfig(
            task_type=task, num_virtual_tokens=20
        ),
        "P-tuning": lambda: peft.PromptEncoderConfig(
            task_type=task, num_virtual_tokens=20, encoder_hidden_size=128
        ),
        "full fine-tuning": lambda: None,
    }[method]()


class MeanPooler(nn.Module):
    """The mean of a text's tokens, in place of a BERT's pooler.

    An encoder of sentences is read off so; the pooler that stands in its weights was
    never trained, and PEFT leaves it as it is.

    Parameters
    ----------
    encoder : PreTrainedModel
        Its calls are watched for the mask.
    n_virtual : int
        Tokens of a soft prompt in front, which do not count.
    """

    def __init__(self, encoder, n_virtual=0):
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
    """Tokenised texts with labels, as `Trainer` takes them."""

    def __init__(self, encoded, labels=None):
        self.encoded = encoded  # columns by name
        self.ids = encoded["input_ids"]
        self.labels = labels

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        row = {name: values[i] for name, values in self.encoded.items()}
        return row if self.labels is None else row | {"labels": self.labels[i]}


def encode(tokenizer, X):
    """Return texts, pairs or lists of words as columns of token ids.

    Besides, where each word of a text starts, or None.
    """
    if isinstance(X[0], list):
        found = tokenizer(X, is_split_into_words=True, **CUT)
        numbers = [found.word_ids(i) for i in range(len(X))]
        return dict(found), [firsts(row) for row in numbers]
    columns = zip(*X, strict=True) if isinstance(X[0], tuple) else [X]
    return dict(tokenizer(*map(list, columns), **CUT)), None


def firsts(numbers):
    """Return the places of the first token of each word."""
    places = {}
    for place, number in enumerate(numbers):
        if number is not None:
            places.setdefault(number, place)
    return list(places.values())


def token_labels(ids, starts, y):
    """Return a label for each token: that of the word that it starts."""
    labels = []
    for row, places, given in zip(ids, starts, y, strict=True):
        found = np.full(len(row), IGNORED)
        found[places] = given[: len(places)]
        labels.append(found.tolist())
    return labels


class Clock(TrainerCallback):
    """Stops the time of training alone, and scores every epoch, or some steps."""

    def __init__(self, score=None, every=None):
        self.score = score
        self.every = every
        self.steps, self.seconds, self.scores = [], [], []

    def on_train_begin(self, *args, **kwargs):
        """Start."""
        self.started = time.perf_counter()

    def on_epoch_begin(self, *args, **kwargs):
        """Start, if epochs are what is timed."""
        if not self.every:
            self.started = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        """Score if it is time to."""
        if self.every and state.global_step % self.every == 0:
            self.mark(state)

    def on_epoch_end(self, args, state, control, **kwargs):
        """Score if that is done every epoch."""
        if not self.every:
            self.mark(state)

    def on_train_end(self, args, state, control, **kwargs):
        """Score the outcome, if it is not done yet."""
        if self.steps[-1:] != [state.global_step]:
            self.mark(state)

    def mark(self, state):
        """Stop, score outside the measured time, and start again."""
        self.seconds.append(time.perf_counter() - self.started)
        self.steps.append(state.global_step)
        if self.score is not None:
            self.scores.append(self.score())
        self.started = time.perf_counter()


def unpacked(model, dtype):
    """Return a folder with a model's dense weights, written once."""
    source, gguf_file = locate(model)
    if gguf_file is None:
        return source
    folder = Path(tempfile.gettempdir()) / f"sksemantic-benchmark-{gguf_file}"
    if not (folder / "config.json").exists():
        from transformers import GgufConfig

        config = GgufConfig(dequantize=True)
        dense = AutoModel.from_pretrained(
            source, gguf_file=gguf_file, dtype=dtype, quantization_config=config
        )
        dense.save_pretrained(folder)
        AutoTokenizer.from_pretrained(source, gguf_file=gguf_file).save_pretrained(
            folder
        )
    return str(folder)


def fit_peer(
    method,
    model,
    data,
    *,
    epochs,
    batch_size,
    dtype,
    seed,
    kind="classes",
    every_epoch=True,
    every=None,
):
    """Train a peer; return the seconds of every epoch, and its outputs for the test.

    Parameters
    ----------
    method : str
        A key of `RATES`.
    model : str
        A folder or the id of a model.
    data : tuple
        X_train, X_test, y_train, y_test; labels are 0 and up, or numbers of mean 0, or
        lists of labels for lists of words.
    kind : {"classes", "numbers", "words"}
        What is predicted.
    every_epoch : bool, default=True
        Compute the accuracy after every epoch; for classes only.
    every : int, optional
        Do so, and stop the time, after so many steps instead.
    """
    import peft

    X_train, X_test, y_train, y_test = data
    folder = unpacked(model, dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(seed)
    # Updates of all weights would be lost to rounding in bfloat16: only products are.
    is_full = method == "full fine-tuning"
    make, task = KINDS[kind]
    flat = np.concatenate(y_train) if kind == "words" else np.asarray(y_train)
    network = make.from_pretrained(
        folder,
        num_labels=1 if kind == "numbers" else int(flat.max()) + 1,
        dtype=torch.float32 if is_full else dtype,
    )
    network.config.pad_token_id = tokenizer.pad_token_id
    config = peft_config(method, task)
    encoder = network.base_model
    if kind != "words" and getattr(encoder, "pooler", None) is not None:
        is_soft = method in ("prompt tuning", "P-tuning")
        n_virtual = config.num_virtual_tokens if is_soft else 0
        encoder.pooler = MeanPooler(encoder, n_virtual)
    if config is not None:
        network = peft.get_peft_model(network, config)
        keep_precise(network)
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    columns, starts = encode(tokenizer, X_train)
    if kind == "words":
        labels = token_labels(columns["input_ids"], starts, y_train)
        collator = DataCollatorForTokenClassification(tokenizer)
    else:
        labels = flat.astype(float if kind == "numbers" else int).tolist()
        collator = DataCollatorWithPadding(tokenizer)
    train = Rows(columns, labels)
    columns, starts = encode(tokenizer, X_test)
    test = Rows(columns)
    padder = DataCollatorWithPadding(tokenizer)

    def score():
        found = outputs(network, test, padder)
        return float((np.argmax(found, 1) == np.asarray(y_test)).mean())

    clock = Clock(score if every_epoch else None, every)
    with tempfile.TemporaryDirectory() as output:
        arguments = TrainingArguments(
            output_dir=output,
            num_train_epochs=epochs,
            per_device_train_batch_size=batch_size,
            learning_rate=RATES[method],
            train_sampling_strategy="group_by_length",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
            bf16=is_full and dtype == torch.bfloat16,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
            seed=seed,
        )
        Trainer(
            network,
            arguments,
            train_dataset=train,
            data_collator=collator,
            callbacks=[clock],
        ).train()
    found = outputs(network, test, padder)
    if kind == "words":
        found = [row[places] for row, places in zip(found, starts, strict=True)]
    return {
        "steps": clock.steps,
        "seconds": clock.seconds,
        "scores": clock.scores,
        "outputs": found,
        "trained": trainable,
        "bytes": 4 * trainable,
    }


@torch.inference_mode()
def outputs(network, test, collator, batch_size=64):
    """Return each text's outputs (K,), or each token's (T, K), in batches by length."""
    network.eval()
    order = np.argsort([len(ids) for ids in test.ids], kind="stable")
    found = [None] * len(order)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = collator([test[i] for i in chosen]).to(network.device)
        logits = network(**batch).logits.float().cpu().numpy()
        for i, row in zip(chosen, logits, strict=True):
            found[i] = row
    network.train()
    return found


def keep_precise(network):
    """Train and run the new head in float32, whatever the backbone's type is."""
    for name, module in network.named_modules():
        if name.endswith("modules_to_save.default"):
            module.float()
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))


class AuthorsPrefix(nn.Module):
    """SK-Tuning as its paper's code for large decoders trains it (arXiv 2410.08598).

    The prompt's token embeddings are trained. In every step the frozen model reads
    them, once for each text of the batch, and the texts attend to the keys and values
    that it makes of them; the mean of the texts' states goes into a linear head.
    """

    def __init__(self, folder, prompt, n_labels, dtype):
        super().__init__()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder, dtype=dtype)
        self.model.requires_grad_(False)
        ids = torch.tensor(tokenizer(prompt)["input_ids"])
        embeddings = self.model.get_input_embeddings()(ids).float()  # (P, C)
        self.prompt = nn.Parameter(embeddings.detach().clone())
        self.head = nn.Linear(embeddings.shape[1], n_labels)

    def forward(self, input_ids, attention_mask):
        """Return logits (B, K)."""
        n_texts, n_prompt = len(input_ids), len(self.prompt)
        prompts = self.prompt.to(self.model.dtype).repeat(n_texts, 1, 1)
        cache = DynamicCache()
        self.model(inputs_embeds=prompts, past_key_values=cache, use_cache=True)
        seen = attention_mask.new_ones(n_texts, n_prompt)
        states = self.model(
            input_ids=input_ids,
            attention_mask=torch.cat([seen, attention_mask], dim=1),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state.float()  # (B, T, C)
        weights = attention_mask[:, :, None].float()
        return self.head((states * weights).sum(1) / weights.sum(1))


def fit_authors(model, prompt, data, *, epochs, batch_size, dtype, seed, every=None):
    """Train the authors' algorithm; score it after every epoch, or so many steps."""
    X_train, X_test, y_train, y_test = data
    folder = unpacked(model, dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(seed)
    network = AuthorsPrefix(folder, prompt, int(max(y_train)) + 1, dtype)
    trained = [network.prompt, *network.head.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    collator = DataCollatorWithPadding(tokenizer)
    train, test = (
        Rows(dict(tokenizer(list(X), add_special_tokens=False)))
        for X in (X_train, X_test)
    )
    y = torch.as_tensor(np.asarray(y_train))
    rng = np.random.RandomState(seed)
    n_batches = -(-len(train) // batch_size)
    steps, seconds, scores = [], [], []
    n_steps = 0
    start = time.perf_counter()
    for _ in range(epochs):
        for rows in similar_batches([len(ids) for ids in train.ids], batch_size, rng):
            batch = collator([train[i] for i in rows])
            loss = nn.functional.cross_entropy(network(**batch), y[rows])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            n_steps += 1
            if n_steps % (every or n_batches) == 0 or n_steps == epochs * n_batches:
                steps.append(n_steps)
                seconds.append(time.perf_counter() - start)
                scores.append(plain_accuracy(network, test, y_test, collator))
                start = time.perf_counter()
    n_trained = sum(p.numel() for p in trained)
    return {
        "steps": steps,
        "seconds": seconds,
        "scores": scores,
        "trained": n_trained,
        "bytes": 4 * n_trained,
    }


def similar_batches(lengths, batch_size, rng):
    """Yield the rows of batches of similar length, in random order."""
    order = rng.permutation(len(lengths))
    order = order[np.argsort(np.asarray(lengths)[order], kind="stable")]
    starts = rng.permutation(range(0, len(order), batch_size))
    for start in starts:
        yield order[start : start + batch_size]


@torch.inference_mode()
def plain_accuracy(network, test, labels, collator, batch_size=64):
    """Return the share of test texts that are labelled right."""
    order = np.argsort([len(ids) for ids in test.ids], kind="stable")
    right = 0
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        found = network(**collator([test[i] for i in chosen])).argmax(-1).numpy()
        right += int((found == np.asarray(labels)[chosen]).sum())
    return right / len(order)


def fit_setfit(model, data, *, seed, iterations=None):
    """Train SetFit as its quick start does; it is made for few texts.

    Its contrastive pairs grow with the square of the texts, unless `iterations` says
    how many pairs of either kind are drawn for each text.
    """
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, models
    from setfit import SetFitModel, Trainer, TrainingArguments
    from sklearn.linear_model import LogisticRegression

    X_train, X_test, y_train, y_test = data
    source, _ = locate(model)
    reader = models.Transformer(source)
    pooling = models.Pooling(reader.get_word_embedding_dimension())
    body = SentenceTransformer(modules=[reader, pooling], device="cpu")
    network = SetFitModel(model_body=body, model_head=LogisticRegression())
    rows = Dataset.from_dict({"text": list(X_train), "label": list(map(int, y_train))})
    with tempfile.TemporaryDirectory() as output:
        arguments = TrainingArguments(
            output_dir=output,
            batch_size=16,
            num_epochs=1,
            num_iterations=iterations,
            seed=seed,
            report_to="none",
        )
        start = time.perf_counter()
        Trainer(network, args=arguments, train_dataset=rows).train()
        seconds = time.perf_counter() - start
    found = np.asarray(network.predict(list(X_test)))
    n_trained = sum(p.numel() for p in body.parameters())
    return {
        "seconds": [seconds],
        "scores": [float((found == np.asarray(y_test)).mean())],
        "trained": n_trained,
        "bytes": 4 * n_trained,
    }
