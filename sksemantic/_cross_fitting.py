"""Scores of a text as a column beside others, made without having seen its label."""

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logit
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    TransformerMixin,
    _fit_context,
    clone,
    is_classifier,
)
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
    cross_val_predict,
)
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from sksemantic._inputs.columns import name_rows, only_column
from sksemantic._inputs.unlabelled import missing_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

# How far from 0 and 1 probabilities are kept: their log-odds are finite.
_SUREST = 1e-6


class CrossFittedScores(MetaEstimatorMixin, TransformerMixin, BaseEstimator):
    """Scores of an estimator as columns for another one, beside numbers.

    A model that has learned a text's label says of that text what it will not say of a
    new one: trained on such scores, the model that reads them beside other columns
    trusts the text too much. So `fit_transform` cross-fits, as scikit-learn's
    :class:`~sklearn.preprocessing.TargetEncoder` does: each text is scored by an
    estimator that was fitted to the texts of the other folds. `transform` scores new
    texts by an estimator that was fitted to all.

    ``fit(X, y).transform(X)`` is therefore not ``fit_transform(X, y)``, which is what
    pipelines and column transformers call.

    Parameters
    ----------
    estimator : classifier or regressor
        Such as :class:`SKTuningClassifier`, or a pipeline that ends with one.
    cv : int, cross-validation generator or iterable, default=5
        How many folds, shuffled (stratified for classes), or how to split. The
        estimator is fitted once more than there are folds.
    n_jobs : int, default=None
        How many folds are fitted at once, as in
        :func:`~sklearn.model_selection.cross_val_predict`.
    random_state : int or None, default=0
        What shuffles the folds, if `cv` is a number.

    Attributes
    ----------
    estimator_ : estimator
        Fitted to all texts.
    n_features_in_ : int
        Of `estimator_`, where it has it.

    See Also
    --------
    sklearn.ensemble.StackingClassifier : Predictions of several estimators as columns.

    Notes
    -----
    A classifier's scores are log-odds: of the second of two classes (one column), of
    each of more, or of each label where a text may have several. Those of a regressor
    are its predictions.

    References
    ----------
    Cross-fitting: V. Chernozhukov et al., "Double/debiased machine learning for
    treatment and structural parameters", The Econometrics Journal 21, 2018, section 1.

    Examples
    --------
    >>> from sklearn.compose import ColumnTransformer
    >>> from sksemantic import CrossFittedScores, SKTuningClassifier
    >>> ColumnTransformer(
    ...     [
    ...         ("text", CrossFittedScores(SKTuningClassifier()), "message"),
    ...         ("numbers", "passthrough", ["hours_waited"]),
    ...     ]
    ... )
    ColumnTransformer(...)
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"])],
        "cv": ["cv_object"],
        "n_jobs": [int, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        cv: "int | Iterable" = 5,
        n_jobs: int | None = None,
        random_state: int | None = 0,
    ) -> None:
        self.estimator = estimator
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, **fit_params: Any) -> "CrossFittedScores":
        """Fit the estimator to all texts, for `transform`.

        Parameters
        ----------
        X, y : object
            As the estimator takes them, with labels for all texts.
        **fit_params : dict
            For the estimator's `fit`, such as `sample_weight`.

        Returns
        -------
        self : CrossFittedScores

        Raises
        ------
        ValueError
            If a label is missing.
        """
        y = _labels_of_all(y)
        own = self._without_groups(fit_params)
        self.estimator_ = clone(self.estimator).fit(X, y, **own)
        shape = np.shape(y)
        n_columns = shape[1] if len(shape) > 1 else 1
        classes = getattr(self.estimator_, "classes_", ())
        self._is_binary = n_columns == 1 and len(classes) == 2
        has_many = n_columns > 1 or self._is_binary
        self._n_scores = n_columns if has_many else max(len(classes), 1)
        return self

    def fit_transform(self, X: Any, y: Any, **fit_params: Any) -> "NDArray":
        """Fit, and score each text by an estimator that has not seen it.

        Parameters
        ----------
        X, y : object
            As the estimator takes them, with labels for all texts.
        **fit_params : dict
            For the estimator's `fit`; those with an entry a text are split as X is.
            Texts of one of the `groups` are in one fold.

        Returns
        -------
        ndarray of shape (n_samples, n_scores)

        Raises
        ------
        ValueError
            If a label is missing, or a class has a single text: the estimator of one
            fold would not know it.
        """
        self._validate_params()
        y = _labels_of_all(y)
        groups = fit_params.get("groups")
        given = cross_val_predict(
            self.estimator,
            X,
            y,
            groups=groups,
            cv=self._folds(y, groups),
            n_jobs=self.n_jobs,
            method=self._response,
            params=self._without_groups(fit_params) or None,
        )
        self.fit(X, y, **fit_params)
        return self._columns(given)

    def transform(self, X: Any) -> "NDArray":
        """Score new texts by the estimator that was fitted to all.

        Parameters
        ----------
        X : object
            As the estimator takes it.

        Returns
        -------
        ndarray of shape (n_samples, n_scores)
        """
        check_is_fitted(self)
        return self._columns(getattr(self.estimator_, self._response)(X))

    def get_feature_names_out(self, input_features: Any = None) -> "NDArray":
        """Return the names of the columns.

        Parameters
        ----------
        input_features : object, default=None
            Not used.

        Returns
        -------
        ndarray of str
            ``score`` for one column; else ``score_`` and the class, or the number.
        """
        check_is_fitted(self)
        n_scores = self._n_scores
        if n_scores == 1:
            return np.array(["score"], object)
        names = getattr(self.estimator_, "classes_", range(n_scores))
        return np.array([f"score_{name}" for name in names], object)

    @property
    def n_features_in_(self) -> int:
        """How many columns `fit` was given, as the estimator counted them."""
        check_is_fitted(self)
        return self.estimator_.n_features_in_

    @property
    def _response(self) -> str:
        if not is_classifier(self.estimator):
            return "predict"
        has_probabilities = hasattr(self.estimator, "predict_proba")
        return "predict_proba" if has_probabilities else "decision_function"

    def _without_groups(self, fit_params: dict[str, Any]) -> dict[str, Any]:
        """Return what the estimator's `fit` takes of these."""
        if has_fit_parameter(self.estimator, "groups"):
            return fit_params
        return {name: each for name, each in fit_params.items() if name != "groups"}

    def _folds(self, y: Any, groups: Any) -> Any:
        if not isinstance(self.cv, int):
            return check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        is_stratified = is_classifier(self.estimator) and type_of_target(y) in (
            "binary",
            "multiclass",
        )
        if is_stratified:
            _refuse_single_texts(y)
        options = {"shuffle": True, "random_state": self.random_state}
        if groups is None:
            return (StratifiedKFold if is_stratified else KFold)(self.cv, **options)
        if is_stratified:
            return StratifiedGroupKFold(self.cv, **options)
        return GroupKFold(self.cv)

    def _columns(self, given: Any) -> "NDArray":
        """Return scores (n, n_scores) of what the estimator says."""
        given = np.asarray(given, float)
        if self._response == "predict_proba":
            given = given[:, 1] if self._is_binary else given
            given = logit(given.clip(_SUREST, 1 - _SUREST))
        return given.reshape(len(given), -1)


def _refuse_single_texts(y: Any) -> None:
    """Refuse classes that the estimator of one fold would have no text of."""
    classes, counts = np.unique(np.asarray(y), return_counts=True)
    single = classes[counts == 1].tolist()
    if single:
        raise ValueError(
            "y must have two texts of every class or more, as the estimator of each "
            f"fold has to know it. Got one of {', '.join(map(repr, single[:5]))}. "
            "Leave such rows out, or join classes."
        )


def _labels_of_all(y: Any) -> Any:
    """Return y, a table of one column as that column; refuse missing labels.

    Raises
    ------
    ValueError
    """
    y = only_column(y)
    if np.ndim(y) == 2 and np.shape(y)[1] == 1:
        y = np.asarray(y)[:, 0]
    is_missing = missing_rows(np.asarray(y, object))
    rows = np.flatnonzero(is_missing.reshape(len(is_missing), -1).any(axis=1))
    if len(rows):
        raise ValueError(
            f"y must have a label for every text. Got {len(rows)} texts without one, "
            f"the first in row(s) {name_rows(rows.tolist())}. Leave them out: "
            "`transform` scores them."
        )
    return y
