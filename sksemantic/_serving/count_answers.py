"""Every answer is counted, whoever gives it."""

from typing import Any

from sksemantic._serving.messages import EXPLAIN, PREDICT, PREDICT_PROBA
from sksemantic._serving.metrics import Metrics

_ENDPOINTS = {f"/{name}": name for name in (PREDICT, PREDICT_PROBA, EXPLAIN, "models")}


class CountAnswers:
    """ASGI middleware: answers are counted by endpoint and status."""

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self._app = app
        self._requests = metrics.requests

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, and note the status of its answer."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if path.startswith("/models/"):
            path = "/models"
        endpoint = _ENDPOINTS.get(path)
        if scope["type"] != "http" or endpoint is None:
            await self._app(scope, receive, send)
            return
        status = 500  # of an error that nobody has answered

        async def noted(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            self._requests.labels(endpoint, status).inc()
