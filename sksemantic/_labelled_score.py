"""The accuracy of labelled texts, whatever else is among them."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from sklearn.base import ClassifierMixin
from sklearn.utils import _safe_indexing

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LabelledScore(ClassifierMixin):
    """A classifier whose `score` leaves out texts without a label."""

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy, or with several labels a text that of whole rows.

        Parameters
        ----------
        X : sequence of str of length n_samples, or of tuples, or table
            Texts.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            True labels. Texts without one, marked as in `fit`, do not count.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the texts.

        Returns
        -------
        float
            Between 0 and 1.

        Raises
        ------
        ValueError
            If no text has a label.
        """
        labelled = self._labelled_rows(y)
        if labelled is not None:
            if not len(labelled):
                raise ValueError(
                    "y must have a label for some text to be scored. Got none: every "
                    "label is missing, or marks a text without one."
                )
            X, y = (_safe_indexing(each, labelled) for each in (X, y))
            if sample_weight is not None:
                sample_weight = _safe_indexing(sample_weight, labelled)
        return super().score(X, y, sample_weight)

    @abstractmethod
    def _labelled_rows(self, y: Any) -> "NDArray | None":
        """Return which rows of y have a label, by index; None if all have."""
