import pytest
from skorch.callbacks import Callback

from sksemantic import TrainingConfig
from sksemantic._training.options import OPTION_NAMES, check_training_options


def test_options_when_compared_then_are_the_fields_that_are_no_parameters():
    fields = set(TrainingConfig.__dataclass_fields__)
    own = {"lr", "max_epochs", "batch_size", "early_stopping", "time_limit", "verbose"}
    assert set(OPTION_NAMES) == fields - own - {"linear_probe"}


def test_options_when_auto_or_none_then_are_accepted():
    check_training_options(None, "Estimator")
    check_training_options(dict.fromkeys(OPTION_NAMES, "auto"), "Estimator")


def test_callbacks_when_classes_or_named_then_are_accepted():
    callbacks = [Callback, Callback(), ("clip", Callback), ("other", Callback())]
    check_training_options({"callbacks": callbacks}, "Estimator")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 1e-3}, r"must not hold 'lr'.*Estimator\(lr=\.\.\.\)"),
        ({"learning_rate": 1}, "must hold fields of .*head_lr.* Got 'learning_rate'"),
        ({"linear_probe": {}}, "Got 'linear_probe'"),
        ({"head_lr": 0}, "'training__head_lr' parameter of Estimator .* Got 0"),
        ({"dropout": 1.0}, "'training__dropout'"),
        ({"head_init": "ones"}, "'training__head_init'.*'linear_probe'"),
        ({"contrast": -1}, "'training__contrast'"),
        ({"validation_fraction": 1.0}, "'training__validation_fraction'"),
        ({"n_iter_no_change": 0}, "'training__n_iter_no_change'"),
        ({"early_stopping": True}, "must not hold 'early_stopping'"),
        ({"callbacks": "print"}, "'training__callbacks'"),
        ({"pooling": "max"}, "'training__pooling'"),
        ({"text_rank": -1}, "'training__text_rank'"),
        ({"callbacks": ["x"]}, "must hold callbacks of skorch.* Got 'x'"),
        ({"callbacks": [None]}, "must hold callbacks of skorch.* Got None"),
        ({"callbacks": [("a", print)]}, "must hold callbacks of skorch.* Got .'a'"),
        ({"callbacks": [("a", Callback), ("a", Callback)]}, "have each name once"),
    ],
    ids=str,
)
def test_options_when_wrong_then_error_names_them(options, message):
    with pytest.raises(ValueError, match=message):
        check_training_options(options, "Estimator")
