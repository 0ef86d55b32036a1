import math
import re
from dataclasses import fields

import numpy as np
import pytest

from sksemantic import TrainingConfig
from sksemantic._tasks.classification import Classification
from sksemantic._tasks.multilabel import MultiLabel
from sksemantic._tasks.ordinal import Ordinal
from sksemantic._tasks.regression import Regression
from sksemantic._tasks.tokens import TokenClassification
from sksemantic._training.presets import PRESETS, resolve_training_config

AUTO = {"lr": "auto", "head_lr": "auto", "max_epochs": "auto"}
CLASSES = Classification(np.arange(2))
WORDS = TokenClassification(np.arange(2))
ORDERED = Ordinal(np.arange(3), np.arange(3))
TARGETS = Regression(np.zeros(2), np.ones(2))


def resolve(changes=None, n_texts=1000, task=CLASSES, is_causal=False, **situation):
    """Return the config of a situation, by default of an encoder."""
    return resolve_training_config(
        AUTO | (changes or {}), task, n_texts=n_texts, is_causal=is_causal, **situation
    )


def rates(config):
    return config.lr, config.head_lr


# All figures as they were measured: a change of any of them is to be deliberate.
@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        ({}, (4e-3, 1.5e-3, "zeros", 6)),
        ({"task": WORDS}, (1e-2, 3e-3, "zeros", 6)),
        ({"is_pair": True}, (1e-3, 1e-4, "linear_probe", 6)),
        ({"has_full_matrices": True}, (4e-4, 1.5e-3, "zeros", 6)),
        ({"task": TARGETS}, (4e-3, 1.5e-3, "zeros", 9)),
        ({"is_causal": True}, (2e-3, 1e-3, "zeros", 5)),
        ({"is_causal": True, "task": WORDS}, (2e-3, 1e-3, "zeros", 5)),
        ({"is_causal": True, "has_full_matrices": True}, (2e-4, 1e-3, "zeros", 5)),
        ({"is_causal": True, "task": TARGETS}, (2e-3, 1e-3, "zeros", 8)),
        ({"is_causal": True, "is_pair": True}, (5e-4, 1e-4, "linear_probe", 5)),
        ({"is_pair": True, "has_linear_probe": False}, (4e-3, 1.5e-3, "zeros", 6)),
    ],
)
def test_rates_and_epochs_when_auto_then_are_those_measured(situation, expected):
    config = resolve(**situation, n_texts=100_000)
    assert rates(config) == pytest.approx(expected[:2])
    assert (config.head_init, config.max_epochs) == expected[2:]


@pytest.mark.parametrize(
    ("is_causal", "n_texts", "expected"),
    [
        (False, 199, (1e-3, 1e-4, "linear_probe", 26)),
        (False, 3, (1e-3, 1e-4, "linear_probe", 90)),
        (True, 199, (5e-4, 1e-4, "linear_probe", 18)),
        (True, 3, (5e-4, 1e-4, "linear_probe", 30)),
        (False, 200, (4e-3, 1.5e-3, "zeros", 18)),
        (True, 200, (2e-3, 1e-3, "zeros", 18)),
    ],
)
def test_rates_when_labels_have_texts_then_few_texts_start_from_the_probe(
    is_causal, n_texts, expected
):
    changes = {"objective": "task"}
    config = resolve(
        changes, n_texts=n_texts, is_causal=is_causal, has_label_texts=True
    )
    found = (*rates(config), config.head_init, config.max_epochs)
    assert found == expected
    assert (config.contrast, config.text_rank) == (0, 0)
    assert resolve({"text_rank": 2}, has_label_texts=True).text_rank == 2


@pytest.mark.parametrize(
    ("changes", "is_fresh", "expected"),
    [
        ({}, False, "zeros"),
        ({"few_labels": 10}, True, "zeros"),
        ({"few_labels": 11, "head_init": "random"}, True, "linear_probe"),
    ],
)
def test_few_labels_when_fresh_and_fewer_then_start_from_the_probe_whatever_is_asked(
    changes, is_fresh, expected
):
    config = resolve(changes, n_texts=10, has_label_texts=True, is_fresh=is_fresh)
    assert config.head_init == expected


@pytest.mark.parametrize(
    ("given", "is_pair", "expected"),
    [
        ("auto", True, "linear_probe"),
        ("zeros", True, "zeros"),
        ("random", True, "random"),
        ("linear_probe", False, "linear_probe"),
    ],
)
def test_head_init_when_given_then_is_that(given, is_pair, expected):
    config = resolve({"head_init": given}, is_pair=is_pair)
    assert config.head_init == expected
    assert (config.head_lr == 1e-4) == (expected == "linear_probe")


@pytest.mark.parametrize(
    ("situation", "changes", "expected"),
    [
        ({}, {}, "contrast"),
        ({"n_texts": 65}, {}, "task"),
        ({"n_texts": 65}, {"contrast_first_texts": 33}, "contrast"),
        ({"n_texts": 65}, {"objective": "contrast"}, "contrast"),
        ({}, {"objective": "task"}, "task"),
        ({"is_causal": True}, {}, "contrast"),
        ({"is_pair": True}, {}, "task"),
        ({"is_fresh": False}, {}, "task"),
        ({"is_fresh": False, "was_contrasted": True}, {}, "contrast"),
        ({"has_linear_probe": False}, {}, "task"),
        ({"has_full_matrices": True}, {}, "task"),
        ({"has_label_texts": True}, {}, "contrast"),
        ({"has_label_texts": True, "n_texts": 7}, {}, "contrast"),
        ({"has_label_texts": True, "n_texts": 8, "is_causal": True}, {}, "contrast"),
        ({"has_label_texts": True, "n_texts": 7, "is_causal": True}, {}, "task"),
        ({"n_texts": 7, "is_causal": True}, {}, "contrast"),
        ({"task": WORDS}, {}, "task"),
        ({"task": WORDS, "n_texts": 21}, {}, "task"),
        ({"task": WORDS, "n_texts": 20}, {}, "contrast"),
        ({"task": WORDS, "n_texts": 20}, {"head_lr": 1e-3}, "task"),
        ({"task": WORDS, "n_texts": 20}, {"contrast_first_sentences": 19}, "task"),
        ({"task": WORDS, "n_texts": 20, "is_causal": True}, {}, "task"),
        ({"task": ORDERED, "n_texts": 96}, {}, "contrast"),
        ({"task": ORDERED, "n_texts": 97}, {}, "task"),
        ({"task": TARGETS}, {}, "task"),
        ({"task": MultiLabel(np.arange(2))}, {}, "task"),
        ({}, {"early_stopping": True}, "task"),  # watches the loss of held-out texts
        ({}, {"callbacks": [object()]}, "task"),
        ({}, {"contrast": 0}, "task"),  # asks for another training
        ({}, {"head_init": "random"}, "task"),
        ({}, {"head_lr": 1e-3}, "task"),
    ],
)
def test_objective_when_texts_of_classes_are_few_then_is_the_contrast(
    situation, changes, expected
):
    config = resolve(changes, **{"n_texts": 64, **situation})
    assert config.objective == expected
    if expected == "contrast":
        lr = 2e-3 if situation.get("is_causal") else 5e-3
        assert (config.lr, config.batch_size, config.contrast) == (lr, 64, 0)


def test_fields_when_given_then_replace_the_presets():
    changes = {"lr": 0.1, "head_lr": np.float32(0.5), "dropout": 0, "batch_size": 8}
    config = resolve(changes, task=WORDS, has_full_matrices=True)
    assert rates(config) == (0.1, 0.5)
    assert (config.dropout, config.batch_size) == (0, 8)


@pytest.mark.parametrize("n_texts", [201, 300, 401])
@pytest.mark.parametrize("batch_size", [16, 32])
def test_max_epochs_when_few_texts_then_there_are_just_enough_steps(
    n_texts, batch_size
):
    n_epochs = resolve({"batch_size": batch_size}, n_texts).max_epochs
    n_steps = math.ceil(n_texts / batch_size)
    assert (n_epochs - 1) * n_steps < 120 <= n_epochs * n_steps or n_epochs == 6


def test_max_epochs_when_hardly_any_texts_then_is_capped():
    assert resolve({"objective": "task"}, n_texts=3).max_epochs == 30


@pytest.mark.parametrize("n_texts", [3, 100_000])
@pytest.mark.parametrize("kind", [int, np.int64])
def test_max_epochs_when_a_number_then_is_that_number(kind, n_texts):
    assert resolve({"max_epochs": kind(11)}, n_texts).max_epochs == 11


@pytest.mark.parametrize(
    ("n_texts", "expected"),
    [(31, 0), (32, 1), (200, 1), (400, 0.25), (2000, 0.01)],
)
def test_contrast_when_texts_are_more_then_fades(n_texts, expected):
    config = resolve({"objective": "task"}, n_texts=n_texts)
    assert config.contrast == pytest.approx(expected)


@pytest.mark.parametrize(
    "situation",
    [
        {"is_causal": True},
        {"is_pair": True},
        {"task": WORDS},
        {"task": MultiLabel(np.arange(2))},
    ],
)
def test_contrast_when_texts_have_nothing_in_common_then_is_none(situation):
    assert resolve(n_texts=200, **situation).contrast == 0


@pytest.mark.parametrize("is_causal", [True, False])
def test_contrast_when_a_number_then_is_that_number(is_causal):
    config = resolve({"contrast": 2}, 9999, is_causal=is_causal)
    assert config.contrast == 2


@pytest.mark.parametrize(("is_causal", "expected"), [(True, 1 / 3), (False, 0)])
def test_frozen_share_when_causal_then_is_a_third(is_causal, expected):
    assert resolve(is_causal=is_causal).frozen_share == expected


def test_config_when_resolved_then_nothing_is_auto():
    config = resolve().to_dict()
    assert [name for name, value in config.items() if value == "auto"] == ["pooling"]


def test_dictionary_when_read_back_then_is_the_same_config():
    config = resolve({"lr": 0.1, "pooling": "first"})
    assert TrainingConfig.from_dict(config.to_dict()) == config


def test_docstring_when_compared_then_gives_the_defaults():
    documented = dict(
        re.findall(r"^    (\w+) : .*, default=(\S+)$", TrainingConfig.__doc__, re.M)
    )
    config = TrainingConfig()
    named = {field.name for field in fields(config)} - {"linear_probe"}
    assert documented.keys() == named
    for name, text in documented.items():
        assert eval(text) == getattr(config, name), name


def test_docstrings_of_estimators_when_compared_then_give_the_rates():
    from sksemantic import SKTuningClassifier, SKTuningTokenClassifier

    for estimator, encoder in (
        (SKTuningClassifier, PRESETS["encoder"]),
        (SKTuningTokenClassifier, PRESETS["encoder, words"]),
    ):
        causal, other = re.search(
            r"is\s+(\S+) for causal\s+models, (\S+) for others", estimator.__doc__
        ).groups()
        assert (float(causal), float(other)) == (PRESETS["causal"].lr, encoder.lr)
