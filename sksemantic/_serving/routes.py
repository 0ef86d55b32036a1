"""What is asked by which address."""

from importlib.resources import files
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Security
from fastapi.responses import PlainTextResponse, Response
from fastapi.routing import APIRoute

from sksemantic._serving.guard import BEARER
from sksemantic._serving.messages import (
    EXPLAIN,
    PREDICT,
    PREDICT_PROBA,
    ModelFacts,
)
from sksemantic._serving.schemas import (
    Explanations,
    Place,
    Predictions,
    Probabilities,
    Refusal,
    Texts,
)
from sksemantic._serving.server import Server

_PAGE = {"/": "text/html", "/page.js": "text/javascript", "/page.css": "text/css"}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


_MEANINGS = {
    400: "The model does not take these texts, or cannot be loaded.",
    401: "The token is missing or wrong.",
    403: "The server has no folder of models.",
    404: "There is no such model or directory.",
    413: "The request is larger than the server's limits.",
    422: "The body is not as described.",
    503: "The server is busy, or not ready; Retry-After says when to ask again.",
}


def open_routes(server: Server) -> APIRouter:
    """Return what is answered without a token."""
    router = APIRouter()

    @router.get("/health")
    async def health() -> dict[str, str]:
        """Say that the server runs."""
        return {"status": "ok"}

    @router.get("/ready")
    async def ready(response: Response) -> dict[str, bool]:
        """Say whether texts are answered: 200 or 503."""
        response.status_code = 200 if server.is_ready else 503
        return {"ready": server.is_ready}

    for path in _PAGE:
        router.get(path, include_in_schema=False)(_page(path))
    return router


def _page(path: str) -> Any:
    """Return what answers with a file of the page."""
    name = "index.html" if path == "/" else path.removeprefix("/")
    content = files("sksemantic").joinpath("_serving", "page", name).read_bytes()
    headers = {
        "Content-Security-Policy": _PAGE_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }

    async def page() -> Response:
        return Response(content, media_type=_PAGE[path], headers=headers)

    return page


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what the description of the API says of other answers."""
    return {
        status: {"model": Refusal, "description": _MEANINGS[status]}
        for status in statuses
    }


def model_routes(server: Server, route_class: type[APIRoute]) -> APIRouter:
    """Return what models are asked by."""
    router = APIRouter(
        route_class=route_class,
        dependencies=[Security(BEARER)],
        responses=_refusals(400, 401, 404, 413, 422, 503),
    )

    @router.post("/predict")
    async def predict(request: Request, texts: Texts) -> Predictions:
        """Predict labels or numbers."""
        facts, values = await server.answer(request, texts, PREDICT)
        return Predictions(model=facts.name, predictions=values)

    @router.post("/predict_proba")
    async def predict_proba(request: Request, texts: Texts) -> Probabilities:
        """Return the probability of each class."""
        facts, values = await server.answer(request, texts, PREDICT_PROBA)
        classes = facts.classes or []
        return Probabilities(model=facts.name, classes=classes, probabilities=values)

    @router.post("/explain")
    async def explain(request: Request, texts: Texts) -> Explanations:
        """Return the words of each text, and what each has to do with each class."""
        facts, values = await server.answer(request, texts, EXPLAIN)
        return Explanations(model=facts.name, explanations=values)

    return router


def management_routes(server: Server, route_class: type[APIRoute]) -> APIRouter:
    """Return what tells of the models, and changes which there are."""
    router = APIRouter(
        route_class=route_class,
        dependencies=[Security(BEARER)],
        responses=_refusals(401),
    )

    @router.get("/models")
    async def models() -> list[ModelFacts]:
        """List the models."""
        return [*server.engine.models.values()]

    changes = _refusals(400, 403, 404, 422, 503)

    @router.post("/models", status_code=201, responses=changes)
    async def load(place: Place) -> ModelFacts:
        """Load a model, in place of one of the same name."""
        return await server.load(place)

    @router.delete("/models/{name}", status_code=204, responses=_refusals(403, 404))
    async def drop(name: str) -> None:
        """Drop a model."""
        server.check_folder()
        if name not in server.engine.models:
            raise HTTPException(404, f"There is no model {name!r}.")
        await server.engine.drop(name)

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Return counters in Prometheus' text format."""
        server.metrics.queue_texts.set(server.batcher.n_texts)
        server.metrics.models.set(len(server.engine.models))
        return Response(server.metrics.text(), media_type="text/plain; version=0.0.4")

    return router
