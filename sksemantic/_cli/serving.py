"""Models over HTTP: `sksemantic serve`."""

from contextlib import closing
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from sksemantic._cli.errors import UsageError, WorkError
from sksemantic._cli.options import Serving

# Addresses that this machine alone reaches, and what it is called there.
_LOOPBACK = {
    "127.0.0.1": ["127.0.0.1", "localhost"],
    "localhost": ["localhost"],
    "::1": ["localhost", "[::1]"],
}

_NOT_STARTED = "The server has not started: see the messages above."


def run(
    models: list[str],
    *,
    host: str,
    port: int,
    allowed_hosts: list[str],
    access_log: bool,
    serving: Serving,
) -> None:
    """Serve until a signal ends it; what was asked by then is answered.

    Raises
    ------
    UsageError
        If a package is missing, or an argument is wrong.
    WorkError
        If a model cannot be loaded.
    """
    try:
        from sksemantic._serving.app import create_app
    except ImportError as exc:
        raise UsageError(str(exc)) from exc
    try:
        folder = serving.models_folder
        if folder is not None and not Path(folder).is_dir():
            raise ValueError(f"There is no directory {folder!r} of models.")
        known = _LOOPBACK.get(host, [])
        hosts = [*known, *allowed_hosts] or None
        app = create_app(models, allowed_hosts=hosts, **asdict(serving))
    except ValueError as exc:
        raise UsageError(str(exc)) from exc
    if host not in _LOOPBACK and not serving.token:
        typer.echo(
            f"Warning: whoever reaches {host} can ask these models. --token TOKEN "
            "lets in those alone who know it.",
            err=True,
        )
    import uvicorn.config

    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=access_log,
        log_config=_log_config(uvicorn.config.LOGGING_CONFIG),
        timeout_graceful_shutdown=int(serving.timeout_seconds) + 1,
    )
    server = uvicorn.Server(config)
    try:
        with closing(config.bind_socket()) as socket:  # before the models are loaded
            server.run([socket])
    except SystemExit as exc:  # uvicorn has said why
        raise WorkError(_NOT_STARTED) from exc
    finally:  # a second Ctrl-C leaves the worker at its work
        app.state.server.engine.close()
    if not server.started:
        raise WorkError(_NOT_STARTED)


def _log_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return uvicorn's, with our own messages among them: models loaded and dropped."""
    from sksemantic._serving.messages import LOG

    config = deepcopy(config)
    config["loggers"][LOG.name] = config["loggers"]["uvicorn"]
    return config
