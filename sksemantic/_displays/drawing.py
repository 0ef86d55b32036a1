"""matplotlib, imported when something is drawn."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEEDS_MATPLOTLIB = (
    "{caller} needs matplotlib, which is not installed: pip install 'sksemantic[plot]'."
)


def new_axes(caller: str, n_columns: int = 1, **options: Any) -> "list[Axes]":
    """Return the axes of a new figure, side by side.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    pyplot = import_pyplot(caller)
    _, axes = pyplot.subplots(
        1, n_columns, squeeze=False, layout="constrained", **options
    )
    return list(axes[0])


def import_pyplot(caller: str) -> Any:
    """Return `matplotlib.pyplot`."""
    try:
        from matplotlib import pyplot
    except ImportError as exc:
        raise ImportError(NEEDS_MATPLOTLIB.format(caller=caller)) from exc
    return pyplot


def figure_of(ax: "Axes") -> "Figure":
    """Return the whole figure that the axes belong to."""
    figure: Any = ax.figure
    return figure.figure  # of a subfigure that is the whole one
