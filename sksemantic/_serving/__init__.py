"""Serving fitted estimators over HTTP."""

from importlib.util import find_spec

_MISSING = [
    name
    for name in ("fastapi", "prometheus_client", "uvicorn")
    if find_spec(name) is None
]
if _MISSING:
    raise ImportError(
        f"A server needs {', '.join(_MISSING)}: pip install 'sksemantic[serve]'.",
        name=_MISSING[0],
    )
