"""What is asked by which address."""

from importlib.resources import files
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from sksemantic._serving.engine import WorkerDied
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
    Texts,
)
from sksemantic._serving.server import Server

_PAGE = {"/": "text/html", "/page.js": "text/javascript", "/page.css": "text/css"}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


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


def model_routes(server: Server) -> APIRouter:
    """Return what models are asked by."""
    router = APIRouter()

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


def management_routes(server: Server) -> APIRouter:
    """Return what tells of the models, and changes which there are."""
    router = APIRouter()

    @router.get("/models")
    async def models() -> list[ModelFacts]:
        """List the models."""
        return [*server.engine.models.values()]

    @router.post("/models", status_code=201)
    async def load(place: Place) -> ModelFacts:
        """Load a model, in place of one of the same name."""
        directory = server.directory(place)
        try:
            return await server.engine.load(place.name, str(directory))
        except WorkerDied as exc:
            raise HTTPException(503, "The worker was lost while loading.") from exc
        except Exception as exc:
            raise HTTPException(400, str(exc)) from exc

    @router.delete("/models/{name}", status_code=204)
    async def drop(name: str) -> None:
        """Drop a model."""
        if server.folder is None:
            raise HTTPException(403, "This server was started without models_folder.")
        if name not in server.engine.models:
            raise HTTPException(404, f"There is no model {name!r}.")
        await server.engine.drop(name)

    @router.get("/metrics")
    async def metrics() -> Response:
        """Return counters in Prometheus' text format."""
        server.metrics.queue_texts.set(server.batcher.n_texts)
        server.metrics.models.set(len(server.engine.models))
        server.metrics.worker_restarts.set(server.engine.n_restarts)
        return Response(server.metrics.text(), media_type="text/plain; version=0.0.4")

    return router
