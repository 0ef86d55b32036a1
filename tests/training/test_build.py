import numpy as np
import pytest
from conftest import load_tiny

from sksemantic import SKTuningClassifier
from sksemantic._tasks.base import Targets
from sksemantic._tasks.classification import Classification
from sksemantic._tasks.multilabel import MultiLabel
from sksemantic._tasks.ordinal import Ordinal
from sksemantic._tasks.regression import Regression
from sksemantic._tasks.tokens import TokenClassification
from sksemantic._training.build import (
    check_task_options,
    has_few_labelled,
    resolve_backbone_config,
    resolve_training,
)

CLASSES, WORDS = Classification(np.arange(2)), TokenClassification(np.arange(2))
ORDERED = Ordinal(np.arange(2), np.arange(2))
NUMBERS = Regression(np.zeros(1), np.ones(1))


def of(task, **more):
    return Targets(task, np.arange(2), **more)


def parameters(**changes):
    clf = SKTuningClassifier(device="cpu").set_params(**changes)
    return clf.get_params(deep=False)


@pytest.mark.parametrize(
    ("task", "name", "value"),
    [
        (MultiLabel(np.arange(2)), "contrast", 1.0),
        (ORDERED, "contrast", 0.5),
        (NUMBERS, "contrast", 1),
        (WORDS, "contrast", 1.0),
        (MultiLabel(np.arange(2)), "objective", "contrast"),
        (NUMBERS, "objective", "contrast"),
        (WORDS, "pooling", "mean"),
    ],
)
def test_option_when_the_task_does_not_have_it_then_refused(task, name, value):
    message = f"'{name}' entry of the 'training' param.* Got {value!r} instead"
    with pytest.raises(ValueError, match=message):
        check_task_options(parameters(**{f"training__{name}": value}), of(task))
    check_task_options(parameters(training__contrast=0), of(task))
    check_task_options(parameters(training__objective="task"), of(task))
    check_task_options(parameters(**{f"training__{name}": value}), of(CLASSES))


def test_contrast_when_asked_for_in_partial_fit_then_refused():
    asked = parameters(training__objective="contrast")
    with pytest.raises(ValueError, match=r"for partial_fit.*Got 'contrast' instead"):
        check_task_options(asked, of(CLASSES), is_partial=True)
    check_task_options(parameters(), of(CLASSES), is_partial=True)


@pytest.mark.parametrize(
    ("n_layers", "default", "expected"),
    [("auto", "auto", "auto"), ("auto", "all", "all"), (4, "all", 4)],
)
def test_n_layers_when_auto_then_the_default_of_the_fit(
    n_layers, default, expected, tiny_llama
):
    given = parameters(model=tiny_llama, model_kwargs__n_layers=n_layers)
    assert resolve_backbone_config(given, default).n_layers == expected


@pytest.mark.parametrize(
    ("counts", "changes", "expected"),
    [
        ((7, 8), {}, True),
        ((8, 8), {}, False),
        ((1, 15), {}, False),
        ((0, 90), {}, True),
        ((8, 8), {"training__enough_texts_per_class": 9}, True),
        ((1, 1), {"training__enough_texts_per_class": 1}, False),
    ],
)
def test_few_labelled_when_each_class_has_one_and_the_mean_is_enough_then_not(
    counts, changes, expected
):
    targets = Targets(CLASSES, np.repeat([0, 1], counts))
    assert has_few_labelled(parameters(**changes), targets) == expected
    weighed = Targets(
        CLASSES, np.repeat([0, 1, 1], [*counts, 9]), np.repeat([1, 0], [sum(counts), 9])
    )
    assert has_few_labelled(parameters(**changes), weighed) == expected


def test_training_when_resolved_then_follows_backbone_pairs_adapter_and_label_texts(
    tiny_bert, tiny_llama
):
    def start(model, pooling="mean", label_texts=None, n_texts=201, **changes):
        targets = of(CLASSES, label_texts=label_texts)
        config = resolve_training(
            parameters(**changes), load_tiny(model), targets, pooling, n_texts=n_texts
        )
        return config.lr, config.head_init, config.pooling

    assert start(tiny_bert) == (4e-3, "zeros", "mean")
    assert start(tiny_llama, "last") == (2e-3, "zeros", "last")
    assert start(tiny_bert, "pair") == (1e-3, "linear_probe", "pair")
    assert start(tiny_bert, adapter="linear") == (4e-4, "zeros", "mean")
    named = start(tiny_bert, label_texts=[["bad"], ["good"]], n_texts=64)
    assert named == (5e-3, "linear_probe", "mean")
    assert start(tiny_bert, lr=0.1) == (0.1, "zeros", "mean")
