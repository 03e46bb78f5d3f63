"""The first thing an operator sees of a service that is up: where it is, what it serves, and a request that works."""

import shlex

import orjson
import structlog

from service.engine.catalogue import Catalogue
from service.knobs import Http
from service.settings import Settings
from service.web.examples import example

log = structlog.get_logger()

# What a terminal still shows as a line that one would copy.
_MAX_COMMAND = 2000


def announce(settings: Settings, catalogue: Catalogue) -> None:
    """One log line; on a terminal the command stands by itself below it."""
    models = [f"{model.name}/{model.version}" for model in catalogue.models]
    hint = {"try_it": command} if (command := curl(settings.http, catalogue, bool(settings.access.keys))) else {}
    log.info("ready", api=settings.http.bind, ops=settings.ops.bind, models=models, **hint)


def curl(http: Http, catalogue: Catalogue, needs_key: bool = False) -> str | None:
    """A command that runs the first model, or at least describes it; None where there is no model.

    Where it needs a key the reader has to put one in: we know none.
    """
    if not catalogue.models:
        return None
    model = catalogue.resolve(catalogue.names[0])
    where = _target(http, f"/v2/models/{model.name}")
    if needs_key:
        where = f"-H 'X-API-Key: KEY' {where}"
    body = example(model)
    if body is None:
        return f"curl -s {where}"
    command = f"curl -s {where}/infer -d {shlex.quote(orjson.dumps(body).decode())}"
    return command if len(command) <= _MAX_COMMAND else f"curl -s {where}"


def _target(http: Http, path: str) -> str:
    """As curl wants it: an address that can be called, where the service listens on all."""
    if http.bind.startswith("unix:"):
        return f"--unix-socket {http.bind.removeprefix('unix:')} http://localhost{http.root_path}{path}"
    host, _, port = http.bind.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104
    return f"http://{host}:{port}{http.root_path}{path}"
