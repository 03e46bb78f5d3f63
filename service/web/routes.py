"""The paths that run models, which are looked up without a router."""

import re
from typing import Final, NamedTuple

INFER: Final = "infer"
ROUTE: Final = "/v2/models/{model_name}/infer"
VERSION_ROUTE: Final = "/v2/models/{model_name}/versions/{model_version}/infer"
ROUTES: Final = (ROUTE, VERSION_ROUTE)
# The most frequent first.
_PATHS: Final = ((re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer"), INFER, ROUTE, VERSION_ROUTE),)


class Asked(NamedTuple):
    """What a path asks for; `route` is its template, `verb` its last word."""

    model: str
    version: str | None
    route: str
    verb: str


def inference(path: str) -> Asked | None:
    """None for any other path."""
    for pattern, verb, route, version_route in _PATHS:
        match = pattern.fullmatch(path)
        if match is not None:
            model, version = match.groups()
            return Asked(model, version, route if version is None else version_route, verb)
    return None
