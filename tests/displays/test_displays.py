"""Pictures of what a fit or a search did, by scikit-learn's convention."""

import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import LABELS, TEXTS
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sksemantic import (
    Explanation,
    PrefixAttentionDisplay,
    PromptComparisonDisplay,
    SKTuningClassifier,
    SKTuningRegressor,
    TokenAttributionDisplay,
    TuningCurveDisplay,
)

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

RESULTS = {
    "param_prompt": np.array(["Rate.", None, "Is it $5?\nYes or no?", "Rate."], object),
    "param_lr": np.array([1e-3, 1e-3, 1e-3, 1e-2]),
    "split0_test_score": np.array([0.5, 0.7, np.nan, 0.6]),
    "split1_test_score": np.array([0.7, 0.9, np.nan, 0.8]),
    "mean_test_score": np.array([0.6, 0.8, np.nan, 0.7]),
    "mean_fit_time": np.array([1.0, 2.0, 0.1, 4.0]),
}


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


def texts_of(ax):
    return [text.get_text() for text in ax.texts]


def test_tuning_curve_when_held_out_texts_join_then_curves_end_there(fast):
    many = dict(max_epochs=4, training={"clearly_better": 1e6, "objective": "task"})
    clf = SKTuningClassifier(**fast | many).fit(TEXTS, LABELS)
    assert clf.comparison_.has_joined
    display = TuningCurveDisplay.from_estimator(clf)
    assert display.joined_after == 2
    loss, score = display.axes_
    assert (loss.get_ylabel(), score.get_ylabel()) == ("loss", "accuracy")
    assert len(display.lines_["train_loss"].get_xdata()) == 4
    np.testing.assert_allclose(
        display.lines_["train_loss"].get_ydata(),
        [row["train_loss"] for row in clf.history_],
    )
    probe_error, probe_loss = clf.comparison_.linear_probe
    assert display.lines_["probe_loss"].get_ydata()[0] == probe_loss
    assert display.lines_["probe_score"].get_ydata()[0] == 1 - probe_error
    labels = [text.get_text() for text in loss.get_legend().get_texts()]
    assert labels[-1] == "held-out texts join"


def test_tuning_curve_when_axes_are_given_then_is_drawn_there(fast):
    reg = SKTuningRegressor(**fast).fit(TEXTS, np.arange(24.0))
    _, ax = pyplot.subplots()
    display = TuningCurveDisplay.from_estimator(reg, ax=ax, linewidth=3)
    assert display.axes_ == [ax]
    assert display.valid_score is None
    assert display.lines_["train_loss"].get_linewidth() == 3
    assert ax.get_title() == "SKTuningRegressor"


def test_tuning_curve_when_classes_have_few_texts_then_is_the_contrastive_loss(
    tiny_bert,
):
    clf = SKTuningClassifier(tiny_bert, max_epochs=2, device="cpu", random_state=0)
    display = TuningCurveDisplay.from_estimator(clf.fit(TEXTS, LABELS))
    assert display.axes_[0].get_ylabel() == "contrastive loss"
    assert {*display.lines_} == {"train_loss"}


def test_tuning_curve_when_there_was_no_training_then_says_so(fast):
    names = {"good": "a good film", "bad": "a bad film"}
    clf = SKTuningClassifier(**fast, label_texts=names).fit(TEXTS, [-1] * 24)
    with pytest.raises(ValueError, match="was not trained, its linear probe predicts"):
        TuningCurveDisplay.from_estimator(clf)


@pytest.mark.parametrize("form", [dict, pd.DataFrame])
def test_prompts_when_compared_then_each_at_its_best_the_best_first(form):
    display = PromptComparisonDisplay.from_cv_results(form(RESULTS))
    assert display.prompts == [None, "Rate.", "Is it $5?\nYes or no?"]
    np.testing.assert_allclose(display.scores, [[0.7, 0.9], [0.6, 0.8], [np.nan] * 2])
    np.testing.assert_allclose(display.seconds, [2.0, 4.0, 0.1])
    assert texts_of(display.ax_) == ["0.800, 2.0 s", "0.700, 4.0 s", "failed"]
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == ["(the default prompt)", "Rate.", "Is it \\$5?\nYes or no?"]


def test_prompts_when_very_many_then_the_best_are_drawn():
    scores = np.linspace(1, 0, 300)[:, None] + np.zeros(2)
    display = PromptComparisonDisplay([*map(str, range(300))], scores, scores[:, 0])
    drawn = display.plot()
    assert [each.get_text() for each in drawn.ax_.get_yticklabels()][28:] == [
        "28",
        "29",
    ]
    assert drawn.ax_.get_title() == "the best 30 of 300 prompts"
    assert drawn.figure_.get_figheight() < 20
    assert len(display.plot(max_prompts=None).ax_.get_yticks()) == 300
    with pytest.raises(ValueError, match="max_prompts == 0, must be >= 1"):
        display.plot(max_prompts=0)


def test_prompts_when_searched_in_a_pipeline_then_the_search_itself_will_do(fast):
    pipe = make_pipeline(SKTuningClassifier(**fast | {"max_epochs": 1}))
    grid = {"sktuningclassifier__prompt": ["Rate.", "Judge it."]}
    search = GridSearchCV(
        pipe, grid, cv=2, scoring=["accuracy", "f1_macro"], refit=False
    )
    search.fit(TEXTS, LABELS)
    display = PromptComparisonDisplay.from_cv_results(search, metric="f1_macro")
    assert sorted(display.prompts) == ["Judge it.", "Rate."]
    assert display.ax_.get_xlabel().startswith("f1_macro, mean and standard deviation")
    with pytest.raises(ValueError, match=r"has the scores \['accuracy', 'f1_macro'\]"):
        PromptComparisonDisplay.from_cv_results(search)
    search.refit = "accuracy"
    display = PromptComparisonDisplay.from_cv_results(search)
    assert display.score_name == "accuracy"


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([1, 2], "must be the cv_results_ of a search.*Got list"),
        ({"param_lr": [1]}, r"one parameter 'prompt'.*Searched were \['lr'\]"),
    ],
)
def test_prompts_when_there_are_none_then_says_so(results, message):
    with pytest.raises(ValueError, match=message):
        PromptComparisonDisplay.from_cv_results(results)


def explanation(**changes):
    given = {
        "text": "a <good> film",
        "words": ["a", "<", "good", ">", "film"],
        "scores": np.array([[0.0, 0], [0, 0], [-2, 2], [0, 0], [1, -1]]),
        "names": ["bad", "good"],
        "prediction": "good",
        "spans": [(0, 0, 1), (0, 2, 3), (0, 3, 7), (0, 7, 8), (0, 9, 13)],
    }
    return Explanation(**given | changes)


def test_attribution_when_shown_in_a_notebook_then_is_quoted_and_coloured():
    html = TokenAttributionDisplay([explanation()])._repr_html_()
    assert "&lt;" in html
    assert "<good>" not in html
    assert 'rgba(34, 139, 84, 0.75)" title="+2.000">good</span>' in html
    assert 'rgba(214, 69, 65, 0.38)" title="-1.000">film</span>' in html
    other = TokenAttributionDisplay([explanation()], "bad")._repr_html_()
    assert 'rgba(214, 69, 65, 0.75)" title="-2.000">good</span>' in other


def test_attribution_when_printed_then_strong_words_are_marked(monkeypatch):
    display = TokenAttributionDisplay([explanation()])
    assert str(display) == repr(display) == "good: a <good[+2]> film[-1]"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    colored = "good: a <\x1b[32mgood\x1b[0m> \x1b[31mfilm\x1b[0m"
    assert str(display) == colored
    monkeypatch.setenv("NO_COLOR", "1")
    assert str(display) == "good: a <good[+2]> film[-1]"


def test_attribution_when_of_another_class_then_says_what_is_predicted():
    display = TokenAttributionDisplay([explanation()], "bad")
    assert str(display).startswith("bad (good is predicted): ")
    assert "<b>bad (good is predicted)</b>" in display._repr_html_()


def test_attribution_when_shown_then_each_text_has_its_own_scale():
    weak = explanation(scores=explanation().scores / 100, method="shapley")
    html = TokenAttributionDisplay([explanation(), weak])._repr_html_()
    assert html.count("rgba(34, 139, 84, 0.75)") == 2
    assert "green speaks for it, red against it; by shapley" in html


def test_attribution_when_a_pair_is_printed_then_texts_are_separated():
    pair = explanation(text=("ab", "c"), words=["ab", "c"], scores=np.zeros((2, 2)))
    pair = Explanation(**vars(pair) | {"spans": [(0, 0, 2), (1, 0, 1)]})
    assert str(TokenAttributionDisplay([pair])) == "good: ab | c"


def test_attribution_when_drawn_then_the_strongest_words_are_bars():
    display = TokenAttributionDisplay([explanation()]).plot(n=2)
    assert [bar.get_width() for bar in display.bars_] == [2, -1]
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == ["good", "film"]
    assert display.ax_.get_xlabel() == "added to good"
    assert display.ax_.get_title() == "2 of 5 words"
    several = TokenAttributionDisplay([explanation(method="shapley")] * 3).plot(-1)
    assert several.ax_.get_title() == "text 3 of 3, shapley"
    with pytest.raises(IndexError, match="a place among 3 texts. Got 3"):
        several.plot(3)


def test_attribution_when_words_are_odd_then_are_drawn():
    nothing = explanation(text="", words=[], scores=np.zeros((0, 2)), spans=[])
    display = TokenAttributionDisplay([nothing]).plot()
    assert display.ax_.get_title() == "a text without words"
    long = explanation(words=["a", "<", "g" * 100, ">", "film"])
    labels = TokenAttributionDisplay([long]).plot(n=1).ax_.get_yticklabels()
    assert labels[0].get_text() == "g" * 23 + "…"


def test_explanation_when_shown_then_is_short():
    shown = repr(explanation(method="shapley"))
    assert shown == (
        "<Explanation of 'a <good> film': good, by shapley: good +2, a +0, < +0>"
    )


@pytest.mark.parametrize(
    "draw",
    [
        TuningCurveDisplay.from_estimator,
        lambda estimator: PrefixAttentionDisplay.from_estimator(estimator, TEXTS[0]),
        lambda estimator: TokenAttributionDisplay.from_estimator(estimator, TEXTS[:1]),
    ],
)
def test_display_when_given_a_search_or_a_pipeline_then_finds_the_estimator(draw, fast):
    one = SKTuningClassifier(**fast | {"max_epochs": 1})
    search = GridSearchCV(one, {"prompt": ["Rate."]}, cv=2).fit(TEXTS, LABELS)
    assert repr(draw(search)) == repr(draw(search.best_estimator_))
    assert repr(draw(make_pipeline(search))) == repr(draw(search))
    with pytest.raises(TypeError, match="search or pipeline.*Got DummyClassifier"):
        draw(DummyClassifier())


def test_display_when_a_pipeline_may_change_the_texts_then_is_refused(fitted):
    changing = make_pipeline(FunctionTransformer(), fitted)
    TuningCurveDisplay.from_estimator(changing)
    with pytest.raises(TypeError, match=r"pass pipeline\[-1\]"):
        TokenAttributionDisplay.from_estimator(changing, TEXTS[:1])


def test_attention_when_a_text_has_several_windows_then_says_so(fitted):
    display = PrefixAttentionDisplay.from_estimator(fitted, "a film " * 100)
    assert display.n_windows > 1
    assert display.axes_[0].get_ylabel() == f"text (window 1 of {display.n_windows})"
    with pytest.raises(TypeError, match="text must be one text.*Got list"):
        PrefixAttentionDisplay.from_estimator(fitted, TEXTS[:1])


def test_attribution_when_made_from_an_estimator_then_explains(fitted):
    display = TokenAttributionDisplay.from_estimator(fitted, TEXTS[:2], name="bad")
    assert len(display.explanations) == 2
    assert display._repr_html_().count("<b>") == 2
    with pytest.raises(ValueError, match="one of .*Got 'fair'"):
        TokenAttributionDisplay.from_estimator(fitted, TEXTS[:1], name="fair")


@pytest.mark.parametrize("module", ["matplotlib", "matplotlib.pyplot"])
def test_matplotlib_when_it_is_missing_then_says_how_to_install_it(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delattr(matplotlib, "pyplot", raising=False)
    with pytest.raises(ImportError, match=r"needs matplotlib.*sksemantic\[plot\]"):
        PromptComparisonDisplay.from_cv_results(RESULTS)


@pytest.mark.parametrize("name", ["bert", "gemma3"])
@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_attention_when_drawn_then_shares_of_the_prompt_are_those_of_the_heads(
    name, method, fast, tiny
):
    clf = SKTuningClassifier(**fast | {"model": tiny(name), "method": method})
    display = PrefixAttentionDisplay.from_estimator(clf.fit(TEXTS, LABELS), TEXTS[0])
    n_layers, n_tokens, n_prompt = display.weights.shape
    assert n_layers == clf.n_layers_
    assert n_prompt == clf.n_virtual_tokens_ == len(display.prompt_tokens)
    assert n_tokens == len(display.tokens)
    assert "".join(display.tokens).replace(" ", "").count("film")
    assert (display.weights >= 0).all()
    assert (display.by_layer > 0).all()
    assert (display.by_layer < 1).all()
    assert len(display.bars_) == n_layers
    assert display.image_.get_array().shape == (n_tokens, n_prompt)


def test_attention_when_there_is_a_prefix_then_is_that_of_the_model_itself(
    fast, tiny_bert
):
    clf = SKTuningClassifier(**fast | {"model": tiny_bert, "method": "prompt"})
    clf.fit(TEXTS, LABELS)
    found = PrefixAttentionDisplay.from_estimator(clf, TEXTS[0])
    module = clf.get_module()
    model = type(module.backbone.model).from_pretrained(
        tiny_bert, attn_implementation="eager"
    )
    ids = module.backbone.tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
    prompt = module.condition().detach()[None]
    joint = torch.cat([prompt, model.get_input_embeddings()(ids)], dim=1)
    with torch.no_grad():
        output = model.eval()(inputs_embeds=joint, output_attentions=True)
    expected = torch.stack(output.attentions)[:, 0].mean(dim=1)  # (L, P + T, P + T)
    n_prompt = prompt.shape[1]
    np.testing.assert_allclose(
        found.weights, expected[:, n_prompt:, :n_prompt], atol=1e-5
    )


def test_attribution_when_a_text_has_control_characters_then_they_are_shown():
    odd = explanation(text="a <good> \x1b[2Jm", prediction="g\x07")
    shown = str(TokenAttributionDisplay([odd], "good"))
    assert "\x1b" not in shown and "\x07" not in shown
    assert "\\x1b" in shown and "(g\\x07 is predicted)" in shown
