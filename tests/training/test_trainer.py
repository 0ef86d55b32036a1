import math
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from conftest import load_tiny, scores_of, values_of, with_training
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler, normalize
from skorch.callbacks import Callback

from sksemantic import FallbackWarning, SKTuningClassifier, SKTuningRegressor
from sksemantic._training.probe import Probing

LR_THAT_DIVERGES = 1e6


def rates(lr):
    """Return one learning rate for adapter and head."""
    return {"lr": lr, "training__head_lr": lr}


@pytest.fixture
def learner(tiny_roberta, fast):
    """Return a classifier that learns the rule, so that the linear probe is worse."""
    params = fast | {"model": tiny_roberta, "max_epochs": 12, "lr": 1e-2}
    params = with_training(params, head_lr=1e-2, head_init="random", dropout=0.0)
    return SKTuningClassifier(**params)


@pytest.fixture
def coin_labels(many):
    """Labels that nothing can be learned about."""
    return np.random.RandomState(0).permutation(["head", "tail"] * (len(many) // 2))


@contextmanager
def interrupt_at(model, step):
    """Press Ctrl-C in the given training step, counted from one."""
    steps = 0

    def press(*args):
        nonlocal steps
        steps += torch.is_grad_enabled()
        if steps == step:
            steps += 1
            raise KeyboardInterrupt

    hook = model.register_forward_hook(press)
    try:
        yield
    finally:
        hook.remove()


def batch_counts(estimator):
    return [row["train_batch_count"] for row in estimator.history_]


def has_valid_loss(estimator):
    return ["valid_loss" in row for row in estimator.history_]


# Falling back to the linear probe


def test_fit_when_training_diverges_then_falls_back_to_the_linear_probe(
    learner, many, many_labels
):
    clf = clone(learner).set_params(**rates(LR_THAT_DIVERGES))
    with pytest.warns(FallbackWarning, match="24 held-out texts .*'lr'") as caught:
        clf.fit(many, many_labels)
    assert caught[0].filename == __file__
    assert (clf.comparison_.kept, clf.comparison_.has_joined) == ("linear_probe", False)
    assert clf.temperature_ == 1.0
    # What a user would have done with the frozen embeddings.
    features = StandardScaler().fit_transform(clf.transform(many))
    model = LogisticRegression(C=1 / clf.linear_probe_.penalty, tol=1e-3, max_iter=200)
    expected = model.fit(features, many_labels).predict_proba(features)
    np.testing.assert_allclose(clf.predict_proba(many), expected, atol=1e-4)
    # The embeddings are the frozen ones.
    learner.fit(many, many_labels)
    assert learner.comparison_.kept == "trained"
    assert np.abs(learner.transform(many) - clf.transform(many)).max() > 1e-3
    learner.get_module().adapter.reset()
    learner.get_module().text_adapter.reset()
    np.testing.assert_allclose(learner.transform(many), clf.transform(many), atol=1e-5)


def test_fit_when_regression_diverges_then_falls_back_to_ridge(fast, many, targets):
    y = np.tile(targets, 3)
    reg = SKTuningRegressor(**fast).set_params(**rates(LR_THAT_DIVERGES))
    with pytest.warns(FallbackWarning):
        reg.fit(many, y)
    features = StandardScaler().fit_transform(reg.transform(many))
    ridge = Ridge(alpha=reg.linear_probe_.penalty)
    ridge.fit(features, (y - y.mean()) / y.std())
    expected = ridge.predict(features) * y.std() + y.mean()
    np.testing.assert_allclose(reg.predict(many), expected, atol=1e-3)


def test_fit_when_a_warm_start_worsens_then_falls_back_to_the_linear_probe(
    learner, many, many_labels
):
    learner.set_params(warm_start=True).fit(many, many_labels)
    assert learner.comparison_.kept == "trained"
    learner.set_params(**rates(10.0))
    with pytest.warns(FallbackWarning):
        learner.fit(many, many_labels)
    module = learner.get_module()
    mean, scale = module.feature_mean.numpy(), module.feature_scale.numpy()
    features = (learner.transform(many) - mean) / scale
    expected = learner.linear_probe_.scores(features)
    np.testing.assert_allclose(scores_of(learner, many), expected, atol=1e-3)
    assert learner.comparison_.linear_probe[0] == 0  # on held-out copies of these texts
    assert learner.score(many, many_labels) == 1


def test_fit_when_training_is_kept_then_no_warning_and_is_better_than_the_probe(
    learner, many, many_labels
):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner.fit(many, many_labels)
    assert learner.comparison_.kept == "trained"
    assert learner.comparison_.trained < learner.comparison_.linear_probe


# Held-out texts


@pytest.mark.parametrize(
    ("join_after", "max_epochs", "n_alone"),
    [(0.5, 12, 6), (0.5, 5, 2), (0.25, 12, 3), (0.0, 4, 4), (0.5, 1, 1), (1.0, 3, 3)],
)
def test_held_out_texts_when_the_probe_is_not_better_then_join_for_the_epochs_left(
    join_after, max_epochs, n_alone, learner, many, many_labels
):
    learner.set_params(max_epochs=max_epochs, training__join_after=join_after)
    learner.set_params(training__clearly_better=1e6).fit(many, many_labels)
    # A third of 72 texts is held out, in batches of 8.
    assert batch_counts(learner) == [6] * n_alone + [9] * (max_epochs - n_alone)
    assert has_valid_loss(learner) == [True] * n_alone + [False] * (
        max_epochs - n_alone
    )
    assert learner.comparison_.n_texts == 24
    assert learner.comparison_.has_joined == (n_alone < max_epochs)
    if n_alone < max_epochs:  # compared when they joined, never afterwards
        accuracy = learner.history_[n_alone - 1, "valid_acc"]
        assert learner.comparison_.trained[0] == pytest.approx(1 - accuracy)


@pytest.mark.parametrize("clearly_better", [0.0, 1e6])
def test_held_out_texts_when_the_probe_is_ahead_then_join_unless_it_is_clearly(
    clearly_better, classifier, many, many_labels
):
    # So short a training is worse than the linear probe.
    classifier.set_params(max_epochs=4, training__clearly_better=clearly_better)
    classifier.set_params(lr=1e-9, training__head_lr=1e-9, random_state=1)
    classifier.fit(many, many_labels)
    joins = clearly_better > 0
    assert (batch_counts(classifier) == [6, 6, 9, 9]) == joins
    assert classifier.comparison_.has_joined == joins
    kept = "trained" if joins else "linear_probe"
    assert classifier.comparison_.kept == kept


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.filterwarnings("ignore:early_stopping=True has no effect")
def test_held_out_texts_when_there_are_too_few_then_none_and_no_comparison(
    early_stopping, fast, texts, labels
):
    clf = SKTuningClassifier(**fast, early_stopping=early_stopping)
    clf.fit(texts[2:4], labels[2:4])
    assert clf.comparison_ is None
    assert len(clf.history_) == 2


def test_early_stopping_when_no_text_can_be_held_out_then_warns(fast, texts, labels):
    clf = SKTuningClassifier(**fast, early_stopping=True)
    with pytest.warns(UserWarning, match="of 2 labelled texts none could be held out"):
        clf.fit(texts[2:4], labels[2:4])


def test_early_stopping_when_classes_are_small_then_holds_out_one_of_each(
    fast, texts, labels
):
    params = with_training(fast, validation_fraction=0.01)
    clf = SKTuningClassifier(**params, early_stopping=True).fit(texts, labels)
    assert clf.comparison_.n_texts == 2
    assert has_valid_loss(clf) == [True, True]


@pytest.mark.parametrize(
    ("few_labels", "min_texts_per_class", "trains", "compares"),
    [(13, 6, True, False), (13, 7, False, False), (12, 7, True, True)],
)
def test_fit_when_labels_have_texts_then_few_are_all_trained_on_and_very_few_never(
    few_labels, min_texts_per_class, trains, compares, fast, texts, labels
):
    options = {"few_labels": few_labels, "min_texts_per_class": min_texts_per_class}
    clf = SKTuningClassifier(**with_training(fast, **options))
    clf.set_params(label_texts={"good": "good", "bad": "bad"})
    clf.fit(texts[:12], labels[:12])
    assert (len(clf.history_) > 0) == trains
    assert (clf.comparison_ is not None) == compares


def test_linear_probe_when_fitted_on_all_texts_then_penalty_is_that_of_the_first(
    classifier, texts, labels, monkeypatch
):
    probes, fit = [], Probing.fit

    def note(probing, **options):
        probes.append(fit(probing, **options))
        return probes[-1]

    monkeypatch.setattr(Probing, "fit", note)
    classifier.fit(texts, labels)
    assert probes[1].penalty == probes[0].penalty
    assert np.isnan(probes[1].cv_loss)  # it was not chosen again


def test_comparison_when_texts_have_weights_then_light_ones_hardly_count(
    learner, many, many_labels
):
    wrong = np.where(many_labels == "good", "bad", "good")
    y, weights = np.concatenate([many_labels, wrong]), np.repeat([1.0, 1e-6], len(many))
    comparison = learner.fit(many + many, y, sample_weight=weights).comparison_
    assert max(comparison.trained[0], comparison.linear_probe[0]) < 0.2


def test_early_stopping_when_on_then_texts_stay_held_out(classifier, many, many_labels):
    classifier.set_params(early_stopping=True)
    classifier.set_params(training__validation_fraction=0.25).fit(many, many_labels)
    assert classifier.comparison_.n_texts == 18
    assert batch_counts(classifier) == [7, 7]
    assert all(has_valid_loss(classifier))


def test_early_stopping_when_loss_stops_falling_then_restores_the_best_epoch(
    classifier, many, coin_labels, steps
):
    classifier.set_params(
        early_stopping=True,
        training__validation_fraction=0.3,
        training__n_iter_no_change=2,
        training__callbacks=[steps],
        training__clearly_better=1e6,
        max_epochs=20,
        **rates(3e-2),
    )
    classifier.fit(many, coin_labels)
    losses = [row["valid_loss"] for row in classifier.history_]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 2 < 20
    ends = steps.values[batch_counts(classifier)[0] - 1 :: batch_counts(classifier)[0]]
    np.testing.assert_array_equal(values_of(classifier.get_module()), ends[best])


# Steps


class Steps(Callback):
    """Note rates, gradient norms and resulting values of every training step."""

    rates: list = []
    norms: list = []
    values: list = []

    def on_batch_begin(self, net, training, **kwargs):
        if training:
            self.rates.append([group["lr"] for group in net.optimizer_.param_groups])

    def on_batch_end(self, net, training, **kwargs):
        if training:
            self.values.append(values_of(net.module_))

    def on_grad_computed(self, net, named_parameters, **kwargs):
        squares = [p.grad.square().sum() for _, p in named_parameters]
        self.norms.append(math.sqrt(sum(squares)))


@pytest.fixture
def steps():
    for noted in (Steps.rates, Steps.norms, Steps.values):
        noted.clear()
    return Steps()


@pytest.mark.parametrize("head_init", ["auto", "zeros", "random", "linear_probe"])
def test_head_init_when_chosen_then_training_starts_there(
    head_init, classifier, texts, labels, start_values
):
    classifier.set_params(
        training__head_init=head_init, training__callbacks=[start_values]
    )
    classifier.fit(texts[1:5], labels[1:5])  # too few to hold any out
    head = start_values.seen[0][-2 * (32 + 1) :]
    probe = classifier.linear_probe_
    probe = np.concatenate([probe.coef.ravel(), probe.intercept])
    is_there = np.allclose(head, probe, atol=1e-6)
    assert is_there == (head_init == "linear_probe")
    assert (not head.any()) == (head_init in ("auto", "zeros"))


def test_schedule_when_fitting_then_rates_rise_and_fall_linearly(
    classifier, many, many_labels, steps
):
    n_epochs, n_batches = 12, 6
    classifier.set_params(
        max_epochs=n_epochs, lr=0.01, training__head_lr=0.1, training__callbacks=[steps]
    )
    classifier.fit(many, many_labels)
    seen = np.array(steps.rates)
    assert seen.shape == (n_epochs * n_batches, 2)
    np.testing.assert_allclose(seen.max(axis=1) / seen.min(axis=1), 10.0)
    factors = seen.max(axis=1) / 0.1
    done = (np.arange(len(seen)) + 0.5) / len(seen)  # in the middle of each step
    np.testing.assert_allclose(factors, np.interp(done, [0, 0.06, 1], [0, 1, 0]))


def test_partial_fit_when_called_then_rates_are_constant(
    classifier, texts, labels, steps
):
    classifier.set_params(lr=0.01, training__head_lr=0.1, training__callbacks=[steps])
    for _ in range(2):
        classifier.partial_fit(texts, labels, classes=["bad", "good"])
    classifier.fit(texts, labels)
    n_steps = len(steps.rates)
    classifier.partial_fit(texts, labels)
    constant = [*steps.rates[:6], *steps.rates[n_steps:]]
    assert len(constant) == 9
    assert {tuple(sorted(rates)) for rates in constant} == {(0.01, 0.1)}


def test_partial_fit_when_pickled_before_then_goes_on_as_without(
    classifier, many, many_labels
):
    clf = classifier.partial_fit(many, many_labels, classes=["bad", "good"])
    copy = pickle.loads(pickle.dumps(clf))
    for each in (clf, copy):
        each.partial_fit(many[:40], many_labels[:40])
        assert each.config_.training.contrast == 1
        assert [row["epoch"] for row in each.history_] == [1, 2]
        moments = each._model.result.optimizer_state["state"].values()
        assert {int(moment["step"]) for moment in moments} == {9 + 5}
    np.testing.assert_array_equal(
        values_of(copy.get_module()), values_of(clf.get_module())
    )


def test_partial_fit_when_early_stopping_then_epoch_is_not_undone(
    classifier, texts, labels
):
    classifier.set_params(early_stopping=True, training__validation_fraction=0.3)
    classifier.fit(texts, labels)
    before = values_of(classifier.get_module())
    for _ in range(2):
        classifier.partial_fit(texts, labels)
        assert not np.array_equal(values_of(classifier.get_module()), before)
        before = values_of(classifier.get_module())


def test_gradient_when_large_then_is_clipped(classifier, texts, coin_labels, steps):
    classifier.set_params(training__callbacks=[steps], **rates(0.5))
    classifier.fit(texts, coin_labels[: len(texts)])
    assert max(steps.norms) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(("average_from", "n_averaged"), [(1 / 3, 48), (0.75, 18)])
def test_weights_when_fitted_then_are_the_average_of_the_last_steps(
    average_from, n_averaged, learner, many, many_labels, steps
):
    learner.set_params(
        training__callbacks=[steps], training__average_from=average_from
    ).fit(many, many_labels)
    assert learner.comparison_.kept == "trained"
    assert len(steps.values) == 72
    expected = np.mean(steps.values[-n_averaged:], axis=0)
    np.testing.assert_allclose(values_of(learner.get_module()), expected, atol=1e-6)


# Contrast


def test_fit_when_texts_are_contrasted_then_classes_lie_further_apart(
    classifier, many, many_labels
):
    def spread(contrast):
        clf = clone(classifier).set_params(training__contrast=contrast, lr=1e-2)
        clf.set_params(max_epochs=10)
        Z = normalize(clf.fit(many, many_labels).transform(many))
        is_same = np.equal.outer(many_labels, many_labels)
        return (Z @ Z.T)[is_same].mean() - (Z @ Z.T)[~is_same].mean()

    assert spread(1.0) == spread("auto") > spread(0)


# Randomness


@pytest.mark.parametrize("make", [SKTuningClassifier, SKTuningRegressor])
def test_random_state_when_the_same_then_predictions_are_identical(
    make, fast, texts, labels, targets
):
    y = labels if make is SKTuningClassifier else targets
    one = make(**fast).fit(texts, y)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    other = make(**fast).fit(texts, y)
    np.testing.assert_array_equal(scores_of(one, texts), scores_of(other, texts))
    np.testing.assert_array_equal(one.transform(texts), other.transform(texts))
    np.testing.assert_array_equal(
        scores_of(one.fit(texts, y), texts), scores_of(other, texts)
    )
    other.set_params(random_state=1).fit(texts, y)
    assert np.abs(scores_of(one, texts) - scores_of(other, texts)).max() > 1e-3


def test_random_state_when_a_generator_then_goes_on_between_fits(fast, texts, labels):
    def fit_twice():
        rng = np.random.RandomState(0)
        pair = [SKTuningClassifier(**fast | {"random_state": rng}) for _ in range(2)]
        return [values_of(clf.fit(texts, labels).get_module()) for clf in pair]

    first, second = fit_twice()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(fit_twice(), [first, second])


def test_fit_when_done_then_global_generators_are_left_alone(classifier, texts, labels):
    def draw():
        return np.random.random(3), torch.rand(3)  # noqa: NPY002

    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    expected = draw()
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    classifier.fit(texts, labels).predict(texts)
    for one, other in zip(draw(), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_fit_when_in_two_threads_then_each_is_as_alone(fast, texts, labels):
    def fit(seed):
        clf = SKTuningClassifier(**fast | {"random_state": seed, "max_epochs": 5})
        return clf.fit(texts, labels).predict_proba(texts)

    alone = [fit(seed) for seed in range(4)]
    with ThreadPoolExecutor(2) as pool:
        together = [*pool.map(fit, range(4))]
    np.testing.assert_allclose(together, alone, atol=1e-5)


# Ctrl-C


@pytest.mark.parametrize(
    ("step", "n_epochs", "epoch"), [(2, 4, 1), (4, 4, 2), (5, 4, 3), (7, 4, 3)]
)
def test_interrupt_when_training_then_warns_and_keeps_what_was_learned(
    step, n_epochs, epoch, classifier, texts, labels
):
    # Two epochs of two steps without the held-out texts, then two of three with them.
    classifier.set_params(max_epochs=n_epochs, training__clearly_better=1e6)
    message = f"interrupted in epoch {epoch} of {n_epochs}"
    with interrupt_at(load_tiny(classifier.model).model, step):
        with pytest.warns(UserWarning, match=message):
            classifier.fit(texts, labels)
    np.testing.assert_allclose(classifier.predict_proba(texts).sum(axis=1), 1.0)


def test_interrupt_when_before_training_then_estimator_stays_unfitted(
    classifier, texts, labels
):
    def press(*args):
        raise KeyboardInterrupt

    hook = load_tiny(classifier.model).model.register_forward_hook(press)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(texts, labels)
    hook.remove()
    assert not classifier.__sklearn_is_fitted__()


def test_history_when_fitted_then_holds_epochs_but_no_batches(
    classifier, texts, labels
):
    history = classifier.fit(texts, labels).history_
    assert [row["epoch"] for row in history] == [1, 2]
    assert all(row["train_loss"] > 0 for row in history)
    assert not any("batches" in row for row in history)
