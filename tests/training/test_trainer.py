import math
import pickle
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from conftest import TEXTS, load_tiny, values_of
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler, normalize
from skorch.callbacks import Callback

from sksemantic import FallbackWarning, SKTuningClassifier, SKTuningRegressor
from sksemantic._inputs.columns import check_texts
from sksemantic._inputs.dataset import collate
from sksemantic._tasks import base as _task
from sksemantic._tasks.base import Classification
from sksemantic._training.config import (
    _AUTO_RATES,
    _FEWEST_EPOCHS,
    _FEWEST_STEPS,
    _GENTLE_RATES,
    _MOST_EPOCHS,
    Recipe,
)
from sksemantic._training.net import _AVERAGE_FROM, contrast_loss

LR_THAT_DIVERGES = 1e6


def rates(lr):
    """Return one learning rate for adapter and head."""
    return {"lr": lr, "head_lr": lr}


@pytest.fixture
def untempered(monkeypatch):
    """Compare log-losses as they are."""
    monkeypatch.setattr(_task, "_tempered", lambda scores, targets: scores)


@pytest.fixture
def learn(tiny_roberta, fast, untempered):
    """Parameters that learn the rule, so that training beats the closed form."""
    found = {**fast, "model": tiny_roberta, "max_epochs": 12, **rates(1e-2)}
    return {**found, "head_init": "random"}  # which learns sooner in so few steps


@pytest.fixture
def many(texts):
    return 3 * texts  # of the held-back texts' copies most are trained on


@pytest.fixture
def many_labels(labels):
    return np.tile(labels, 3)


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


def closed_form_probabilities(clf, X, y):
    """Do what a user would have done with the frozen embeddings."""
    features = clf.transform(X)  # behind the frozen prefix, after a fallback
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=1 / clf.linear_probe_.penalty, tol=1e-3, max_iter=200)
    return model.fit(scaler.transform(features), y).predict_proba(
        scaler.transform(features)
    )


def test_fit_when_training_diverges_then_falls_back_to_the_closed_form(
    learn, many, many_labels
):
    clf = SKTuningClassifier(**{**learn, **rates(LR_THAT_DIVERGES)})
    with pytest.warns(FallbackWarning, match="24 held-back texts .*'lr'") as caught:
        clf.fit(many, many_labels)
    assert caught[0].filename == __file__
    assert clf.comparison_.kept == "linear_probe"
    assert np.isfinite(clf.transform(many)).all()
    expected = closed_form_probabilities(clf, many, many_labels)
    np.testing.assert_allclose(clf.predict_proba(many), expected, atol=1e-4)


def test_fit_when_it_falls_back_then_embeddings_are_the_frozen_ones(
    learn, many, many_labels
):
    clf = SKTuningClassifier(**{**learn, **rates(LR_THAT_DIVERGES)})
    with pytest.warns(FallbackWarning):
        clf.fit(many, many_labels)
    learned = SKTuningClassifier(**learn).fit(many, many_labels)
    assert learned.comparison_.kept == "trained"
    assert np.abs(learned.transform(many) - clf.transform(many)).max() > 1e-3
    learned.module_.adapter.reset()
    learned.module_.text_adapter.reset()
    np.testing.assert_allclose(learned.transform(many), clf.transform(many), atol=1e-5)


def test_fit_when_regression_diverges_then_falls_back_to_ridge(learn, many, targets):
    y = np.tile(targets, 3)
    reg = SKTuningRegressor(**{**learn, **rates(LR_THAT_DIVERGES)})
    with pytest.warns(FallbackWarning):
        reg.fit(many, y)
    features = StandardScaler().fit_transform(reg.transform(many))
    ridge = Ridge(alpha=reg.linear_probe_.penalty).fit(
        features, (y - y.mean()) / y.std()
    )
    expected = ridge.predict(features) * y.std() + y.mean()
    np.testing.assert_allclose(reg.predict(many), expected, atol=1e-4)


def test_fit_when_a_warm_start_worsens_then_falls_back_to_the_closed_form(
    learn, many, many_labels
):
    clf = SKTuningClassifier(**learn, warm_start=True).fit(many, many_labels)
    assert clf.comparison_.kept == "trained"
    clf.set_params(**rates(10.0))
    with pytest.warns(FallbackWarning):
        clf.fit(many, many_labels)
    expected = clf.linear_probe_.scores(standardised_features(clf, many))
    np.testing.assert_allclose(clf._scores(many), expected, atol=1e-3)
    assert clf.comparison_.linear_probe[0] == 0  # on held-back copies of these texts
    assert clf.score(many, many_labels) == 1


def standardised_features(clf, X):
    module = clf.module_
    mean, scale = module.feature_mean.numpy(), module.feature_scale.numpy()
    return (clf.transform(X) - mean) / scale


def test_fit_when_training_is_kept_then_no_warning(learn, many, many_labels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf = SKTuningClassifier(**learn).fit(many, many_labels)
    assert clf.comparison_.kept == "trained"


def test_fit_when_done_then_not_worse_on_held_back_texts_than_the_closed_form(
    learn, many, many_labels
):
    found = SKTuningClassifier(**learn).fit(many, many_labels).comparison_
    assert found.trained < found.linear_probe


@pytest.mark.parametrize("head_init", ["auto", "zeros", "random", "linear_probe"])
def test_head_init_when_chosen_then_training_starts_there(
    head_init, classifier, texts, labels, start_values
):
    classifier.set_params(
        training__head_init=head_init, training__callbacks=[start_values]
    )
    classifier.fit(texts[1:5], labels[1:5])  # too few to hold any back
    head = start_values.seen[0][-2 * (32 + 1) :]
    reference = classifier.linear_probe_
    linear_probe = np.concatenate([reference.coef.ravel(), reference.intercept])
    is_there = np.allclose(head, linear_probe, atol=1e-6)
    assert is_there == (head_init == "linear_probe")
    assert (not head.any()) == (head_init in ("auto", "zeros"))


def test_held_back_texts_when_settled_then_join_for_the_epochs_left(
    learn, many, many_labels
):
    clf = SKTuningClassifier(**learn).fit(many, many_labels)
    assert clf.comparison_.settled
    n_batches = [row["train_batch_count"] for row in clf.history_]
    n_alone = sum("valid_loss" in row for row in clf.history_)
    assert 0 < n_alone < 12
    # A third of 72 texts is held back, in batches of 8.
    assert n_batches == [6] * n_alone + [9] * (12 - n_alone)
    assert all("valid_loss" not in row for row in clf.history_[n_alone:])


def test_held_back_texts_when_it_merely_leads_then_join_for_the_last_half(
    classifier, texts, labels
):
    classifier.set_params(max_epochs=6, training__head_init="random").fit(texts, labels)
    assert classifier.comparison_.kept == "trained"
    assert not classifier.comparison_.settled
    counts = [row["train_batch_count"] for row in classifier.history_]
    assert counts == [2, 2, 2, 3, 3, 3]
    assert ["valid_loss" in row for row in classifier.history_] == [True] * 3 + (
        [False] * 3
    )


def test_held_back_texts_when_there_is_no_epoch_left_then_all_are_trained_on_afresh(
    classifier, texts, labels
):
    classifier.set_params(max_epochs=1, training__head_init="random").fit(texts, labels)
    assert classifier.comparison_.kept == "trained"
    assert not classifier.comparison_.settled
    assert [row["train_batch_count"] for row in classifier.history_] == [3]
    assert "valid_loss" not in classifier.history_[0]


def test_held_back_texts_when_there_are_too_few_then_none_and_no_comparison(classifier):
    classifier.fit(["a good film", "a bad film"], ["good", "bad"])
    assert classifier.comparison_ is None
    assert classifier.predict(["a good film"]).shape == (1,)


def test_held_back_texts_when_classes_are_uneven_then_held_in_proportion(
    classifier, many
):
    y = np.array(["rare"] * 12 + ["common"] * 60)
    classifier.fit(many, y)
    assert classifier.comparison_.n_texts == 4 + 20


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.1, 24), (0.25, 24), (0.5, 36), (0.9, 64)]
)
def test_validation_fraction_when_no_early_stopping_then_is_a_least_share(
    fraction, expected, classifier, many, many_labels
):
    classifier.set_params(training__validation_fraction=fraction).fit(many, many_labels)
    assert classifier.comparison_.n_texts == expected


def test_early_stopping_when_on_then_rowsstay_held_back(classifier, many, many_labels):
    classifier.set_params(
        training__early_stopping=True, training__validation_fraction=0.25
    )
    classifier.fit(many, many_labels)
    assert classifier.comparison_.n_texts == 18
    assert [row["train_batch_count"] for row in classifier.history_] == [7, 7]
    assert all("valid_loss" in row for row in classifier.history_)


def test_early_stopping_when_loss_stops_falling_then_stops_and_restores_the_best(
    classifier, many, coin_labels, untempered
):
    classifier.set_params(
        training__early_stopping=True,
        training__validation_fraction=0.3,
        training__n_iter_no_change=2,
        max_epochs=20,
        **rates(3e-2),
    )
    classifier.fit(many, coin_labels)
    losses = [row["valid_loss"] for row in classifier.history_]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 2 < 20
    assert classifier.comparison_.trained[1] == pytest.approx(min(losses), rel=1e-4)


def test_early_stopping_when_too_few_texts_to_hold_back_then_still_fits(
    classifier, texts, labels
):
    classifier.set_params(
        training__early_stopping=True, training__validation_fraction=0.01
    )
    classifier.fit(texts, labels)
    assert classifier.comparison_ is None
    assert len(classifier.history_) == 2


def recipe(is_causal=False, **changes):
    return Recipe.resolved(
        is_causal,
        **{
            "lr": 1e-3,
            "head_lr": 1e-3,
            "max_epochs": "auto",
            "batch_size": 32,
            "head_init": "random",
            "early_stopping": False,
            "validation_fraction": 0.1,
            "n_iter_no_change": 3,
            "callbacks": (),
            "verbose": 0,
            **changes,
        },
    )


@pytest.mark.parametrize("is_causal", [True, False])
def test_rates_when_auto_then_suit_the_kind_of_backbone(is_causal):
    found = recipe(is_causal, lr="auto", head_lr="auto")
    assert (found.lr, found.head_lr) == _AUTO_RATES[is_causal]


@pytest.mark.parametrize(
    "changes",
    [{"head_init": "linear_probe"}, {"is_pair": True}, {"is_gentle": True}],
    ids=str,
)
def test_rates_when_auto_and_from_the_closed_form_then_are_lower(changes):
    found = recipe(**{"head_init": "auto", "lr": "auto", "head_lr": "auto"} | changes)
    assert found.head_init == "linear_probe"
    assert (found.lr, found.head_lr) == _GENTLE_RATES[False]


@pytest.mark.parametrize(
    ("head_init", "is_pair", "expected"),
    [
        ("auto", False, "zeros"),
        ("auto", True, "linear_probe"),
        ("zeros", True, "zeros"),
        ("random", True, "random"),
    ],
)
def test_head_init_when_auto_then_only_pairs_start_from_the_closed_form(
    head_init, is_pair, expected
):
    assert recipe(head_init=head_init, is_pair=is_pair).head_init == expected


@pytest.mark.parametrize("is_causal", [True, False])
def test_rates_when_auto_and_the_adapter_is_a_full_matrix_then_its_own_is_lower(
    is_causal,
):
    rates = {"lr": "auto", "head_lr": "auto"}
    found = recipe(is_causal, **rates, has_full_matrices=True)
    lr, head_lr = _AUTO_RATES[is_causal]
    assert (found.lr, found.head_lr) == (pytest.approx(lr / 10), head_lr)
    assert recipe(lr=0.1, has_full_matrices=True).lr == 0.1


@pytest.mark.parametrize(
    ("is_causal", "factor", "head_factor"), [(True, 1, 1), (False, 2.5, 2)]
)
def test_rates_when_auto_and_words_are_labelled_then_an_encoders_are_higher(
    is_causal, factor, head_factor
):
    rates = {"lr": "auto", "head_lr": "auto"}
    found = recipe(is_causal, **rates, has_words=True)
    lr, head_lr = _AUTO_RATES[is_causal]
    rates = found.lr, found.head_lr
    assert rates == pytest.approx((factor * lr, head_factor * head_lr))
    assert recipe(lr=0.1, has_words=True).lr == 0.1


def test_rates_when_auto_then_the_adapter_is_looked_at(fast):
    params = fast | {"lr": "auto", "head_lr": 0.01}
    low, full = (
        SKTuningRegressor(**params, adapter=adapter).fit(TEXTS, range(len(TEXTS)))
        for adapter in ("low_rank", "linear")
    )
    rates = [clf.net_.lr for clf in (low, full)]
    assert rates == pytest.approx([_AUTO_RATES[False][0], _AUTO_RATES[False][0] / 10])


def test_rates_when_numbers_then_are_those():
    found = recipe(lr=0.1, head_lr=np.float32(0.5))
    assert (found.lr, found.head_lr) == (0.1, 0.5)


@pytest.mark.parametrize("is_causal", [True, False])
def test_max_epochs_when_auto_and_many_texts_then_is_the_fewest(is_causal):
    assert recipe(is_causal).n_epochs(100_000) == _FEWEST_EPOCHS[is_causal]


@pytest.mark.parametrize(("is_causal", "expected"), [(True, 8), (False, 9)])
def test_max_epochs_when_auto_and_several_targets_then_half_as_many_more(
    is_causal, expected
):
    assert recipe(is_causal, has_targets=True).n_epochs(100_000) == expected


def test_max_epochs_when_auto_then_targets_are_counted(fast):
    y = np.arange(2.0 * len(TEXTS)).reshape(-1, 2)
    params = fast | {"max_epochs": "auto", "batch_size": 1}
    one = SKTuningRegressor(**params).fit(TEXTS, y[:, 0])
    two = SKTuningRegressor(**params).fit(TEXTS, y)
    assert (len(one.history_), len(two.history_)) == (6, 9)


def test_max_epochs_when_auto_and_hardly_any_texts_then_is_capped():
    assert recipe().n_epochs(3) == _MOST_EPOCHS


@pytest.mark.parametrize(("is_causal", "expected"), [(True, 30), (False, 90)])
def test_max_epochs_when_few_texts_and_label_texts_then_encoders_train_longer(
    is_causal, expected
):
    assert recipe(is_causal, is_gentle=True).n_epochs(3) == expected


@pytest.mark.parametrize("n_rows", [200, 300, 401])
def test_max_epochs_when_auto_and_few_texts_then_there_are_enough_steps(n_rows):
    n_epochs = recipe().n_epochs(n_rows)
    per_epoch = math.ceil(n_rows / 32)
    assert _FEWEST_EPOCHS[False] < n_epochs < _MOST_EPOCHS
    assert (n_epochs - 1) * per_epoch < _FEWEST_STEPS <= n_epochs * per_epoch


def test_max_epochs_when_auto_and_batches_are_smaller_then_fewer_epochs():
    assert recipe(batch_size=8).n_epochs(200) < recipe().n_epochs(200)


@pytest.mark.parametrize("n_rows", [3, 100_000])
@pytest.mark.parametrize("kind", [int, np.int64])
def test_max_epochs_when_a_number_then_is_that_number(kind, n_rows):
    assert recipe(max_epochs=kind(11)).n_epochs(n_rows) == 11


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
            self.values.append(values_of(net))

    def on_grad_computed(self, net, named_parameters, **kwargs):
        squares = [p.grad.square().sum() for _, p in named_parameters]
        self.norms.append(math.sqrt(sum(squares)))


@pytest.fixture
def steps():
    Steps.rates.clear()
    Steps.norms.clear()
    Steps.values.clear()
    return Steps()


def test_schedule_when_fitting_then_rates_rise_and_fall_linearly(
    classifier, many, many_labels, steps
):
    n_epochs, n_batches = 12, 6
    classifier.set_params(
        max_epochs=n_epochs, lr=0.01, training__head_lr=0.1, training__callbacks=[steps]
    )
    classifier.fit(many, many_labels)
    found = np.array(steps.rates)
    assert found.shape == (n_epochs * n_batches, 2)
    np.testing.assert_allclose(found.max(axis=1) / found.min(axis=1), 10.0)
    factors = found.max(axis=1) / 0.1
    done = (np.arange(len(found)) + 0.5) / len(found)  # in the middle of each step
    np.testing.assert_allclose(factors, np.interp(done, [0, 0.06, 1], [0, 1, 0]))


def test_schedule_when_texts_join_then_it_goes_on_where_it_was(
    learn, many, many_labels, monkeypatch
):
    from sksemantic._training import net as _net

    factors = []
    on_batch_begin = _net.WarmupLinearDecay.on_batch_begin

    def note(self, net, training=False, **kwargs):
        on_batch_begin(self, net, training=training, **kwargs)
        if training:
            factors.append(net.optimizer_.param_groups[0]["lr"] / 1e-2)

    monkeypatch.setattr(_net.WarmupLinearDecay, "on_batch_begin", note)
    clf = SKTuningClassifier(**learn).fit(many, many_labels)
    assert clf.comparison_.settled
    falling = factors[np.argmax(factors) :]
    assert (np.diff(falling) < 0).all()
    # Half a step of nine, of the last of twelve epochs, is left.
    assert falling[-1] == pytest.approx(0.5 / 9 / 12 / 0.94)


def test_partial_fit_when_fitted_before_then_rates_are_the_full_ones(
    classifier, texts, labels, steps
):
    classifier.set_params(
        lr=0.01, training__head_lr=0.1, training__callbacks=[steps]
    ).fit(texts, labels)
    steps.rates.clear()
    classifier.partial_fit(texts, labels)
    assert {tuple(sorted(rates)) for rates in steps.rates} == {(0.01, 0.1)}


def test_partial_fit_when_fitted_before_with_early_stopping_then_epoch_is_not_undone(
    classifier, texts, labels
):
    classifier.set_params(
        training__early_stopping=True, training__validation_fraction=0.3
    )
    classifier.fit(texts, labels)
    before = values_of(classifier.module_)
    for _ in range(3):
        classifier.partial_fit(texts, labels)
        assert not np.array_equal(values_of(classifier.module_), before)
        before = values_of(classifier.module_)


def test_partial_fit_when_called_then_rates_are_constant(
    classifier, texts, labels, steps
):
    classifier.set_params(lr=0.01, training__head_lr=0.1, training__callbacks=[steps])
    for _ in range(2):
        classifier.partial_fit(texts, labels, classes=["bad", "good"])
    assert len(steps.rates) == 6
    assert {tuple(sorted(rates)) for rates in steps.rates} == {(0.01, 0.1)}


def test_gradient_when_large_then_is_clipped(classifier, texts, coin_labels, steps):
    classifier.set_params(training__callbacks=[steps], **rates(0.5))
    classifier.fit(texts, coin_labels[: len(texts)])
    assert max(steps.norms) == pytest.approx(1.0, abs=1e-4)


def test_weights_when_fitted_then_are_the_average_of_the_last_steps(
    learn, many, many_labels, steps
):
    clf = (
        SKTuningClassifier(**learn)
        .set_params(training__callbacks=[steps])
        .fit(many, many_labels)
    )
    assert clf.comparison_.kept == "trained"
    tail = steps.values[round(_AVERAGE_FROM * len(steps.values)) :]
    assert 12 < len(tail) < 72 == len(steps.values)
    np.testing.assert_allclose(values_of(clf.module_), np.mean(tail, axis=0), atol=1e-6)


def test_weights_when_fitted_with_early_stopping_then_are_those_of_one_epoch(
    learn, many, many_labels, steps
):
    clf = SKTuningClassifier(**learn).set_params(
        training__callbacks=[steps], training__early_stopping=True
    )
    clf.set_params(training__validation_fraction=0.3).fit(many, many_labels)
    ends = steps.values[6::7]  # 52 texts in batches of 8
    best = int(np.argmin(clf.history_[:, "valid_loss"]))
    assert clf.comparison_.kept == "trained"
    np.testing.assert_array_equal(values_of(clf.module_), ends[best])


@pytest.mark.parametrize("make", [SKTuningClassifier, SKTuningRegressor])
def test_random_state_when_the_same_then_predictions_are_identical(
    make, fast, texts, labels, targets
):
    y = labels if make is SKTuningClassifier else targets
    one = make(**fast).fit(texts, y)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    other = make(**fast).fit(texts, y)
    np.testing.assert_array_equal(one._scores(texts), other._scores(texts))
    np.testing.assert_array_equal(one.transform(texts), other.transform(texts))


def test_random_state_when_different_then_predictions_differ(fast, texts, labels):
    one, other = (
        SKTuningClassifier(**{**fast, "random_state": seed}).partial_fit(
            texts, labels, classes=["bad", "good"]
        )
        for seed in (0, 1)
    )
    assert np.abs(one._scores(texts) - other._scores(texts)).max() > 1e-3


def test_random_state_when_a_generator_then_goes_on_between_fits(fast, texts, labels):
    def fit_twice():
        rng = np.random.RandomState(0)
        clf = SKTuningClassifier(**{**fast, "random_state": rng})
        return [
            values_of(clf.partial_fit(texts, labels, classes=["bad", "good"]).module_)
            for clf in (clf, SKTuningClassifier(**{**fast, "random_state": rng}))
        ]

    first, second = fit_twice()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(fit_twice(), [first, second])


def test_random_state_when_an_int_then_numpys_generator_is_left_alone(
    classifier, texts, labels
):
    def draw():
        return np.random.random(3)  # noqa: NPY002

    state = np.random.get_state()  # noqa: NPY002
    expected = draw()
    np.random.set_state(state)  # noqa: NPY002
    classifier.fit(texts, labels).predict(texts)
    np.testing.assert_array_equal(draw(), expected)


def test_fit_when_done_then_torchs_generator_is_left_alone(classifier, texts, labels):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    classifier.fit(texts, labels)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_fit_when_called_twice_then_starts_afresh(classifier, texts, labels):
    one = classifier.fit(texts, labels).predict_proba(texts)
    np.testing.assert_array_equal(
        classifier.fit(texts, labels).predict_proba(texts), one
    )


def test_interrupt_when_training_then_estimator_warns_and_stays_usable(
    classifier, texts, labels
):
    model = load_tiny(classifier.model).model
    with interrupt_at(model, step=2):
        with pytest.warns(
            UserWarning, match="Training was interrupted in epoch 1 of 2"
        ):
            classifier.fit(texts, labels)
    assert classifier.predict(texts).shape == (24,)
    np.testing.assert_allclose(classifier.predict_proba(texts).sum(axis=1), 1.0)


@pytest.mark.parametrize("step", [2, 4, 5, 7])
def test_interrupt_when_in_any_part_of_training_then_it_is_not_silent(
    step, classifier, texts, labels
):
    # Two epochs of two steps without the held-back texts, then two of three with them.
    classifier.set_params(max_epochs=4)
    with interrupt_at(load_tiny(classifier.model).model, step):
        with pytest.warns(UserWarning, match="interrupted"):
            classifier.fit(texts, labels)


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


def test_log_loss_when_a_model_is_merely_too_sure_then_it_is_not_held_against_it():
    rng = np.random.RandomState(0)
    task = Classification(3)
    # Scores whose softmax is the probability that they were drawn with.
    scores = np.log(rng.dirichlet([1, 1, 1], 400))
    targets = np.array([rng.choice(3, p=np.exp(row)) for row in scores])
    calibrated = task.losses(scores, targets)
    np.testing.assert_allclose(task.losses(10 * scores, targets), calibrated, rtol=1e-4)
    assert np.mean(task.losses(scores[::-1], targets)[:, 1]) > np.mean(calibrated[:, 1])
    assert np.isnan(task.losses(np.full((2, 3), np.nan), targets[:2])[:, 1]).all()


def test_contrast_when_classes_lie_apart_then_zero_and_weights_count():
    targets, weights = torch.tensor([0, 0, 1]), torch.ones(3)
    apart = torch.tensor([[2.0, 0.0], [3.0, 0.0], [0.0, 1.0]])
    assert contrast_loss(apart, targets, weights) == 0
    together = torch.ones(3, 2)  # all alike: right for one kind of pairs, not the other
    assert contrast_loss(together, targets, weights).item() == pytest.approx(0.5)
    # The only pair of one class is orthogonal; one of the others is parallel.
    mixed = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert contrast_loss(mixed, targets, weights).item() == pytest.approx(0.75)
    weights = torch.tensor([1.0, 3.0, 1.0])
    assert contrast_loss(mixed, targets, weights).item() == pytest.approx(0.625)


@pytest.mark.parametrize(
    ("targets", "weights"), [([0], [1.0]), ([1, 1], [1.0, 1.0]), ([0, 1], [1.0, 0.0])]
)
def test_contrast_when_a_kind_has_no_pairs_then_zero_and_gradient_is_finite(
    targets, weights
):
    features = torch.ones(len(targets), 3, requires_grad=True)
    loss = contrast_loss(features, torch.tensor(targets), torch.tensor(weights))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(features.grad).all()


def test_contrast_when_more_texts_than_count_in_full_then_it_fades():
    found = recipe(contrast="auto")
    weights = [found.contrast_for(n, n_classes=2) for n in (32, 200, 400, 2000)]
    assert weights == [1.0, 1.0, 0.25, pytest.approx(0.01)]


def test_contrast_when_auto_and_hardly_any_texts_then_is_none():
    assert recipe(contrast="auto").contrast_for(31, n_classes=2) == 0


@pytest.mark.parametrize("kind", ["is_causal", "is_pair"])
def test_contrast_when_backbone_is_causal_or_texts_are_pairs_then_auto_is_none(kind):
    assert recipe(**{kind: True}, contrast="auto").contrast_for(200, n_classes=2) == 0


@pytest.mark.parametrize("is_causal", [True, False])
def test_contrast_when_a_number_then_is_that_number(is_causal):
    assert recipe(is_causal, contrast=2).contrast_for(9999, n_classes=2) == 2


def test_contrast_when_labels_have_texts_then_auto_is_none(classifier, texts, labels):
    classifier.set_params(label_texts={label: label for label in labels})
    clf = classifier.fit(texts, labels)
    assert clf.net_.criterion_.contrast == 0
    clf.set_params(training__contrast=0.5).fit(texts, labels)
    assert clf.net_.criterion_.contrast == 0.5


def test_contrast_when_trained_on_after_a_pickle_then_is_as_without_it(
    classifier, many, many_labels
):
    clf = classifier.fit(many, many_labels)
    copy = pickle.loads(pickle.dumps(clf))
    for each in (clf, copy):
        each.partial_fit(many[:40], many_labels[:40])
        assert each.net_.criterion_.contrast == 1


@pytest.mark.parametrize("kind", ["several labels", "ordered"])
def test_contrast_when_texts_are_more_or_less_alike_then_none_and_a_number_is_refused(
    kind, classifier, texts, labels
):
    y = (labels == "good").astype(int)
    if kind == "several labels":
        y = np.stack([y, 1 - y], axis=1)
    classifier.set_params(ordinal=kind == "ordered")
    assert classifier.fit(texts, y).net_.criterion_.contrast == 0
    with pytest.raises(ValueError, match="'contrast' parameter must be 'auto' or 0"):
        classifier.set_params(training__contrast=1.0).fit(texts, y)


def test_fit_when_texts_are_contrasted_then_classes_lie_further_apart(
    classifier, many, many_labels
):
    def spread(contrast):
        params = {"max_epochs": 5, "contrast": contrast}
        clf = clone(classifier).set_params(**params).fit(many, many_labels)
        Z = normalize(clf.transform(many))
        is_same = np.equal.outer(many_labels, many_labels)
        return (Z @ Z.T)[is_same].mean() - (Z @ Z.T)[~is_same].mean()

    assert spread(1.0) == spread("auto") > spread(0)


def test_history_when_fitted_then_holds_epochs_but_no_batches(
    classifier, texts, labels
):
    history = classifier.fit(texts, labels).history_
    assert [row["epoch"] for row in history] == [1, 2]
    assert all(row["train_loss"] > 0 for row in history)
    assert not any("batches" in row for row in history)


def gradients_of_one_step(clf, data, budget):
    """Return the gradients that one training step leaves behind."""
    net = clf.net_
    net.module_.zero_grad()
    net.module_.dropout.p = 0.0
    net.token_budget_ = budget
    X, y = collate(0)(data)
    net.train_step_single((X, y))
    return [p.grad.clone() for p in net.module_.parameters()]


@pytest.mark.parametrize("budget", [1, 30, 100])
def test_step_when_batch_has_many_tokens_then_gradient_is_that_of_the_whole(
    budget, classifier, texts, labels, monkeypatch
):
    clf = classifier.set_params(training__head_init="random").fit(texts, labels)
    data = clf._dataset(
        check_texts(texts[:9]),
        np.arange(9) % 2,
        np.linspace(0.1, 2, 9, dtype=np.float32),
    )
    expected = gradients_of_one_step(clf, data, 10**6)
    found = gradients_of_one_step(clf, data, budget)
    for one, other in zip(found, expected, strict=True):
        assert other.any()
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("budget", [1, 60])
def test_step_when_pairs_are_many_tokens_then_gradient_is_that_of_the_whole(
    budget, classifier, texts, labels
):
    pairs = list(zip(texts, texts[::-1], strict=True))
    clf = classifier.fit(pairs, labels)
    data = clf._dataset(check_texts(pairs[:9]), np.arange(9) % 2)
    expected = gradients_of_one_step(clf, data, 10**6)
    found = gradients_of_one_step(clf, data, budget)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_step_when_gpu_memory_runs_out_then_parts_are_halved_and_step_repeated(
    classifier, texts, labels, monkeypatch
):
    clf = classifier.fit(texts, labels)
    data = clf._dataset(check_texts(texts[:8]), np.arange(8) % 2)
    expected = gradients_of_one_step(clf, data, 10**6)
    sizes = []
    infer = type(clf.module_).infer

    def infer_small(net, x, **params):
        sizes.append(len(x["input_ids"]))
        if sizes[-1] > 2:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return infer(net, x, **params)

    monkeypatch.setattr(type(clf.module_), "infer", infer_small)
    found = gradients_of_one_step(clf, data, 10**6)
    assert sizes == [8, 4, 2, 2, 2, 2]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    sizes.clear()
    clf.net_.train_step_single(collate(0)(data))
    assert sizes == [2, 2, 2, 2]


def test_step_when_not_even_one_text_fits_then_the_error_is_the_users(
    classifier, texts, labels, monkeypatch
):
    clf = classifier.fit(texts, labels)

    def infer(net, x, **params):
        raise torch.cuda.OutOfMemoryError("out of memory")

    monkeypatch.setattr(type(clf.module_), "infer", infer)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        clf.net_.train_step_single(collate(0)(clf._check_and_tokenise(texts[:8])))
