"""What the model does in a whole fit."""

import pickle

import pytest
from conftest import counted, load_tiny
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from skorch.callbacks import Callback

from sksemantic import SKTuningClassifier

SLACK = 12  # the prompt, and the tiny texts of the self-tests
every_backbone = pytest.mark.parametrize("name", ["bert", "roberta", "llama", "gemma3"])


@every_backbone
def test_fit_when_top_layers_are_tuned_then_each_text_passes_the_lower_ones_once(
    name, tiny, fast, texts, labels
):
    params = {**fast, "model": tiny(name), "tuned_layers": 1, "max_epochs": 3}
    clf = SKTuningClassifier(**params)
    backbone = load_tiny(params["model"], n_layers="auto")
    with counted(backbone.model) as counts:
        clf.fit(texts, labels)
        clf.predict(texts)
    n_texts = len(set(texts))
    assert counts["bottom"] <= n_texts + SLACK
    assert counts["top"] > 3 * n_texts


def test_cross_validation_when_top_layers_are_tuned_then_texts_are_encoded_once(
    classifier, texts, labels
):
    classifier.set_params(tuned_layers=1)
    with counted(load_tiny(classifier.model).model) as counts:
        cross_val_score(classifier, texts, labels, cv=4)
    # The first fold's held-out texts are met by predict, before any fit has kept them.
    assert counts["bottom"] <= 1.5 * len(set(texts)) + 4 * SLACK


def test_grid_search_when_rates_differ_then_frozen_pass_is_done_once(
    classifier, texts, labels
):
    classifier.set_params(tuned_layers=1)
    search = GridSearchCV(classifier, {"lr": [1e-3, 2e-3, 3e-3]}, cv=2)
    with counted(load_tiny(classifier.model).model) as counts:
        search.fit(texts, labels)
    assert counts["bottom"] <= 2 * len(set(texts)) + 7 * SLACK


def test_fit_when_text_rank_is_given_then_it_learns_and_survives(
    classifier, texts, labels, tmp_path
):
    clf = clone(classifier).set_params(text_rank=3, head_init="random")
    for _ in range(2):
        clf.partial_fit(texts, labels, classes=["bad", "good"])
    maps = clf.net_.module_.text_adapter.maps
    assert all(last.weight.abs().max() > 0 for _, last in maps)
    again = pickle.loads(pickle.dumps(clf))
    assert (again.predict_proba(texts) == clf.predict_proba(texts)).all()


def test_fit_when_text_rank_meets_the_prompt_method_then_refused_before_any_loading():
    clf = SKTuningClassifier(model="./nowhere", method="prompt", text_rank=2)
    with pytest.raises(ValueError, match="'text_rank' parameter must be 'auto' or 0"):
        clf.fit(["a", "b"], [0, 1])


@pytest.mark.parametrize(("given", "expected"), [("auto", None), (2, 2)])
def test_fit_when_labels_have_texts_then_auto_is_none(
    given, expected, classifier, texts, labels
):
    label_texts = {"good": "a good one", "bad": "a bad one"}
    clf = clone(classifier).set_params(
        label_texts=label_texts, text_rank=given, max_epochs=1
    )
    adapter = clf.fit(texts, labels).net_.module_.text_adapter
    assert (adapter and adapter.maps[0][0].out_features) == expected


def test_optimizer_when_fitted_then_holds_exactly_the_trainable_ones(fitted):
    net = fitted.net_
    held = {id(p) for group in net.optimizer_.param_groups for p in group["params"]}
    assert held == {id(p) for p in net.module_.parameters()}


class Modes(Callback):
    """Note in which mode module and backbone are while a batch is trained on."""

    seen = []

    def on_batch_end(self, net, training, **kwargs):
        if training:
            backbone = net.module_.backbone.model
            modes = {part.training for part in backbone.modules()}
            self.seen.append((net.module_.training, modes))


def test_backbone_when_training_then_stays_in_eval_mode(fast, texts, labels):
    assert load_tiny(fast["model"]).model.config.hidden_dropout_prob > 0
    Modes.seen.clear()
    SKTuningClassifier(**fast, callbacks=[Modes()]).fit(texts, labels)
    assert Modes.seen
    assert all(mode == (True, {False}) for mode in Modes.seen)
