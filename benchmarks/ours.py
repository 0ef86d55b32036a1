"""The package's estimators on a task. Only what is public is used."""

import json
import pickle
from dataclasses import replace
from functools import cache

import numpy as np
from sklearn.multioutput import MultiOutputRegressor
from splits import UNLABELLED, labelled

import sksemantic
from sksemantic import (
    SKTuningClassifier,
    SKTuningRegressor,
    SKTuningTokenClassifier,
    TrainingConfig,
)

ESTIMATORS = {
    "classes": SKTuningClassifier,
    "labels": SKTuningClassifier,
    "numbers": SKTuningRegressor,
    "words": SKTuningTokenClassifier,
}


def nested(settings):
    """Return parameters by name from ``{"training__contrast": 0, "lr": 1e-3}``."""
    found = {}
    for name, value in settings.items():
        group, _, key = name.partition("__")
        if key:
            found[group] = {**found.get(group, {}), key: value}
        else:
            found[group] = value
    return found


def make_ours(case, **settings):
    """Return the estimator for a task; what is set for the case comes last."""
    settings = {**case.task.params, **settings, **case.settings}
    settings.setdefault("random_state", case.seed)
    return ESTIMATORS[case.task.kind](**nested(settings))


def forget(estimator):
    """Forget what earlier fits know of the texts, but not the loaded backbone.

    Both would be in the seconds of the next fit.
    """
    load(estimator.model, json.dumps(estimator.model_kwargs or {}))
    sksemantic.clear_cache()


@cache
def load(model, model_kwargs):
    """Return a fitted estimator, which keeps its backbone loaded."""
    keeper = SKTuningRegressor(
        model=model, model_kwargs=json.loads(model_kwargs), max_epochs=1
    )
    return keeper.fit(["one", "two", "three", "four"], [0.0, 1.0, 0.0, 1.0])


def fit_ours(case, **settings):
    """Fit and score the estimator."""
    estimator = make_ours(case, **settings)
    forget(estimator)
    return case.measure(estimator) | describe(estimator)


def fit_ours_few(case, *, label_texts, unlabelled):
    """Fit and score the estimator on few labelled texts.

    With `label_texts` it is told what the labels are called, with `unlabelled` it is
    given the texts without a label.
    """
    rows = labelled(case.rows)
    if unlabelled:
        X_train, X_test, y_train, y_test = case.rows
        y_train = np.where(y_train != UNLABELLED, y_train, None)
        rows = X_train, X_test, y_train, y_test
    texts = dict(enumerate(case.task.label_texts)) if label_texts else None
    return fit_ours(replace(case, rows=rows), label_texts=texts)


def fit_ours_per_target(case):
    """Fit and score one estimator for each target."""
    estimator = make_ours(case)
    forget(estimator)
    several = MultiOutputRegressor(estimator)
    found = case.measure(several) | describe(several.estimators_[0])
    trained = sum(one.n_trainable_params_ for one in several.estimators_)
    return found | {"n_trainable_params": trained}


def describe(estimator):
    """Return what belongs to the scores of a fitted estimator."""
    config = estimator.config_
    model = config.model.to_dict()
    del model["backbone"]["source"]["location"]  # a path of this machine
    found = {
        "n_trainable_params": estimator.n_trainable_params_,
        "n_epochs": len(estimator.history_),
        "n_bytes": len(pickle.dumps(estimator)),
        "config": {
            "model": model,
            "training": changed(config.training),
        },
    }
    comparison = estimator.comparison_
    return found | ({} if comparison is None else {"kept": comparison.kept})


def changed(training):
    """Return the fields of a training configuration that are not its defaults."""
    defaults = TrainingConfig().to_dict()
    values = training.to_dict().items()
    return {name: value for name, value in values if value != defaults[name]}


def defaults():
    """Return every default of the package's public interface."""
    found = {
        kind.__name__: kind().get_params(deep=False) for kind in ESTIMATORS.values()
    }
    found["training"] = TrainingConfig().to_dict()
    for values in found.values():
        values.pop("time_limit", None)  # None changes nothing of what there was before
    return found
