"""Figures that need no screen, and come out the same from the same results."""


def subplots(*args, **params):
    """Return matplotlib's figure and axes."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    return pyplot.subplots(*args, layout="constrained", **params)


def save(figure, file):
    """Write a figure, and forget it."""
    from matplotlib import pyplot

    with pyplot.rc_context({"svg.hashsalt": file.stem}):  # instead of random names
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)
