"""What is measured on a GPU: our estimator, the bare model, and PEFT's methods.

Each takes a `Combination` and returns the outcome of a row.
"""

import gc
import tempfile
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import gpu_models as made
import torch
from gpu_clock import Clock, peak_mib, synchronize
from peers import networks
from peers.frozen import fast_dtype
from skorch.callbacks import Callback
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

import sksemantic
from sksemantic import SKTuningClassifier

N_HELD_OUT = 100  # texts that a fit holds out of few
N_PREDICTED, N_COPIES = 128, 64
N_WARM = 4
OURS = {
    "ours": {},
    "ours, all layers": {"tuned_layers": "all"},
    "ours, device_map": {"model_kwargs": {"device_map": "auto"}},
}
PEERS = ("lora", "prefix-tuning")
FLOOR = "forward and backward"
METHODS = ("ours", "ours, all layers", FLOOR, *PEERS, "ours, device_map")


@dataclass(frozen=True)
class Combination:
    """A method on a backbone and batches of a shape."""

    method: str
    size: str
    batch_size: int
    length: int
    n_steps: int
    folder: Path

    def clock(self):
        """Return a clock for its steps."""
        return Clock(N_WARM, self.n_steps)


class Networks:
    """The network of the latest method: loaded once for batches of all shapes."""

    def __init__(self):
        self.key = None
        self.network = None

    def get(self, method, folder):
        """Return the network of a method that is no estimator of ours."""
        if self.key != (method, folder):
            self.free()
            self.network = load_peer(method, folder)
            self.key = method, folder
        return self.network

    def free(self):
        """Free what it holds, and what the estimators keep."""
        self.key = self.network = None
        sksemantic.clear_cache()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def load_peer(method, folder):
    """Return the bare model, frozen, or one with PEFT's method, on the device."""
    on_device = {"dtype": fast_dtype(), "device_map": {"": made.device()}}
    if method == FLOOR:
        model = AutoModel.from_pretrained(folder, **on_device)
        return model.requires_grad_(False).eval()
    network = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=2, **on_device
    )
    return networks.add_peft(network, method, "SEQ_CLS")


def measure(combination, loaded):
    """Return the outcome of a method, measured with nothing else on the device."""
    if combination.method in OURS:
        if loaded.network is not None:
            loaded.free()
        return fit_ours(combination)
    network = loaded.get(combination.method, combination.folder)
    if combination.method == FLOOR:
        return run_bare(combination, network)
    return train_peer(combination, network)


class _Ticks(Callback):
    """Tells a clock of the steps of a fit."""

    def __init__(self, clock):
        self.clock = clock

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        if training:
            self.clock.tick(len(batch[1]))


class _TrainerTicks(TrainerCallback):
    """Tells a clock of the steps of a `Trainer`."""

    def __init__(self, clock):
        self.clock = clock

    def on_step_end(self, args, state, control, **kwargs):
        self.clock.tick(args.per_device_train_batch_size)


def fit_ours(combination):
    """Fit our estimator for one epoch; measure its steps and its predictions."""
    clock = combination.clock()
    n_texts = combination.batch_size * (clock.n_needed + 1) + N_HELD_OUT
    # Texts that no other fit has read: what it keeps of them would save time.
    seed = METHODS.index(combination.method)
    ids = made.random_ids(combination.size, n_texts, combination.length, seed)
    estimator = SKTuningClassifier(
        model=str(combination.folder),
        prompt=made.prompt(combination.size),
        batch_size=combination.batch_size,
        max_epochs=1,
        training={"callbacks": [_Ticks(clock)]},
        random_state=0,
        **OURS[combination.method],
    )
    start = time.perf_counter()
    estimator.fit(made.texts_of(ids), made.random_labels(n_texts))
    synchronize()
    found = {"fit_seconds": round(time.perf_counter() - start, 2)}
    found |= clock.outcome(combination.batch_size)
    found["peak_after_mib"] = peak_mib()
    parameters = estimator.get_module().parameters()
    found["n_trainable_params"] = sum(p.numel() for p in parameters)
    return found | predictions(combination, estimator)


def predictions(combination, estimator):
    """Return texts a second of `predict`, and of as many copies in common batches."""
    size, length = combination.size, combination.length
    ids = made.random_ids(size, 2 * N_PREDICTED, length, seed=100)
    first, second = ids[:N_PREDICTED], ids[N_PREDICTED:]
    copies = [deepcopy(estimator) for _ in range(N_COPIES)]
    n_each = N_PREDICTED // N_COPIES
    seconds = {}
    for some in (first, second):  # the first time warms up
        texts = made.texts_of(some)
        requests = [
            (copy, texts[n_each * i : n_each * (i + 1)])
            for i, copy in enumerate(copies)
        ]
        seconds["predict"] = seconds_of(estimator.predict, texts)
        seconds["predict_many"] = seconds_of(sksemantic.predict_many, requests)
    return {
        "texts_a_second": round(N_PREDICTED / seconds["predict"], 1),
        "texts_a_second_of_many": round(N_PREDICTED / seconds["predict_many"], 1),
        "n_copies": N_COPIES,
        "predict_peak_mib": peak_mib(),
    }


def seconds_of(call, *args):
    """Return the seconds that a call takes; its result is on the CPU."""
    start = time.perf_counter()
    call(*args)
    return time.perf_counter() - start


def run_bare(combination, model):
    """Run the frozen model forward and backward, down to its input embeddings."""
    clock = combination.clock()
    n_texts = combination.batch_size * clock.n_needed
    ids = made.random_ids(combination.size, n_texts, combination.length, seed=0)
    for batch in torch.from_numpy(ids).split(combination.batch_size):
        batch = batch.to(made.device())
        embeddings = model.get_input_embeddings()(batch).requires_grad_()
        inputs = {"inputs_embeds": embeddings, "attention_mask": torch.ones_like(batch)}
        hidden = model(**inputs, use_cache=False).last_hidden_state
        hidden[:, -1].float().square().mean().backward()
        clock.tick(len(batch))
    return clock.outcome(combination.batch_size)


def train_peer(combination, network):
    """Train one of PEFT's methods on transformers' `Trainer`."""
    clock = combination.clock()
    n_texts = combination.batch_size * clock.n_needed
    ids = made.random_ids(combination.size, n_texts, combination.length, seed=0)
    columns = {"input_ids": ids.tolist()}
    columns["attention_mask"] = [[1] * combination.length] * n_texts
    rows = networks.Rows(columns, made.random_labels(n_texts).tolist())
    tokenizer = made.tokenizer(made.SIZES[combination.size]["vocab_size"])
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=combination.batch_size,
            learning_rate=networks.RATES[combination.method],
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
            seed=0,
        )
        trainer = Trainer(
            network,
            arguments,
            train_dataset=rows,
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[_TrainerTicks(clock)],
        )
        start = time.perf_counter()
        trainer.train()
        synchronize()
    found = {"fit_seconds": round(time.perf_counter() - start, 2)}
    found |= clock.outcome(combination.batch_size)
    return found | {"n_trainable_params": networks.n_trained(network)}
