"""matplotlib, imported when something is drawn."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

NEEDS_MATPLOTLIB = (
    "{caller} needs matplotlib, which is not installed: pip install 'sksemantic[plot]'."
)


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
