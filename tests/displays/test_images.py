"""The displays as pictures: everything is inside, and nothing covers anything else.

Pixels are not compared with kept images, which differ between releases of matplotlib.
"""

from itertools import combinations

import matplotlib
import numpy as np
import pytest

from sksemantic import (
    Explanation,
    PrefixAttentionDisplay,
    PromptComparisonDisplay,
    TokenAttributionDisplay,
    TuningCurveDisplay,
)

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

NAN = np.nan
LONG = "Say in one word whether the person who wrote this liked the film, or did not."
TEXT = "the film is far too long , and yet nobody in the cinema wanted to leave"
WORDS = TEXT.split()


def curves():
    return TuningCurveDisplay(
        train_loss=np.linspace(0.9, 0.1, 15),
        valid_loss=np.array([0.8, 0.6, 0.5, 0.5, 0.5, 0.5, 0.6, *[NAN] * 8]),
        valid_score=np.array([0.5, 0.7, 0.8, 0.8, 0.8, 0.9, 0.9, *[NAN] * 8]),
        probe_loss=0.6,
        probe_score=0.75,
        estimator_name="SKTuningClassifier",
    )


def prompts():
    scores = np.array([[0.9, 0.8], [0.7, 0.75], [0.3, 0.5], [NAN, NAN]])
    seconds = np.array([100.0, 2.0, 31.5, 0.1])
    return PromptComparisonDisplay(
        [None, LONG, "Rate.", "{text} It was"], scores, seconds
    )


def attributions():
    scores = np.random.RandomState(0).normal(size=(len(WORDS), 2))
    starts = np.cumsum([0, *(len(word) + 1 for word in WORDS[:-1])])
    spans = [(0, at, at + len(w)) for at, w in zip(starts, WORDS, strict=True)]
    explanation = Explanation(TEXT, WORDS, scores, ["bad", "good"], "good", spans)
    return TokenAttributionDisplay([explanation])


def attention():
    weights = np.random.RandomState(0).dirichlet(np.ones(12), size=(6, len(WORDS)))
    return PrefixAttentionDisplay(weights[..., :8], WORDS, LONG.split()[:8])


def boxes(figure):
    """Return what stands where: the extent of each text and legend that is shown."""
    renderer = figure.canvas.get_renderer()
    found = []
    for ax in figure.axes:
        legend = ax.get_legend()
        shown = [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts]
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = axis.get_major_ticks()
            shown += [tick.label1 for tick in ticks if low <= tick.get_loc() <= high]
        for text in shown:
            if text.get_visible() and text.get_text().strip():
                found.append((text.get_text(), text.get_window_extent(renderer)))
        if legend is not None:
            found.append(("legend", legend.get_window_extent(renderer)))
    return found


def overlap(a, b):
    """Return how many pixels two boxes share, at least."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(width, 0) * max(height, 0)


@pytest.fixture(params=[curves, prompts, attributions, attention])
def figure(request):
    display = request.param().plot()
    display.figure_.canvas.draw()
    yield display.figure_
    pyplot.close("all")


def test_picture_when_drawn_then_all_words_are_inside(figure):
    width, height = figure.canvas.get_width_height()
    for text, box in boxes(figure):
        is_inside = box.x0 >= -1 and box.y0 >= -1
        assert is_inside and box.x1 <= width + 1 and box.y1 <= height + 1, text


def test_picture_when_drawn_then_no_words_cover_others(figure):
    for (first, a), (second, b) in combinations(boxes(figure), 2):
        assert overlap(a, b) < 4, f"{first!r} and {second!r}"


def test_picture_when_drawn_then_every_panel_has_something(figure):
    pixels = np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3]
    for ax in figure.axes:
        box = ax.get_window_extent().padded(-3)
        part = pixels[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)]
        assert len(np.unique(part.reshape(-1, 3), axis=0)) > 1
