"""matplotlib, imported when something is drawn."""

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sksemantic._base import BaseSKTuning

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

NEEDS_MATPLOTLIB = (
    "{caller} needs matplotlib, which is not installed: pip install 'sksemantic[plot]'."
)


def own_estimator(estimator: Any, *, reads_texts: bool) -> BaseSKTuning:
    """Return the fitted estimator of this package in a search or a pipeline.

    Raises
    ------
    TypeError
        If there is none; or if it `reads_texts` that earlier steps would have changed.
    """
    while hasattr(estimator, "best_estimator_"):
        estimator = estimator.best_estimator_
    steps = getattr(estimator, "steps", None)
    if steps and len(steps) > 1 and reads_texts:
        raise TypeError(
            "estimator must be one of sksemantic. Got a Pipeline instead, whose steps "
            "change the texts: pass pipeline[-1], and pipeline[:-1].transform(X)."
        )
    if steps:
        return own_estimator(steps[-1][1], reads_texts=reads_texts)
    if not isinstance(estimator, BaseSKTuning):
        raise TypeError(
            "estimator must be one of sksemantic, or a search or pipeline with one at "
            f"its end. Got {type(estimator).__name__} instead."
        )
    check_is_fitted(estimator)
    return estimator


def axes_for(
    ax: "Axes | ArrayLike | None",
    caller: str,
    n_columns: int = 1,
    **options: Any,
) -> "tuple[list[Axes], Figure]":
    """Return the axes to draw in, and their whole figure.

    Without any they are those of a new figure, side by side.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    if ax is None:
        pyplot = import_pyplot(caller)
        _, (axes,) = pyplot.subplots(
            1, n_columns, squeeze=False, layout="constrained", **options
        )
    else:
        axes = np.atleast_1d(np.asarray(ax, object))
    return list(axes), axes[0].figure.figure  # of a subfigure the whole one


def import_pyplot(caller: str) -> Any:
    """Return `matplotlib.pyplot`."""
    try:
        from matplotlib import pyplot
    except ImportError as exc:
        raise ImportError(NEEDS_MATPLOTLIB.format(caller=caller)) from exc
    return pyplot
