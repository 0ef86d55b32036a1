"""The web application: models are asked over HTTP, and their texts read together."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.middleware.trustedhost import TrustedHostMiddleware

from sksemantic._saved import check_saved
from sksemantic._serving.body_limit import BodyLimit
from sksemantic._serving.count_answers import CountAnswers
from sksemantic._serving.engine import Engine
from sksemantic._serving.guard import guarded_by
from sksemantic._serving.limits import Limits
from sksemantic._serving.routes import management_routes, model_routes, open_routes
from sksemantic._serving.schemas import NAME_RULE, is_name
from sksemantic._serving.server import Server
from sksemantic._version import __version__


def create_app(
    models: "Mapping[str, Any] | Sequence[str | Path]",
    *,
    token: str | None = None,
    models_folder: "str | Path | None" = None,
    allowed_hosts: "Iterable[str] | None" = None,
    device: str | None = None,
    backbone: str | None = None,
    isolate: bool = True,
    **limits: Any,
) -> FastAPI:
    """Return a web application that serves fitted estimators.

    Requests that come at about the same time are answered by common batches, whatever
    models they ask: see `predict_many`.

    Parameters
    ----------
    models : dict of str to estimator or directory, or list of directories
        Fitted estimators by the names they are asked by, or directories of saved ones,
        which are called as their directories are.
    token : str, default=None
        What clients send as ``Authorization: Bearer TOKEN``, to all but ``/``,
        ``/health``, ``/ready`` and ``/openapi.json``.
    models_folder : str or Path, default=None
        The folder below which models may be loaded while the server runs, by ``POST
        /models``, and whose models may be dropped. By default neither is allowed.
    allowed_hosts : iterable of str, default=None
        Names that clients may call the server by; others are answered by 400. By
        default all are.
    device : str, default=None
        Where models are loaded to; by default as each was saved.
    backbone : str, default=None
        Where the backbone is of models whose own is not found: they were fitted on one
        in a directory, and saved without it.
    isolate : bool, default=True
        Whether the models live in a process of their own. If it dies, it is started
        again, and what it was doing is answered by 503. A script that sets this up runs
        its server under ``if __name__ == "__main__":``.
    **limits : object
        ``batch_texts=256``, ``wait_seconds=0.005``, ``queue_texts=1024``,
        ``request_texts=256``, ``request_bytes=1048576``, ``timeout_seconds=30``.

    Returns
    -------
    fastapi.FastAPI
        For uvicorn, or any server of ASGI applications. Models are loaded when it
        starts.

    Raises
    ------
    TypeError, ValueError
        If a parameter is invalid, two models have one name, a directory holds no saved
        estimator, or an estimator is not fitted.
    """
    named = _by_name(models)
    for name, source in named.items():
        _check_model(name, source)
    engine = Engine(named, device, backbone, isolate=isolate)
    server = Server(engine, Limits(**limits), models_folder)
    app = FastAPI(
        title="sksemantic",
        version=__version__,
        lifespan=server.lifespan,
        docs_url=None,  # its page is fetched from elsewhere
        redoc_url=None,
    )
    app.state.server = server
    app.include_router(open_routes(server))
    guarded = guarded_by(_checked(token))
    app.include_router(model_routes(server, guarded))
    app.include_router(management_routes(server, guarded))
    app.add_exception_handler(RequestValidationError, _refusal)
    app.add_middleware(BodyLimit, max_bytes=server.limits.request_bytes)
    app.add_middleware(CountAnswers, metrics=server.metrics)
    if allowed_hosts is not None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*allowed_hosts])
    return app


def _by_name(models: Any) -> dict[str, Any]:
    """Return models by their names."""
    if isinstance(models, Mapping):
        named = [*models.items()]
    elif isinstance(models, str | Path):
        named = [(Path(models).resolve().name, models)]
    elif isinstance(models, list | tuple) and all(
        isinstance(each, str | Path) for each in models
    ):
        named = [(Path(each).resolve().name, each) for each in models]
    else:
        raise TypeError(
            "The 'models' parameter must be a dict of names and fitted estimators or "
            f"directories, or a list of directories. Got {models!r:.80} instead."
        )
    found = dict(named)
    if len(found) < len(named):
        names = [name for name, _ in named]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"Two models are called {twice!r}, as their directories are. Rename one "
            "directory, or pass create_app a dict of names and directories."
        )
    return found


def _check_model(name: Any, source: Any) -> None:
    """Refuse a model that could not be loaded, before a server starts."""
    if not is_name(name):
        raise ValueError(
            f"A model's name must be {NAME_RULE}. Got {name!r} instead: pass "
            "create_app a dict of names and directories."
        )
    if isinstance(source, str | Path):
        check_saved(source)
        return
    from sksemantic._base import BaseSKTuning  # it imports torch

    if not (isinstance(source, BaseSKTuning) and source.__sklearn_is_fitted__()):
        raise TypeError(
            f"The model {name!r} must be a fitted estimator of sksemantic, or the "
            f"directory of a saved one. Got {source!r} instead."
        )


def _checked(token: Any) -> str | None:
    """Return a token that clients can send, or None."""
    is_usable = isinstance(token, str) and token.isascii() and token.isprintable()
    if token is not None and not (is_usable and token.split() == [token]):
        raise ValueError(
            "The 'token' parameter must be None, or ASCII letters, digits and signs "
            "without spaces: others do not travel in a header."
        )
    return token


async def _refusal(request: Request, error: Exception) -> Response:
    """Return what is wrong with a request, without what it holds: that may be much."""
    assert isinstance(error, RequestValidationError)
    kind = request.headers.get("content-type", "")
    if "json" in kind:
        found = [_said(each) for each in error.errors()[:5]]
    else:
        found = [
            "The body must be JSON, with the header Content-Type: application/json"
        ]
    content = json.dumps({"detail": "; ".join(found)})  # in ASCII: anything was sent
    return Response(content, 422, media_type="application/json")


def _said(error: dict[str, Any]) -> str:
    """Return where something is wrong, and what."""
    if error["type"] == "json_invalid":
        reason = error.get("ctx", {}).get("error", "it ends too early")
        return f"The body is no JSON: {reason}, at character {error['loc'][-1]}."
    where = ".".join(map(str, error["loc"][1:]))
    what = error["msg"].removeprefix("Value error, ")
    return what if what.startswith(where) else f"{where}: {what}"
