"""scikit-learn's own checks, through an adapter that turns numbers into texts.

The checks feed numeric arrays. The subclasses here write each row as a short text, and
take over what belongs to arrays: their validation and their number of columns.
"""

import pytest
from conftest import FAST, save_tiny
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from sksemantic import SKTuningClassifier, SKTuningRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sksemantic.TruncationWarning")


def as_texts(X):
    """Write each row as its rounded numbers."""
    return [" ".join(f"{value:.1f}" for value in row) for row in X]


class NumbersAsTexts:
    """Mixin before an estimator of texts: takes arrays of numbers."""

    @property
    def n_features_in_(self):
        try:
            return self.__dict__["_n_numbers"]
        except KeyError:
            raise AttributeError("not fitted") from None

    @n_features_in_.setter
    def n_features_in_(self, value):
        self.__dict__["_n_numbers"] = value

    def fit(self, X, y, sample_weight=None):
        texts = as_texts(validate_data(self, X))
        super().fit(texts, y, sample_weight)
        validate_data(self, X)  # the number of columns, which texts have none of
        return self

    def partial_fit(self, X, y, *args, **kwargs):
        first = not self.__sklearn_is_fitted__()
        texts = as_texts(validate_data(self, X, reset=first))
        super().partial_fit(texts, y, *args, **kwargs)
        validate_data(self, X)
        return self

    def predict(self, X):
        return super().predict(self._texts(X))

    def transform(self, X):
        return super().transform(self._texts(X))

    def _texts(self, X):
        check_is_fitted(self)
        return as_texts(validate_data(self, X, reset=False))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = False
        tags.input_tags.two_d_array = True
        # A random backbone that reads digits one by one tells little apart.
        (tags.classifier_tags or tags.regressor_tags).poor_score = True
        return tags


class NumberClassifier(NumbersAsTexts, SKTuningClassifier):
    def predict_proba(self, X):
        return super().predict_proba(self._texts(X))

    def predict_log_proba(self, X):
        return super().predict_log_proba(self._texts(X))

    def decision_function(self, X):
        return super().decision_function(self._texts(X))


class NumberRegressor(NumbersAsTexts, SKTuningRegressor):
    pass


def expected_failures(estimator):
    return {
        "check_sample_weight_equivalence_on_dense_data": (
            "a repeated text changes which texts share a batch, and which are held "
            "out: weights and repetitions agree in expectation only"
        )
    }


# The checks are collected before any fixture runs: the model is saved when needed.
MODEL = "tiny-bert-of-the-common-checks"


@pytest.fixture(autouse=True, scope="module")
def saved_model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("common")
    save_tiny("bert", directory / MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        yield


@pytest.fixture(autouse=True)
def tolerance_of_float32(monkeypatch):
    """Let outputs that are computed in float32 differ by its rounding."""
    strict = estimator_checks.assert_allclose

    def close(actual, desired, rtol=None, atol=0.0, **kwargs):
        strict(actual, desired, max(rtol or 0, 1e-5), max(atol, 1e-6), **kwargs)

    monkeypatch.setattr(estimator_checks, "assert_allclose", close)


QUICK = {**FAST, "model": MODEL, "max_epochs": 1, "batch_size": 32}


CHECKS = parametrize_with_checks(
    [NumberClassifier(**QUICK), NumberRegressor(**QUICK)],
    expected_failed_checks=expected_failures,
).mark


# In scikit-learn 1.6 the checks are a generator, which newer pytest warns of.
@pytest.mark.parametrize(CHECKS.args[0], list(CHECKS.args[1]), **CHECKS.kwargs)
def test_estimator_when_checked_then_passes(estimator, check):
    check(estimator)
