"""Who may call what: every request but those for health and pages carries the key of a client whose scopes allow it.

That is looked at before anything could tell whether a path or a model exists.
"""

from collections.abc import Callable, Iterable
from typing import Final

from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Request

from service.access import NOBODY, Clients, Scope
from service.errors import Forbidden, Unauthenticated
from service.web.records import record_of

# A balancer has no key, and learns no more than whether to send requests here.
_HEALTH: Final = frozenset({"/", "/v2/health/live", "/v2/health/ready"})
# They hold no data: what they show they ask for, with the key of whoever looks at them.
_PAGES: Final = frozenset({"/docs", "/redoc"})
_STATIC: Final = "/static/"
_INDEX: Final = "/v2/repository/index"
_MODELS: Final = ("/v2/models/", "/v1/models/", "/v1/embeddings")
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_BEARER: Final = b"bearer "


def scope_for(method: str, path: str) -> Scope | None:
    """What a request needs; None where nobody needs a key. What is not known here needs the most."""
    if path in _HEALTH:
        return None
    if method in _READING and (path in _PAGES or path.startswith(_STATIC)):
        return None
    if method in _READING or path == _INDEX:
        return Scope.METADATA
    return Scope.INFER if path.startswith(_MODELS) else Scope.ADMIN


class Guests:
    """Who is known, by generation: staged with its models, and in force from the moment in which they are served.

    `serving` says which generation that is; it is asked for every request.
    """

    def __init__(self, serving: Callable[[], int]) -> None:
        self._serving = serving
        self._staged: dict[int, Clients] = {}

    def known(self) -> Clients:
        return self._staged.get(self._serving(), NOBODY)

    def stage(self, generation: int, clients: Clients | None) -> None:
        """May be called in any thread."""
        self._staged[generation] = clients or NOBODY

    def forget_before(self, generation: int) -> None:
        for number in [number for number in list(self._staged) if number < generation]:
            del self._staged[number]


class Guard:
    """`known` says who may call at this moment. Who may not gets our own errors, raised."""

    def __init__(self, app: ASGIApp, known: Callable[[], Clients]) -> None:
        self.app = app
        self._known = known

    async def __call__(self, scope: Request, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (needed := scope_for(scope["method"], scope["path"])):
            self._check(scope, needed)
        await self.app(scope, receive, send)

    def _check(self, scope: Request, needed: Scope) -> None:
        """Raises Unauthenticated or Forbidden. The name of who calls, never the key, is put on record."""
        clients = self._known()
        name = _recognise(clients, scope["headers"])
        record_of(scope).client = name
        if needed not in (scopes := clients.scopes(name)):
            allowed = " and ".join(sorted(scopes))
            raise Forbidden(f"this needs a key with the scope {needed!s}; the keys of {name!r} have {allowed}")


def may_infer(clients: Clients, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Would a request with these headers be let through to run a model?"""
    try:
        return Scope.INFER in clients.scopes(_recognise(clients, headers))
    except Unauthenticated:
        return False


def _recognise(clients: Clients, headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Of several keys any may be known: what stands in front of us may use `Authorization` for its own."""
    has_key = False
    for header, value in headers:
        if header == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            key = value[len(_BEARER) :].strip()
        elif header == b"x-api-key":
            key = value
        else:
            continue
        has_key = True
        if name := clients.of(key):
            return name
    if has_key:
        raise Unauthenticated("the API key that was sent is not known here")
    raise Unauthenticated("an API key is needed: send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
