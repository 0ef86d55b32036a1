"""SK-Tuning as its paper's code for large decoders trains it (arXiv 2410.08598)."""

import inspect
import time

import numpy as np
import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer, DataCollatorWithPadding, DynamicCache

from peers.frozen import fast_dtype, unpacked
from peers.networks import Outputs, Rows, Targets, n_trained, outputs

RATE = 1e-3  # the paper's code


class AuthorsPrefix(nn.Module):
    """The trained prompt, the frozen model and the head.

    The prompt's token embeddings are trained. In every step the frozen model reads
    them, once for each text of the batch, and the texts attend to the keys and values
    that it makes of them; the mean of the texts' states goes into a linear head.
    """

    def __init__(self, folder, ids, n_outputs):
        super().__init__()
        self.model = AutoModel.from_pretrained(folder, dtype=fast_dtype())
        self.model.requires_grad_(False)
        embeddings = self.model.get_input_embeddings()(torch.tensor(ids)).float()
        self.prompt = nn.Parameter(embeddings.detach().clone())  # (P, C)
        self.head = nn.Linear(embeddings.shape[1], n_outputs)

    def forward(self, input_ids, attention_mask):
        """Return logits (B, K)."""
        n_texts, n_prompt = len(input_ids), len(self.prompt)
        prompts = self.prompt.to(self.model.dtype).repeat(n_texts, 1, 1)
        cache = DynamicCache()
        # transformers 5.24 renames `past_key_values` to `cache`.
        takes = inspect.signature(self.model.forward).parameters
        name = "cache" if "cache" in takes else "past_key_values"
        self.model(inputs_embeds=prompts, use_cache=True, **{name: cache})
        seen = attention_mask.new_ones(n_texts, n_prompt)
        states = self.model(
            input_ids=input_ids,
            attention_mask=torch.cat([seen, attention_mask], dim=1),
            use_cache=True,
            **{name: cache},
        ).last_hidden_state.float()  # (B, T, C)
        weights = attention_mask[:, :, None].float()
        return self.head((states * weights).sum(1) / weights.sum(1))


def fit_authors(case):
    """Train the authors' algorithm on texts between the prompt's two parts."""
    X_train, X_test, y_train, y_test = case.rows
    before, after = case.task.prompt.split("{text}")
    folder = unpacked(case.task.model)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    targets = Targets("classes", y_train)
    torch.manual_seed(case.seed)
    network = AuthorsPrefix(folder, tokenizer(before)["input_ids"], targets.n_outputs)
    train, test = (
        dict(tokenizer([text + after for text in X], add_special_tokens=False))
        for X in (X_train, X_test)
    )
    collator = DataCollatorWithPadding(tokenizer)
    rows = Rows(train, targets.encode(y_train))
    optimizer = torch.optim.AdamW([network.prompt, *network.head.parameters()], lr=RATE)
    rng = np.random.RandomState(case.seed)
    lengths = [len(ids) for ids in train["input_ids"]]
    start = time.perf_counter()
    for _ in range(case.peer_epochs):
        for chosen in similar_batches(lengths, case.task.batch_size, rng):
            batch = collator([rows[i] for i in chosen])
            labels = batch.pop("labels")
            loss = nn.functional.cross_entropy(network(**batch), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    seconds = time.perf_counter() - start
    found = Outputs(targets, outputs(network, Rows(test), collator))
    predicted = case.task.predict(found, X_test)
    return case.outcome(predicted, seconds, len(y_train)) | {
        "n_epochs": case.peer_epochs,
        "n_trainable_params": n_trained(network),
    }


def similar_batches(lengths, batch_size, rng):
    """Yield the rows of batches of similar length, in random order."""
    order = rng.permutation(len(lengths))
    order = order[np.argsort(np.asarray(lengths)[order], kind="stable")]
    for start in rng.permutation(range(0, len(order), batch_size)):
        yield order[start : start + batch_size]
