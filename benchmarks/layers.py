"""What the frozen states of each layer say of texts.

A logistic regression, its penalty chosen by cross-validation, on the states of every
layer in turn: of the last token behind the final norm for Gemma, inside the task's
prompt, the mean over the tokens for MiniLM. Printed is the accuracy on held-out rows.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _baselines import (
    ENTAILMENT_PROMPT,
    GEMMA,
    MINILM,
    POOLINGS,
    PROMPTS,
    QUESTION_PROMPT,
    REVIEW_PROMPT,
    FrozenBackbone,
    embedding_logistic,
    fast_dtype,
    fill_slot,
    pooled,
)
from _data import data_folder, load_rte, load_trec
from _rows import split_official, split_random, split_sst2

TASKS = {
    "sst2": (split_sst2, REVIEW_PROMPT),
    "trec6": (partial(split_random, load=load_trec), QUESTION_PROMPT),
    "rte": (partial(split_official, load=load_rte), ENTAILMENT_PROMPT),
}
BATCH_SIZE = 32


@torch.inference_mode()
def states_of_layers(backbone, texts, pooling):
    """Return one vector for each layer and text (n_layers, n_texts, C)."""
    norm = getattr(backbone.model, "norm", torch.nn.Identity())
    ids = backbone.tokenize(texts)
    order = np.argsort([len(row) for row in ids], kind="stable")
    found = None
    for start in range(0, len(order), BATCH_SIZE):
        chosen = order[start : start + BATCH_SIZE]
        padded, mask, lengths = backbone.pad([ids[i] for i in chosen])
        states = backbone.model(
            padded, attention_mask=mask.long(), output_hidden_states=True
        ).hidden_states
        # The last of them has been through the norm already.
        states = [*map(norm, states[1:-1]), states[-1]]
        vectors = np.stack(
            [pooled(each.float(), mask, lengths, pooling) for each in states]
        )
        if found is None:
            found = np.empty((len(vectors), len(ids), vectors.shape[2]), np.float32)
        found[:, chosen] = vectors
    return found


def measure(args, name, seed):
    """Return the accuracy with each layer's states, from the bottom up."""
    split, prompt = TASKS[name]
    X_train, X_test, y_train, y_test = split(args, seed, None, size=args.rows)
    if args.model != GEMMA:
        prompt = PROMPTS[args.model]
    backbone = FrozenBackbone(
        args.model, fast_dtype() if args.model == GEMMA else torch.float32
    )
    pooling = POOLINGS[args.model]
    train, test = (
        states_of_layers(backbone, laid_out(prompt, X), pooling)
        for X in (X_train, X_test)
    )
    return [
        embedding_logistic("accuracy").fit(known, y_train).score(new, y_test)
        for known, new in zip(train, test, strict=True)
    ]


def laid_out(prompt, X):
    """Return texts, or pairs, inside a prompt."""
    if isinstance(X[0], tuple):
        return [(prompt or "{0}\n{1}").format(*pair) for pair in X]
    return fill_slot(prompt, X)


def parse_args():
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--model", choices=[GEMMA, MINILM], default=GEMMA)
    add("--task", nargs="+", choices=[*TASKS], default=[*TASKS])
    add("--rows", type=int, default=1000, help="to train on; 0 is all of them")
    add("--seeds", type=int, default=1)
    add("--data", type=Path, default=data_folder(), help="folder that holds rte/")
    add("--json", type=Path, metavar="FILE", help="append each result to this file")
    args = parser.parse_args()
    args.train_size = None
    return args


def main():
    """Measure and print."""
    args = parse_args()
    table = {}
    for name in args.task:
        runs = []
        for seed in range(args.seeds):
            runs.append(measure(args, name, seed))
            result = {"model": args.model, "task": name, "rows": args.rows}
            result |= {"seed": seed, "accuracy": runs[-1]}
            print(json.dumps(result), flush=True)
            if args.json:
                with args.json.open("a") as file:
                    file.write(json.dumps(result) + "\n")
        table[name] = np.mean(runs, axis=0)
    print("\nlayer  " + "  ".join(f"{name:>6}" for name in table))
    for layer, scores in enumerate(zip(*table.values(), strict=True), 1):
        print(f"{layer:5}  " + "  ".join(f"{score:6.3f}" for score in scores))


if __name__ == "__main__":
    main()
