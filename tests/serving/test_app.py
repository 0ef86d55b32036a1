"""The web application, asked as clients ask it."""

import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from conftest import FAST, LABELS, TEXTS

from sksemantic import (
    SKTuningClassifier,
    SKTuningRegressor,
    SKTuningTokenClassifier,
    create_app,
)

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
from fastapi import FastAPI
from starlette.testclient import TestClient

WORDS = [text.split() for text in TEXTS]


@pytest.fixture(scope="module")
def models(tiny_bert):
    """Fitted estimators of all kinds by name."""
    params = FAST | {"model": tiny_bert}
    pairs = [(text, text[2:]) for text in TEXTS]
    tags = [["x" if len(word) > 4 else "o" for word in words] for words in WORDS]
    return {
        "labels": SKTuningClassifier(**params).fit(TEXTS, LABELS),
        "numbers": SKTuningRegressor(**params).fit(TEXTS, [*map(len, TEXTS)]),
        "words": SKTuningTokenClassifier(**params).fit(WORDS, tags),
        "pairs": SKTuningClassifier(**params).fit(pairs, [x == "good" for x in LABELS]),
    }


@contextmanager
def served(models, **options):
    """Run a server in this process; it has loaded its models."""
    with TestClient(create_app(models, isolate=False, **options)) as client:
        yield client


@pytest.fixture(scope="module")
def client(models):
    with served(models, request_texts=20, request_bytes=10_000) as client:
        yield client


def ask(client, model, texts, method="predict"):
    response = client.post(f"/{method}", json={"model": model, "texts": texts})
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(
    ("model", "texts"),
    [
        ("labels", TEXTS[:3]),
        ("words", [*WORDS[:2], []]),
        ("pairs", [["a film", "a book"]]),
    ],
)
def test_predict_when_asked_then_answers_as_the_estimator(model, texts, client, models):
    X = [tuple(text) for text in texts] if model == "pairs" else texts
    answer = ask(client, model, texts)
    assert answer == {"model": model, "predictions": models[model].predict(X).tolist()}
    proba = ask(client, model, texts, "predict_proba")
    assert proba["classes"] == models[model].classes_.tolist()
    expected = models[model].predict_proba(X)
    for found, each in zip(proba["probabilities"], expected, strict=True):
        np.testing.assert_allclose(found, each.tolist(), rtol=0, atol=1e-6)


def test_predict_when_numbers_then_answers_as_the_estimator(client, models):
    found = ask(client, "numbers", TEXTS[:3])["predictions"]
    np.testing.assert_allclose(found, models["numbers"].predict(TEXTS[:3]), rtol=1e-5)


def test_explain_when_asked_then_has_a_score_for_each_word_and_class(client):
    (found,) = ask(client, "labels", ["a good film"], "explain")["explanations"]
    assert found["words"] == ["a", "good", "film"]
    assert found["names"] == ["bad", "good"]
    assert np.shape(found["scores"]) == (3, 2)
    assert found["method"] == "shapley"


def test_models_when_listed_then_says_what_each_takes(client):
    found = {each["name"]: each for each in client.get("/models").json()}
    kinds = {name: each["kind"] for name, each in found.items()}
    assert kinds == {
        "labels": "classifier",
        "numbers": "regressor",
        "words": "token classifier",
        "pairs": "classifier",
    }
    assert [each["n_texts"] for each in found.values()] == [1, 1, 1, 2]
    assert found["pairs"]["classes"] == [False, True]
    assert found["numbers"]["methods"] == ["predict", "explain"]


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"model": "other", "texts": ["a"]}, 404, "There is no model 'other'."),
        ({"texts": ["a"]}, 400, "Name a model: labels, numbers, words, pairs."),
        ({"model": "pairs", "texts": ["a"]}, 400, "X has 1 text"),
        ({"model": "labels", "texts": ["a"] * 21}, 413, "20 texts at most"),
        ({"model": "labels", "texts": ["a" * 10_000]}, 413, "10,000 bytes at most"),
        ({"model": "labels", "texts": [3]}, 422, "texts[0] must be a string"),
        ({"model": "labels", "texts": ["a", [3]]}, 422, "texts[1] must be a string"),
        ({"model": "labels", "texts": []}, 422, "texts: List should have at least 1"),
        ({"model": "labels", "text": ["a"]}, 422, "texts: Field required"),
    ],
)
def test_predict_when_a_request_is_wrong_then_says_what(body, status, detail, client):
    response = client.post("/predict", json=body)
    assert response.status_code == status
    assert detail in response.text


@pytest.mark.parametrize(
    "body",
    [
        '{"model": "labels", "texts": [NaN]}',
        '{"model": 1e999, "texts": ["a"]}',
        '{"model": "labels", "texts": ["a"], "extra": "\\ud800"}',
        '{"model": "labels", "texts": ["a"], "\\ud800": 1}',
        '{"model": "labels", "texts": [' + "1," * 2000 + "1]}",
    ],
)
def test_predict_when_what_is_wrong_cannot_be_repeated_then_refused_briefly(
    body, client
):
    headers = {"Content-Type": "application/json"}
    response = client.post("/predict", content=body, headers=headers)
    assert response.status_code == 422
    assert len(response.json()["detail"]) < 200


def test_predict_when_the_content_type_is_another_then_says_so(client):
    headers = {"Content-Type": "text/plain"}  # without any it depends on FastAPI
    response = client.post("/predict", content='{"texts": ["a"]}', headers=headers)
    assert response.status_code == 422
    assert "Content-Type: application/json" in response.json()["detail"]


def test_api_when_described_then_has_other_answers_and_the_token(client):
    paths = client.get("/openapi.json").json()["paths"]
    responses = paths["/predict"]["post"]["responses"]
    assert {"200", "401", "404", "413", "503"} <= {*responses}
    assert paths["/predict"]["post"]["security"] == [{"HTTPBearer": []}]
    assert [*paths["/metrics"]["get"]["responses"]["200"]["content"]] == ["text/plain"]


def test_explain_when_a_text_is_long_then_refused(client):
    body = {"model": "labels", "texts": ["a " * 2501]}
    response = client.post("/explain", json=body)
    assert response.status_code == 413
    assert "5,000 characters at most" in response.text


def test_explain_when_a_text_has_many_words_then_refused(client):
    body = {"model": "labels", "texts": ["a " * 200, "!" * 101]}
    response = client.post("/explain", json=body)
    assert response.status_code == 413
    assert "300 words and signs at most" in response.text


def test_predict_when_the_body_is_no_json_then_says_where(client):
    headers = {"Content-Type": "application/json"}
    response = client.post("/predict", content='{"texts": [,]}', headers=headers)
    assert response.status_code == 422
    assert response.json()["detail"].startswith("The body is no JSON: ")


def test_predict_when_it_takes_too_long_then_busy(models):
    limits = {"timeout_seconds": 0.2, "wait_seconds": 1.0}
    with served({"labels": models["labels"]}, **limits) as client:
        response = client.post("/predict", json={"texts": ["a"]})
    assert response.status_code == 503
    assert "Waited too long" in response.text


def test_predict_when_the_lifespan_has_not_run_then_says_so(models):
    client = TestClient(create_app({"labels": models["labels"]}, isolate=False))
    response = client.post("/predict", json={"texts": ["a"]})
    assert response.status_code == 503
    assert "the lifespan of this application has not run" in response.text


def test_app_when_mounted_with_its_lifespan_then_answers(models):
    app = create_app({"labels": models["labels"]}, isolate=False)
    outer = FastAPI(lifespan=lambda _: app.router.lifespan_context(app))
    outer.mount("/nlp", app)
    with TestClient(outer) as client:
        response = client.post("/nlp/predict", json={"texts": ["a"]})
        assert response.status_code == 200
        counted = 'sksemantic_requests_total{endpoint="predict",status="200"} 1.0'
        assert counted in client.get("/nlp/metrics").text


def test_metrics_when_requests_are_refused_then_count_them(models):
    with served({"labels": models["labels"]}, token="sesame") as client:
        right = {"Authorization": "Bearer sesame"}
        client.post("/predict", json={"texts": ["a"]})
        client.post("/predict", json={"texts": [1]}, headers=right)
        client.post("/predict", json={"texts": ["a"], "model": "b"}, headers=right)
        shown = client.get("/metrics", headers=right).text
        client.delete("/models/b", headers=right)
        client.app.state.server.engine.on_restart()
        managed = client.get("/metrics", headers=right).text
    assert "sksemantic_worker_restarts_total 1.0" in managed
    assert '{endpoint="models",status="403"} 1.0' in managed
    for status in (401, 404, 422):
        assert f'{{endpoint="predict",status="{status}"}} 1.0' in shown


def test_predict_when_a_body_without_length_is_too_large_then_refused(client):
    chunks = (b'{"texts": ["' for _ in range(2000))
    response = client.post("/predict", content=chunks)
    assert response.status_code == 413


def test_predict_proba_when_of_a_regressor_then_refused(client):
    body = {"model": "numbers", "texts": ["a"]}
    response = client.post("/predict_proba", json=body)
    assert response.status_code == 400
    assert "'numbers' is a regressor, without predict_proba" in response.text


def test_predict_when_one_of_a_batch_is_wrong_then_the_others_are_answered(models):
    def one(client, text, found, i):
        body = {"model": "pairs", "texts": [text]}
        found[i] = client.post("/predict", json=body).status_code

    with served(models, wait_seconds=0.3) as client:
        found = [None] * 4
        texts = [["a film", "a book"], "a film", ["a", "b"], ["a", "b", "c"]]
        threads = [
            threading.Thread(target=one, args=(client, text, found, i))
            for i, text in enumerate(texts)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [200, 400, 200, 400]
        assert "sksemantic_batch_texts_count 1.0" in client.get("/metrics").text


def test_predict_when_too_many_wait_then_busy(models, monkeypatch):
    limits = {"queue_texts": 4, "request_texts": 4, "wait_seconds": 0.5}
    with served({"labels": models["labels"]}, **limits) as client:
        found = []

        def three():
            found.append(client.post("/predict", json={"texts": ["a"] * 3}))

        thread = threading.Thread(target=three)
        thread.start()
        while "queue_texts 3.0" not in client.get("/metrics").text:
            time.sleep(0.01)
        response = client.post("/predict", json={"texts": ["a"] * 2})
        thread.join()
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert found[0].status_code == 200


def test_token_when_set_then_needed_but_for_the_page_and_health(models):
    with served({"labels": models["labels"]}, token="sesame") as client:
        for path in ("/", "/page.js", "/page.css", "/health", "/ready"):
            assert client.get(path).status_code == 200
        for path in ("/models", "/metrics"):
            assert client.get(path).status_code == 401
        body = {"texts": ["a film"]}
        for header, status, detail in (
            ("", 401, "A token is needed"),
            ("Basic sesame", 401, "A token is needed"),
            ("Bearer semase", 401, "The token is wrong"),
            ("Bearer sesame", 200, ""),
            ("bearer sesame", 200, ""),
        ):
            headers = {"Authorization": header}
            response = client.post("/predict", json=body, headers=headers)
            assert response.status_code == status
            assert detail in response.text
        assert client.post("/predict", content="{").status_code == 401


def test_models_when_loaded_and_dropped_then_only_below_the_folder(models, tmp_path):
    folder, outside = tmp_path / "models", tmp_path / "outside"
    models["labels"].save_pretrained(folder / "one")
    models["labels"].save_pretrained(outside)
    found = {"models_folder": folder, "backbone": models["labels"].model}
    with served({"labels": models["labels"]}, **found) as client:
        place = {"name": "new", "directory": "one"}
        response = client.post("/models", json=place)
        assert (response.status_code, response.json()["name"]) == (201, "new")
        texts = TEXTS[:4]
        assert (
            ask(client, "new", texts)["predictions"]
            == ask(client, "labels", texts)["predictions"]
        )
        odd = ("clf\0", "a" * 5000)
        for directory in ("../outside", str(outside), "nothing", *odd):
            response = client.post("/models", json=place | {"directory": directory})
            assert response.status_code == 404
        response = client.post("/models", json=place | {"directory": "."})
        assert response.status_code == 400
        assert str(folder) not in response.text
        assert client.delete("/models/new").status_code == 204
        assert client.delete("/models/new").status_code == 404
        assert [each["name"] for each in client.get("/models").json()] == ["labels"]


@pytest.mark.parametrize("name", ["..", "a/b", "", "a" * 101, "a\n"])
def test_models_when_a_name_cannot_be_asked_for_then_refused(name, client):
    response = client.post("/models", json={"name": name, "directory": "one"})
    assert response.status_code == 422
    assert "name must be 1 to 100 printable characters" in response.text


def test_app_when_it_is_started_again_then_answers(models):
    app = create_app({"labels": models["labels"]}, isolate=False)
    for _ in range(2):
        with TestClient(app) as client:
            response = client.post("/predict", json={"texts": ["a"]})
            assert response.status_code == 200


@pytest.mark.parametrize("token", ["", "tökén", "two words", 5])
def test_create_app_when_a_token_cannot_be_sent_then_refused(token):
    with pytest.raises(ValueError, match="'token' parameter must be None, or ASCII"):
        create_app({}, token=token)


def test_models_when_there_is_no_folder_then_none_is_loaded_or_dropped(client):
    place = {"name": "new", "directory": "one"}
    assert client.post("/models", json=place).status_code == 403
    assert client.delete("/models/labels").status_code == 403


def test_ready_when_the_server_has_stopped_then_not(models):
    app = create_app({"labels": models["labels"]}, isolate=False)
    with TestClient(app) as client:
        assert client.get("/ready").status_code == 200
    response = TestClient(app).get("/ready")  # without its lifespan
    assert (response.status_code, response.json()) == (503, {"ready": False})


def test_hosts_when_limited_then_others_are_refused(models):
    one = {"labels": models["labels"]}
    with served(one, allowed_hosts=["testserver"]) as client:
        assert client.get("/health").status_code == 200
        assert client.get("/health", headers={"Host": "a.com"}).status_code == 400


def test_page_when_opened_then_fetches_nothing_from_elsewhere(client):
    response = client.get("/")
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    parts = [client.get(path).text for path in ("/", "/page.js", "/page.css")]
    assert not [part for part in parts if "http" in part.lower()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_texts": 0}, "'batch_texts' parameter must be a positive integer"),
        ({"wait_seconds": "a"}, "'wait_seconds' parameter must be a positive number"),
        ({"request_texts": 2000}, "must be at most 'queue_texts'"),
    ],
)
def test_create_app_when_a_limit_is_wrong_then_refused(options, message):
    with pytest.raises(ValueError, match=message):
        create_app({}, **options)


@pytest.mark.parametrize("models", [None, 3, [SKTuningClassifier()]])
def test_create_app_when_models_have_no_names_then_refused(models):
    with pytest.raises(TypeError, match="'models' parameter must be a dict of names"):
        create_app(models)


def test_create_app_when_two_models_have_one_name_then_refused(tmp_path):
    with pytest.raises(ValueError, match="Two models are called 'same'"):
        create_app([tmp_path / "a" / "same", tmp_path / "b" / "same"])


@pytest.mark.parametrize(
    ("name", "source", "error", "message"),
    [
        ("a", ".", ValueError, "is no model"),
        ("a", "nowhere", ValueError, "There is no directory 'nowhere'"),
        ("a", SKTuningClassifier(), TypeError, "must be a fitted estimator"),
        ("a", 3, TypeError, "must be a fitted estimator"),
        ("a/b", ".", ValueError, "name must be 1 to 100 printable characters"),
        (1, ".", ValueError, "name must be 1 to 100 printable characters"),
    ],
)
def test_create_app_when_a_model_is_none_then_refused(
    name, source, error, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        create_app({name: source})


@pytest.fixture
def server(models, tmp_path):
    """Start `sksemantic serve`; return its process and its address."""
    models["labels"].save_pretrained(tmp_path / "labels", backbone=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sksemantic", "serve", tmp_path / "labels"]
    command += ["--port", str(port), "--wait-seconds", "1"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log)
    url = f"http://127.0.0.1:{port}"
    while not is_ready(url):
        assert process.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.1)
    yield process, url
    process.kill()
    process.wait()


def is_ready(url):
    """Whether a server answers."""
    try:
        with urlopen(f"{url}/ready"):
            return True
    except OSError:
        return False


def ask_over(url):
    """Return the status of a request through a socket, and the predictions."""
    body = json.dumps({"texts": TEXTS[:2]}).encode()
    request = Request(f"{url}/predict", body, {"Content-Type": "application/json"})
    try:
        with urlopen(request) as response:
            return response.status, json.load(response)["predictions"]
    except HTTPError as error:
        return error.code, None


@pytest.mark.slow
def test_serve_when_it_is_told_to_stop_then_answers_first(server, models):
    process, url = server
    again = subprocess.run(process.args, capture_output=True, text=True)
    assert again.returncode == 1  # the port is taken
    assert "The server has not started" in again.stderr
    threading.Timer(0.3, process.terminate).start()  # while the request waits
    assert ask_over(url) == (200, models["labels"].predict(TEXTS[:2]).tolist())
    process.wait(timeout=30)
    assert not is_ready(url)
