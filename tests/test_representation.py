"""How an estimator is shown, before and after its fit."""

import pickle
import shutil

import pytest
from conftest import LABELS, TEXTS
from sklearn.pipeline import make_pipeline

from sksemantic import SKTuningClassifier, _representation
from sksemantic._training.fitted import FittedModel


def test_repr_when_fitted_then_is_the_call_that_makes_it(fitted):
    unfitted = SKTuningClassifier(**fitted.get_params(deep=False))
    assert repr(fitted) == repr(unfitted) == str(unfitted)


def test_str_when_fitted_then_tells_what_was_learned(fitted):
    text = str(fitted)
    assert text.startswith(repr(fitted) + "\n")
    assert "rate the film" in text
    assert f"{fitted.n_trainable_params_:,} numbers" in text
    assert "% of the backbone's" in text
    assert "by the linear probe" in text


def test_str_when_prompt_is_long_then_is_cut(fitted, monkeypatch):
    facts = {"prompt": "word \n" * 100}
    monkeypatch.setattr(_representation, "fit_facts", lambda model: facts)
    lines = str(fitted).splitlines()
    assert lines[-1].endswith("...") and len(lines[-1]) < 120


def test_html_when_fitted_then_has_the_facts_and_they_are_escaped(fast):
    clf = SKTuningClassifier(**fast | {"prompt": "rate <b>the</b> film"})
    assert "one label for each text" not in clf._repr_html_()
    clf.fit(TEXTS, LABELS)
    bundle = clf._repr_mimebundle_()
    assert bundle["text/plain"] == str(clf)
    for html in (bundle["text/html"], clf._repr_html_()):
        assert ">one label for each text</td>" in html
        assert "rate &lt;b&gt;the&lt;/b&gt; film" in html
        assert "<b>the</b>" not in html


def test_html_when_inside_a_pipeline_then_is_the_diagram(fitted):
    assert "SKTuningClassifier" in make_pipeline(fitted)._repr_html_()


def test_representation_when_backbone_is_gone_then_is_shown_without_it(
    fast, tmp_path, tiny_bert, monkeypatch
):
    model = shutil.copytree(tiny_bert, tmp_path / "bert")
    clf = SKTuningClassifier(**fast | {"model": str(model)}).fit(TEXTS, LABELS)
    saved = pickle.dumps(clf)
    shutil.rmtree(model)
    with pytest.warns(match="cannot be found"):
        clf = pickle.loads(saved)
    monkeypatch.setattr(FittedModel, "load", lambda *args: pytest.fail("was loaded"))
    assert "numbers" in str(clf)
    assert "of the backbone's" not in str(clf)
    assert "numbers" in clf._repr_html_()


def test_doc_link_when_the_package_names_a_site_then_leads_there(monkeypatch):
    class Metadata:
        def get_all(self, name):
            return ["Source, https://example.org/git", "Documentation, https://d.org/"]

    monkeypatch.setattr(_representation, "metadata", lambda name: Metadata())
    _representation._documentation_link.cache_clear()
    try:
        link = SKTuningClassifier()._get_doc_link()
    finally:
        _representation._documentation_link.cache_clear()
    assert link == "https://d.org/generated/sksemantic.SKTuningClassifier.html"
