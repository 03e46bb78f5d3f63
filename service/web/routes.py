"""The inference paths, which are looked up without a router."""

import re
from typing import Final, NamedTuple

ROUTE: Final = "/v2/models/{model_name}/infer"
VERSION_ROUTE: Final = "/v2/models/{model_name}/versions/{model_version}/infer"
_PATH: Final = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")


class Asked(NamedTuple):
    """What a path asks for; `route` is its template."""

    model: str
    version: str | None
    route: str


def inference(path: str) -> Asked | None:
    """None for any other path."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    model, version = match.groups()
    return Asked(model, version, ROUTE if version is None else VERSION_ROUTE)
