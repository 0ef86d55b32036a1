import copy
import io
import pickle
import shutil

import joblib
import numpy as np
import pandas as pd
import pytest
from conftest import FAST, LABELS, METHODS, TEXTS

from sksemantic import (
    BackboneNotFoundError,
    InconsistentVersionWarning,
    SKTuningClassifier,
    __version__,
)


def with_pickle(estimator):
    return pickle.loads(pickle.dumps(estimator))


def with_joblib(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file, compress=3)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize("round_trip", [with_pickle, with_joblib, copy.deepcopy])
def test_copy_when_made_then_predicts_identically(round_trip, fitted, texts):
    copied = round_trip(fitted)
    np.testing.assert_array_equal(
        copied.predict_proba(texts), fitted.predict_proba(texts)
    )
    np.testing.assert_array_equal(copied.transform(texts), fitted.transform(texts))
    backbones = [each.get_module().backbone for each in (copied, fitted)]
    assert backbones[0].model is backbones[1].model


@pytest.mark.parametrize(("method", "adapter"), METHODS)
def test_pickle_when_any_method_then_predicts_identically(
    method, adapter, classifier, texts, labels
):
    classifier.set_params(method=method, adapter=adapter).partial_fit(
        texts, labels, classes=["bad", "good"]
    )
    copied = with_pickle(classifier)
    np.testing.assert_array_equal(
        copied.predict_proba(texts), classifier.predict_proba(texts)
    )


def test_pickle_when_loaded_then_attributes_are_there(fast, texts, labels):
    clf = SKTuningClassifier(**fast).fit(pd.DataFrame({"text": texts}), labels)
    copied = with_pickle(clf)
    for name in (
        "backbone_source_",
        "comparison_",
        "config_",
        "history_",
        "n_features_in_",
        "n_trainable_params_",
        "n_virtual_tokens_",
        "prompt_",
    ):
        assert getattr(copied, name) == getattr(clf, name), name
    assert type(copied.history_) is type(clf.history_)
    for name in ("classes_", "feature_names_in_"):
        one, other = getattr(copied, name), getattr(clf, name)
        np.testing.assert_array_equal(one, other, strict=True)
    np.testing.assert_array_equal(copied.linear_probe_.coef, clf.linear_probe_.coef)
    assert copied.get_params() == clf.get_params()


def test_pickle_when_made_then_holds_trained_values_and_no_backbone(fitted):
    backbone = fitted.get_module().backbone
    n_frozen = sum(p.numel() for p in backbone.model.parameters())
    size = len(pickle.dumps(fitted))
    assert size < 4 * n_frozen
    assert size < 4 * (fitted.n_trainable_params_ + 2 * 32) + 10_000


def test_pickle_when_unfitted_then_is_a_clone(classifier, texts, labels):
    copied = with_pickle(classifier)
    assert copied.get_params() == classifier.get_params()
    assert not copied.__sklearn_is_fitted__()
    proba = copied.fit(texts, labels).predict_proba(texts)
    expected = classifier.fit(texts, labels).predict_proba(texts)
    np.testing.assert_array_equal(proba, expected)


def test_pickle_when_parameters_were_changed_after_fit_then_fit_counts(
    classifier, texts, labels
):
    classifier.fit(texts, labels)
    expected = classifier.predict_proba(texts)
    classifier.set_params(prompt="another", method="prompt", adapter_rank=3)
    classifier.set_params(max_length=5, model="elsewhere", training__pooling="first")
    np.testing.assert_array_equal(classifier.predict_proba(texts), expected)
    np.testing.assert_array_equal(
        with_pickle(classifier).predict_proba(texts), expected
    )


@pytest.mark.real
@pytest.mark.parametrize(("method", "adapter"), METHODS[:4])
def test_pickle_when_minilm_then_is_below_a_megabyte(method, adapter, minilm, labels):
    clf = SKTuningClassifier(
        **{**FAST, "model": minilm, "max_epochs": 1}, method=method, adapter=adapter
    )
    saved = pickle.dumps(clf.fit(TEXTS, labels))
    if (method, adapter) != ("prefix", "linear"):  # a full matrix for each layer
        assert len(saved) < 1_000_000
    assert len(saved) < 4 * clf.n_trainable_params_ + 50_000  # no value twice


def test_deepcopy_when_trained_on_then_original_stays(fitted, texts, labels):
    before = fitted.predict_proba(texts)
    copy.deepcopy(fitted).partial_fit(texts, labels)
    np.testing.assert_array_equal(fitted.predict_proba(texts), before)


def test_pickle_when_loaded_in_a_fresh_process_then_predicts_identically(
    fitted, texts, tmp_path, run_python
):
    joblib.dump(fitted, tmp_path / "clf.joblib")
    np.save(tmp_path / "texts.npy", np.array(texts))
    run_python(
        """
        import joblib, numpy
        clf = joblib.load("clf.joblib")
        texts = numpy.load("texts.npy")
        numpy.save("proba.npy", clf.predict_proba(texts))
        """
    )
    found = np.load(tmp_path / "proba.npy")
    np.testing.assert_array_equal(found, fitted.predict_proba(texts))


@pytest.fixture
def moved(tiny_bert, tmp_path):
    """Return a pickle whose backbone's directory is no longer where it was."""
    directory = tmp_path / "backbone"
    shutil.copytree(tiny_bert, directory)
    clf = SKTuningClassifier(**{**FAST, "model": str(directory)}).fit(TEXTS, LABELS)
    saved = pickle.dumps(clf)
    directory.rename(tmp_path / "elsewhere")
    return saved


def test_pickle_when_backbone_is_gone_then_all_but_predictions_is_there(
    moved, texts, tmp_path
):
    with pytest.warns(UserWarning, match=r"cannot be found; set_params\(model="):
        clf = pickle.loads(moved)
    assert clf.classes_.tolist() == ["bad", "good"]
    assert clf.prompt_ == "rate the film"
    assert clf.n_trainable_params_ > clf.linear_probe_.coef.size
    message = r"(?s)no such directory.*pip install sksemantic\[embedded\]"
    with pytest.raises(BackboneNotFoundError, match=message):
        clf.predict(texts)
    (tmp_path / "elsewhere").rename(tmp_path / "backbone")
    expected = pickle.loads(moved).predict(texts)
    assert clf.predict(texts).tolist() == expected.tolist()


def test_pickle_when_dtype_was_auto_then_the_one_in_use_is_kept(fast, texts, labels):
    clf = SKTuningClassifier(**{**fast, "model_kwargs": {"dtype": "bfloat16"}}).fit(
        texts, labels
    )
    copied = with_pickle(clf.set_params(model_kwargs__dtype="auto"))
    dtype = copied.get_module().backbone.model.dtype
    assert dtype == clf.get_module().backbone.model.dtype


def test_pickle_when_of_another_format_then_says_which(fitted):
    state = fitted.__getstate__()
    state["_fitted"] = state["_fitted"] | {"format": 99}
    with pytest.raises(ValueError, match="has format 99; this version .* reads format"):
        SKTuningClassifier().__setstate__(state)


def test_repr_when_just_unpickled_then_loads_no_backbone(fitted):
    copied = with_pickle(fitted)
    assert FAST["prompt"] in repr(copied)
    assert "Fitted" in copied._repr_html_()
    assert not copied._fitted._loaded


@pytest.mark.parametrize("saved", ["0.0.1", None])
def test_pickle_when_of_another_version_then_warns_and_works(saved, fitted, texts):
    state = fitted.__getstate__()
    assert state.pop("_sksemantic_version") == __version__
    copied = SKTuningClassifier()
    message = f"pickled by version {saved or 'unknown'} .* read by version"
    with pytest.warns(InconsistentVersionWarning, match=message):
        copied.__setstate__(state | ({"_sksemantic_version": saved} if saved else {}))
    assert "_sksemantic_version" not in vars(copied)
    np.testing.assert_array_equal(
        copied.predict_proba(texts), fitted.predict_proba(texts)
    )
