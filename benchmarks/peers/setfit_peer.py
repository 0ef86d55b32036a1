"""SetFit, which trains a whole encoder of sentences on pairs of labelled texts."""

import tempfile
import time

import numpy as np
from sklearn.linear_model import LogisticRegression

from peers.frozen import MINILM, locate
from peers.networks import labelled, n_trained

SETFIT_PAIRS = 20  # of either kind for each text, as in its paper
MAX_LENGTH = 256  # tokens that the model on the hub reads of a text


def fit_setfit(case):
    """Train SetFit's MiniLM as its quick start does; it is made for few texts."""
    # Here, because only this method needs the packages.
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, models
    from setfit import SetFitModel
    from setfit import Trainer as SetFitTrainer
    from setfit import TrainingArguments as SetFitArguments

    X_train, X_test, y_train, y_test = labelled(case)
    classes, labels = np.unique(y_train, return_inverse=True)
    transformer = models.Transformer(locate(MINILM)[0], max_seq_length=MAX_LENGTH)
    pooling = models.Pooling(transformer.get_word_embedding_dimension())
    body = SentenceTransformer(modules=[transformer, pooling])
    network = SetFitModel(model_body=body, model_head=LogisticRegression())
    rows = Dataset.from_dict({"text": list(X_train), "label": labels.tolist()})
    with tempfile.TemporaryDirectory() as folder:
        arguments = SetFitArguments(
            output_dir=folder,
            batch_size=16,
            num_epochs=1,
            num_iterations=SETFIT_PAIRS,
            seed=case.seed,
            report_to="none",
        )
        trainer = SetFitTrainer(network, args=arguments, train_dataset=rows)
        start, cpu = time.perf_counter(), time.process_time()
        trainer.train()
        seconds = time.perf_counter() - start
        cpu_seconds = time.process_time() - cpu
    predicted = classes[np.asarray(network.predict(list(X_test)))]
    return case.outcome(predicted, seconds, len(y_train)) | {
        "n_trainable_params": n_trained(body),
        "cpu_seconds": round(cpu_seconds, 3),
    }
