import inspect

import pytest

import sksemantic
from sksemantic import exceptions

PUBLIC = [
    "BackboneMismatchError",
    "BackboneNotFoundError",
    "BatchPredictor",
    "CrossFittedScores",
    "Explanation",
    "FallbackWarning",
    "InconsistentVersionWarning",
    "PrefixAttentionDisplay",
    "PromptComparisonDisplay",
    "SKSemanticError",
    "SKTuningClassifier",
    "SKTuningRegressor",
    "SKTuningTokenClassifier",
    "TimeLimitWarning",
    "TrainingConfig",
    "TokenAttributionDisplay",
    "TruncationWarning",
    "TuningCurveDisplay",
    "UnlabelledWarning",
    "UnreadableTextWarning",
    "UnsupportedBackboneError",
    "cache_limits",
    "clear_cache",
    "create_app",
    "load_estimator",
    "predict_many",
    "predict_proba_many",
]


def test_all_when_compared_then_is_what_was_agreed():
    assert sksemantic.__all__ == PUBLIC
    assert set(sksemantic._HOMES) == set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_member_when_fetched_then_is_documented_and_has_that_name(name):
    member = getattr(sksemantic, name)
    assert member.__name__ == name
    assert inspect.isclass(member) == name[0].isupper()
    assert member.__doc__
    assert name in dir(sksemantic)


def test_member_when_unknown_then_error_is_the_usual_one():
    with pytest.raises(
        AttributeError, match="module 'sksemantic' has no attribute 'x'"
    ):
        _ = sksemantic.x


def test_version_when_read_then_is_one():
    assert sksemantic.__version__.split(".")[:2] == ["0", "1"]


def test_exceptions_when_caught_as_value_error_then_are_caught():
    for name in exceptions.__all__:
        if name.endswith("Error") and name != "SKSemanticError":
            assert issubclass(getattr(exceptions, name), ValueError)
            assert issubclass(getattr(exceptions, name), exceptions.SKSemanticError)
        if name.endswith("Warning"):
            assert issubclass(getattr(exceptions, name), UserWarning)


def test_exceptions_when_compared_then_all_are_public():
    assert set(exceptions.__all__) <= set(PUBLIC)
