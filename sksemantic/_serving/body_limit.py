"""Requests that are too large are refused before they are read."""

from typing import Any

from starlette.responses import JSONResponse


class BodyLimit:
    """ASGI middleware: a body of more bytes is answered by 413."""

    def __init__(self, app: Any, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, unless it says or shows that it is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        detail = f"A request may have {self._max_bytes:,} bytes at most."
        refusal = JSONResponse({"detail": detail}, 413, {"Connection": "close"})
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told) > self._max_bytes:
            await refusal(scope, receive, send)
            return
        n_read = 0

        async def counted() -> Any:
            """Read on, but nothing more once it is too much."""
            nonlocal n_read
            message = await receive()
            n_read += len(message.get("body", b""))
            if n_read > self._max_bytes and message["type"] == "http.request":
                return {"type": "http.request", "body": b"", "more_body": False}
            return message

        async def answered(message: Any) -> None:
            """Answer, or refuse what has become too large."""
            if n_read <= self._max_bytes:
                await send(message)
            elif message["type"] == "http.response.start":
                await refusal(scope, receive, send)

        await self._app(scope, counted, answered)
