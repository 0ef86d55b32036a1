"""Requests without the token are refused before anything else is looked at."""

import secrets
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

# For the description of the API alone: it reads no request.
BEARER = HTTPBearer(auto_error=False, description="The server's token, if it has one.")


def guarded_by(token: str | None) -> type[APIRoute]:
    """Return a class of routes that refuse requests without the token."""

    class GuardedRoute(APIRoute):
        """A route that looks at the token before it reads the body."""

        def get_route_handler(
            self,
        ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def check_and_handle(request: Request) -> Response:
                if token is not None:
                    _check(request.headers.get("authorization", ""), token)
                return await handle(request)

            return check_and_handle

    return GuardedRoute


def _check(header: str, token: str) -> None:
    """Refuse a header that does not hold the token."""
    scheme, _, given = header.partition(" ")
    if scheme.lower() != "bearer" or not given:
        detail = "A token is needed, in the header 'Authorization: Bearer TOKEN'."
    elif not secrets.compare_digest(given.strip().encode(), token.encode()):
        detail = "The token is wrong."
    else:
        return
    raise HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})
