"""The pages for people: what is served and how it does, and the API as Swagger UI and as ReDoc show it.

They hold no data, so nobody needs a key for them: whatever they show, the browser asks the API for. Nothing comes from
another origin, and their addresses are relative, so that they work below any path prefix.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request, Response

from service.errors import NotFound
from service.quoting import shorten
from service.web.answers import answer
from service.web.health import ALIVE

# A page runs scripts, styles and requests of its own origin only, and nobody frames it.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_STYLES: Final = ("style-src 'self'", "style-src 'self' 'unsafe-inline'")
_POLICIES: Final[Mapping[str, str]] = {
    # It writes styles into the page ...
    "docs.html": _POLICY.replace(*_STYLES),
    # ... and so does this, which searches in a worker that it makes of its own text, too.
    "redoc.html": _POLICY.replace(*_STYLES) + "; worker-src blob:",
}
_MEDIA_TYPES: Final[Mapping[str, str]] = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}
_FOREIGN: Final = ("swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js")
# Under its menu ReDoc shows a picture from its makers' network. Where there is none it leaves it out.
_PICTURE: Final = (b"https://cdn.redoc.ly/redoc/logo-mini.svg", b"data:,")


@dataclass(frozen=True)
class Asset:
    """A file as it is sent: asked for again with its tag, only that it is the same."""

    content: bytes
    headers: Mapping[str, str]

    def answer(self, request: Request) -> Response:
        if self.headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=self.headers)
        return Response(self.content, headers=self.headers)


def router() -> APIRouter:
    """To be asked before the router of health, whose `/` it takes over."""
    routes = APIRouter(include_in_schema=False)
    assets = _assets()

    @routes.get("/")
    async def front(request: Request) -> Response:
        """KServe's clients ask whether it is alive; a browser is shown the page."""
        is_browser = "text/html" in request.headers.get("accept", "").lower()
        response = assets["index.html"].answer(request) if is_browser else answer(200, ALIVE)
        response.headers["vary"] = "Accept"
        return response

    @routes.get("/docs")
    async def docs(request: Request) -> Response:
        return assets["docs.html"].answer(request)

    @routes.get("/redoc")
    async def redoc(request: Request) -> Response:
        return assets["redoc.html"].answer(request)

    @routes.get("/static/{name}")
    async def static(request: Request, name: str) -> Response:
        if name not in assets:
            raise NotFound(f"there is no file {shorten(name)} among those of the pages")
        return assets[name].answer(request)

    return routes


@cache
def _assets() -> Mapping[str, Asset]:
    """Read once, by the master where there is one: its workers share them."""
    ours = files("service.web") / "static"
    theirs = files("fastapi_offline") / "static"
    found = {file.name: file.read_bytes() for file in ours.iterdir()}
    found |= {name: (theirs / name).read_bytes().replace(*_PICTURE) for name in _FOREIGN}
    return {name: _asset(name, content) for name, content in found.items()}


def _asset(name: str, content: bytes) -> Asset:
    return Asset(
        content,
        {
            "content-type": f"{_MEDIA_TYPES[name.rpartition('.')[2]]}; charset=utf-8",
            "etag": f'"{sha256(content).hexdigest()[:32]}"',
            # Kept, and asked for each time: after a rollout nobody sees half of the old pages.
            "cache-control": "no-cache",
            "content-security-policy": _POLICIES.get(name, _POLICY),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
        },
    )
