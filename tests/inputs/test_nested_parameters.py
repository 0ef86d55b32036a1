import pytest

from sksemantic import SKTuningClassifier, TrainingConfig


def test_get_params_when_deep_then_lists_what_the_dictionaries_may_hold():
    params = SKTuningClassifier(training={"contrast": 0.5}).get_params()
    assert params["training__contrast"] == 0.5
    assert params["training__head_lr"] == params["model_kwargs__n_layers"] == "auto"
    assert params["model_kwargs__revision"] is None
    assert not any("__" in name for name in SKTuningClassifier().get_params(deep=False))


def test_set_params_when_nested_then_default_takes_a_value_out_again():
    given = {"contrast": 0.5}
    clf = SKTuningClassifier(training=given)
    clf.set_params(training__head_lr=1e-3, model_kwargs__n_layers=2)
    assert clf.training == {"contrast": 0.5, "head_lr": 1e-3}
    assert clf.model_kwargs == {"n_layers": 2}
    assert given == {"contrast": 0.5}  # another estimator may hold it
    clf.set_params(training__contrast="auto", model_kwargs__n_layers="auto")
    assert (clf.training, clf.model_kwargs) == ({"head_lr": 1e-3}, None)
    clf.set_params(training=None, training__dropout=0.1)
    assert clf.training == {"dropout": 0.1}


@pytest.mark.parametrize("value", [TrainingConfig(), "auto"])
def test_set_params_when_the_outer_one_is_no_dictionary_then_refused(value):
    clf = SKTuningClassifier(training=value)
    with pytest.raises(ValueError, match="'training' must be a dictionary or None"):
        clf.set_params(training__contrast=0.1)
    assert clf.training is value


@pytest.mark.parametrize("name", ["learning_rate", "training__lr", "model_kwargs__x"])
def test_set_params_when_name_is_unknown_then_refused_and_nothing_is_set(name):
    clf = SKTuningClassifier()
    with pytest.raises(ValueError, match=f"Invalid parameter '{name}' for estimator"):
        clf.set_params(training__contrast=0, **{name: 1})
    assert clf.training is None
