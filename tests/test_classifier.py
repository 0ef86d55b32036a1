import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from conftest import BACKBONES, FAST, METHODS, TEXTS, quietly_fit, thorough, values_of
from scipy.special import softmax
from sklearn.model_selection import GridSearchCV

from sksemantic import SKTuningClassifier


@pytest.fixture
def learner(fast, tiny_roberta):
    """Return a classifier that learns the rule quickly."""
    return SKTuningClassifier(**thorough(fast) | {"model": tiny_roberta})


@pytest.fixture(scope="module")
def multiclass(tiny_bert):
    """Return a classifier of four classes; tests must leave it as it is."""
    y = [text.split()[2] for text in TEXTS]
    return quietly_fit(SKTuningClassifier(model=tiny_bert, **FAST), TEXTS, y)


@pytest.mark.parametrize(("name", "n_classes"), [("fitted", 2), ("multiclass", 4)])
def test_predict_when_called_then_is_the_most_probable_class(
    name, n_classes, request, texts
):
    clf = request.getfixturevalue(name)
    assert clf.classes_.tolist() == sorted(clf.classes_)
    proba = clf.predict_proba(texts)
    assert proba.shape == (24, n_classes)
    assert proba.dtype == np.float64
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(clf.predict_log_proba(texts), np.log(proba), atol=1e-12)
    expected = clf.classes_[proba.argmax(axis=1)]
    np.testing.assert_array_equal(clf.predict(texts), expected)
    if n_classes > 2:
        logits = clf.decision_function(texts)
        np.testing.assert_allclose(softmax(logits / clf.temperature_, axis=1), proba)


STRINGS = np.array(["no", "yes"])[np.arange(24) % 2]


@pytest.mark.parametrize("y", [STRINGS, STRINGS == "yes"])
def test_labels_when_renamed_then_predictions_are_renamed_alike(y, fast, texts):
    clf = SKTuningClassifier(**fast).fit(texts, y)
    reference = SKTuningClassifier(**fast).fit(texts, np.arange(24) % 2)
    expected = clf.classes_[reference.predict(texts)]
    np.testing.assert_array_equal(clf.predict(texts), expected)


def test_decision_function_when_binary_then_is_the_log_odds(fitted, texts):
    decision = fitted.decision_function(texts)
    proba = fitted.predict_proba(texts)
    assert decision.shape == (24,)
    log_odds = np.log(proba[:, 1] / proba[:, 0])
    np.testing.assert_allclose(decision / fitted.temperature_, log_odds, rtol=1e-6)


def train(clf, texts, labels, n_epochs):
    """Train without the linear probe, which would learn so easy a rule by itself."""
    for _ in range(n_epochs):
        clf.partial_fit(texts, labels, classes=np.unique(labels))
    return clf


@pytest.mark.parametrize("name", BACKBONES)
def test_tiny_set_when_any_backbone_then_is_learned(name, tiny, learner, texts, labels):
    train(learner.set_params(model=tiny(name)), texts, labels, 40)
    assert learner.score(texts, labels) > 0.85


@pytest.mark.parametrize(("method", "adapter"), METHODS)
def test_adapter_when_head_stands_still_then_learns_alone(
    method, adapter, classifier, many, many_labels
):
    classifier.set_params(method=method, adapter=adapter, training__head_init="random")
    classifier.set_params(
        training__head_lr=1e-12,
        training__contrast=0,
        training__dropout=0,
        lr=3e-2,
        max_epochs=10,
    )
    classifier.fit(many, many_labels)
    losses = classifier.history_[:, "train_loss"]
    assert min(losses) < 0.8 * losses[0]


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_prompt_when_worded_differently_then_predictions_differ(
    name, method, tiny, fast, texts, labels
):
    one, other = (
        SKTuningClassifier(**{**fast, "model": tiny(name), "method": method})
        .set_params(prompt=prompt, training__head_init="random")
        .fit(texts, labels)
        for prompt in ("rate the film", "what is this about?")
    )
    difference = one.predict_proba(texts) - other.predict_proba(texts)
    assert np.abs(difference).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "has_slot"),
    [("bert", False), ("roberta", False), ("llama", True), ("gemma3", True)],
)
def test_prompt_when_none_then_default_suits_the_backbone(
    name, has_slot, tiny, fast, texts, labels
):
    clf = SKTuningClassifier(**{**fast, "model": tiny(name), "prompt": None})
    clf.fit(texts, labels)
    assert ("{text}" in clf.prompt_) == has_slot


@pytest.mark.parametrize(
    ("changes", "adapter_size"),
    [
        ({}, 2 * (8 * (32 + 64) + 4 * (32 + 32))),
        ({"adapter_rank": 4}, 2 * (4 * (32 + 64) + 4 * (32 + 32))),
        ({"training__text_rank": 3}, 2 * (8 * (32 + 64) + 3 * (32 + 32))),
        ({"training__text_rank": 0}, 2 * 8 * (32 + 64)),
        ({"tuned_layers": 1}, 8 * (32 + 64) + 4 * (32 + 32)),
        ({"adapter": "linear"}, 2 * 32 * 64),
        ({"adapter": "embedding"}, 5 * 32),
        ({"method": "prompt"}, 2 * 8 * 32),
    ],
)
def test_trainable_params_when_fitted_then_are_counted(
    changes, adapter_size, classifier, texts, labels
):
    classifier.set_params(**changes, max_epochs=1).fit(texts, labels)
    assert classifier.n_trainable_params_ == adapter_size + 2 * (32 + 1)


def test_attributes_when_fitted_then_describe_prompt_and_backbone(fitted):
    assert fitted.n_virtual_tokens_ == 5  # [CLS] rate the film [SEP]
    assert fitted.prompt_ == fitted.prompt == "rate the film"
    source = fitted.backbone_source_
    assert source.name == source.location == fitted.model
    assert source.origin == "directory"


@pytest.mark.filterwarnings("ignore::sksemantic.TruncationWarning")
def test_max_length_when_short_then_what_comes_after_it_does_not_matter(
    classifier, texts, labels
):
    classifier.set_params(max_length=5).fit(texts, labels)
    found = classifier.predict_proba(["a good film", "a good film indeed it was"])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def long_texts(last_word):
    """Return eight texts whose label is in the last words alone."""
    return [f"{'film the book ' * n}{f'{last_word} ' * 4}" for n in range(4, 12)]


@pytest.mark.filterwarnings("error::sksemantic.TruncationWarning")
@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_long_texts_when_windows_then_what_is_at_the_end_counts(method, classifier):
    X = long_texts("good") + long_texts("bad")
    y = ["good"] * 8 + ["bad"] * 8
    classifier.set_params(long_texts="windows", max_length=10, method=method)
    classifier.set_params(tuned_layers="auto", random_state=0).fit(X, y)
    assert classifier.config_.model.long_texts == "windows"
    good = classifier.classes_.tolist().index("good")
    probabilities = classifier.predict_proba(X)[:, good]
    assert (probabilities[:8] > probabilities[8:]).all()  # the rest of each is alike
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_allclose(
        again.predict_proba(X)[:, good], probabilities, rtol=1e-5
    )
    assert classifier.transform(X).shape == (16, again._n_features_out)
    one_by_one = [classifier.predict_proba([text])[0, good] for text in X[::5]]
    np.testing.assert_allclose(one_by_one, probabilities[::5], rtol=1e-4)
    classifier.partial_fit(X, y).predict(X)


@pytest.mark.parametrize("scale", [1.0, 0.01, 1000.0])
def test_sample_weight_when_uniform_then_changes_nothing(scale, fast, texts, labels):
    plain = SKTuningClassifier(**fast).fit(texts, labels)
    weights = np.full(len(texts), scale)
    weighted = SKTuningClassifier(**fast).fit(texts, labels, sample_weight=weights)
    np.testing.assert_allclose(
        weighted.predict_proba(texts), plain.predict_proba(texts), atol=1e-5
    )


def test_sample_weight_when_zero_then_wrong_labels_do_no_harm(
    learner, many, many_labels
):
    wrong = np.where(many_labels == "good", "bad", "good")
    y = np.concatenate([many_labels, wrong])
    weights = np.repeat([1.0, 0.0], len(many))
    learner.set_params(max_epochs=12).fit(many + many, y, sample_weight=weights)
    assert learner.score(many, many_labels) == 1.0


def test_partial_fit_when_called_again_then_classes_are_those_of_the_first_call(
    classifier, texts, labels
):
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        classifier.partial_fit(texts, labels)
    classifier.partial_fit(texts, labels, classes=["ugly", "good", "bad"])
    assert classifier.classes_.tolist() == ["bad", "good", "ugly"]
    before = classifier.predict_proba(["an ugly film"])
    classifier.partial_fit(["an ugly film"], ["ugly"])
    assert classifier.predict_proba(["an ugly film"])[0, 2] > before[0, 2]
    assert [row["epoch"] for row in classifier.history_] == [1, 2]
    classifier.partial_fit(texts, labels, classes=["bad", "ugly", "good"])
    with pytest.raises(ValueError, match="is not the same as on the last call"):
        classifier.partial_fit(texts, labels, classes=["bad", "good"])


@pytest.mark.parametrize("first", [True, False])
def test_partial_fit_when_a_class_is_unknown_then_error_names_it(
    first, classifier, texts, labels
):
    if not first:
        classifier.fit(texts, labels)
    with pytest.raises(ValueError, match=r"not among the classes: \['ugly'\]\. The cl"):
        classifier.partial_fit(["a film"], ["ugly"], classes=["bad", "good"])


def test_partial_fit_when_fitted_before_then_goes_on_from_there(
    classifier, texts, labels
):
    before = classifier.fit(texts, labels).predict_proba(texts)
    n_epochs = len(classifier.history_)
    classifier.partial_fit(texts[:8], labels[:8])
    assert len(classifier.history_) == n_epochs + 1
    change = np.abs(classifier.predict_proba(texts) - before).max()
    assert 0 < change < 0.2


def test_partial_fit_when_weighted_then_weights_count(fast, texts, labels):
    weights = np.where(labels == "good", 10.0, 0.1)
    plain, weighted = (
        SKTuningClassifier(**fast)
        .set_params(lr=1e-2, training__head_lr=1e-2)
        .partial_fit(texts, labels, classes=["bad", "good"], sample_weight=w)
        for w in (None, weights)
    )
    gain = weighted.predict_proba(texts)[:, 1] - plain.predict_proba(texts)[:, 1]
    assert gain.mean() > 0.01


def test_partial_fit_when_batch_has_one_text_then_its_label_is_learned(classifier):
    classifier.partial_fit(["a film"], ["good"], classes=["bad", "good"])
    assert 0.5 < classifier.predict_proba(["a film"])[0, 1] < 1


@pytest.mark.parametrize("is_pickled", [False, True])
def test_warm_start_when_on_then_training_starts_where_it_ended(
    is_pickled, classifier, texts, labels, start_values
):
    classifier.set_params(training__callbacks=[start_values], warm_start=True)
    ended = values_of(classifier.fit(texts, labels).get_module())
    again = pickle.loads(pickle.dumps(classifier)) if is_pickled else classifier
    again.fit(texts, labels)
    first, second = start_values.seen
    np.testing.assert_array_equal(second, ended)
    assert not np.array_equal(second, first)


@pytest.mark.parametrize(
    "changes",
    [
        {"adapter": "linear"},
        {"adapter_rank": 2},
        {"method": "prompt"},
        {"tuned_layers": 1},
    ],
)
def test_warm_start_when_the_module_differs_then_refused(
    changes, classifier, texts, labels
):
    classifier.set_params(warm_start=True).fit(texts, labels)
    with pytest.raises(ValueError, match="goes on from the model of the fit before"):
        classifier.set_params(**changes).fit(texts, labels)


def test_transform_when_called_then_is_what_the_head_reads(fitted, texts):
    module = fitted.get_module()
    mean, scale = module.feature_mean.numpy(), module.feature_scale.numpy()
    embeddings = fitted.transform(texts)
    assert embeddings.dtype == np.float32
    features = (embeddings - mean) / scale
    weight, bias = (p.detach().numpy() for p in module.head.parameters())
    logits = features @ weight.T + bias
    expected = logits[:, 1] - logits[:, 0]
    np.testing.assert_allclose(fitted.decision_function(texts), expected, atol=1e-4)


def test_set_output_when_pandas_then_transform_gives_a_named_table(
    classifier, texts, labels
):
    X = pd.DataFrame({"text": texts}, index=[f"row {i}" for i in range(24)])
    classifier.fit(X, labels)
    expected = classifier.transform(X)
    table = classifier.set_output(transform="pandas").transform(X)
    np.testing.assert_array_equal(table.to_numpy(), expected)
    pd.testing.assert_index_equal(table.index, X.index)
    assert table.columns.tolist() == [f"sktuningclassifier{i}" for i in range(32)]


def test_feature_names_when_fitted_on_a_table_then_are_kept_and_checked(
    classifier, texts, labels
):
    X = pd.DataFrame({"review": texts})
    classifier.fit(X, labels)
    assert classifier.n_features_in_ == 1
    assert classifier.feature_names_in_.tolist() == ["review"]
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(X.rename(columns={"review": "title"}))
    classifier.fit(texts, labels)
    assert not hasattr(classifier, "n_features_in_")
    assert not hasattr(classifier, "feature_names_in_")


def test_fit_when_texts_are_all_alike_then_no_class_is_preferred(classifier, labels):
    classifier.fit(["the same"] * 24, labels)
    np.testing.assert_allclose(classifier.predict_proba(["the same"]), 0.5, atol=0.1)


def test_fit_when_a_class_has_one_text_then_it_is_not_held_out(classifier, texts):
    y = ["rare"] + ["common"] * 23
    classifier.fit(texts, y)
    assert classifier.classes_.tolist() == ["common", "rare"]
    assert classifier.comparison_.n_texts == 7  # a third of the common ones


def test_tags_when_asked_then_declare_texts(classifier):
    tags = classifier.__sklearn_tags__()
    assert tags.estimator_type == "classifier"
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
    assert tags.target_tags.required


NAMES = {"good": "a good film", "bad": "a bad film"}


@pytest.mark.parametrize(
    ("mark", "label_texts"), [(None, None), (np.nan, None), (-1, NAMES), (None, NAMES)]
)
def test_score_when_some_texts_have_no_label_then_is_that_of_the_others(
    mark, label_texts, fitted, texts, labels
):
    clf = copy.deepcopy(fitted).set_params(label_texts=label_texts)
    y = np.where(np.arange(24) % 3 == 0, mark, np.array(labels, object))
    rest = np.arange(24) % 3 > 0
    weights = np.linspace(1, 2, 24)
    some, own = np.array(texts)[rest], np.array(labels)[rest]
    assert clf.score(texts, y) == clf.score(some, own)
    assert clf.score(texts, list(y), weights) == clf.score(some, own, weights[rest])
    with pytest.raises(ValueError, match="must have a label for some text to be scor"):
        clf.score(texts, [mark] * 24)


def test_score_when_indicators_are_missing_then_is_that_of_the_other_rows(fast, texts):
    y = np.eye(3)[np.arange(24) % 3]
    clf = SKTuningClassifier(**fast).fit(texts, y)
    expected = clf.score(texts[8:], y[8:])
    y[:8] = np.nan
    assert clf.score(texts, y) == expected


@pytest.mark.filterwarnings("ignore::sksemantic.UnlabelledWarning")
def test_search_when_some_texts_have_no_label_then_folds_are_scored(fast, texts):
    y = np.array([1, 0, 1, -1] * 6)
    clf = SKTuningClassifier(**fast, label_texts={0: "bad", 1: "good"})
    search = GridSearchCV(clf, {"max_epochs": [1]}, cv=2, error_score="raise")
    search.fit(texts, y)
    assert search.best_score_ > 0.3
