"""Requests that are too large are refused before they are read."""

from typing import Any

from starlette.responses import JSONResponse


class _TooLarge(Exception):
    pass


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
        told = dict(scope["headers"]).get(b"content-length", b"0")
        n_read = 0

        async def counted() -> Any:
            nonlocal n_read
            message = await receive()
            n_read += len(message.get("body", b""))
            if n_read > self._max_bytes:
                raise _TooLarge
            return message

        try:
            if told.isdigit() and int(told) > self._max_bytes:
                raise _TooLarge
            await self._app(scope, counted, send)
        except _TooLarge:
            detail = f"A request may have {self._max_bytes:,} bytes at most."
            await JSONResponse({"detail": detail}, 413)(scope, receive, send)
