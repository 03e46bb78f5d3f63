"""The paths that run models, which are looked up without a router."""

import re
from typing import Final, NamedTuple

INFER: Final = "infer"
ROUTE: Final = "/v2/models/{model_name}/infer"
VERSION_ROUTE: Final = "/v2/models/{model_name}/versions/{model_version}/infer"
PREDICT: Final = "predict"
PREDICT_ROUTE: Final = "/v1/models/{model_name}:predict"
PREDICT_VERSION_ROUTE: Final = "/v1/models/{model_name}/versions/{model_version}:predict"
INFER_STREAM: Final = "infer_stream"
STREAM_ROUTE: Final = "/v2/models/{model_name}/infer_stream"
STREAM_VERSION_ROUTE: Final = "/v2/models/{model_name}/versions/{model_version}/infer_stream"
ROUTES: Final = (ROUTE, VERSION_ROUTE, PREDICT_ROUTE, PREDICT_VERSION_ROUTE, STREAM_ROUTE, STREAM_VERSION_ROUTE)
_V2: Final = r"/v2/models/([^/]+)(?:/versions/([^/]+))?"
_V1: Final = r"/v1/models/([^/:]+)(?:/versions/([^/:]+))?"
# The most frequent first.
_PATHS: Final = (
    (re.compile(f"{_V2}/infer"), INFER, ROUTE, VERSION_ROUTE),
    (re.compile(f"{_V1}:predict"), PREDICT, PREDICT_ROUTE, PREDICT_VERSION_ROUTE),
    (re.compile(f"{_V2}/infer_stream"), INFER_STREAM, STREAM_ROUTE, STREAM_VERSION_ROUTE),
)


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
