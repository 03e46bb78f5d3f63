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
STREAMS: Final = (STREAM_ROUTE, STREAM_VERSION_ROUTE)
SINGLES: Final = (ROUTE, VERSION_ROUTE, PREDICT_ROUTE, PREDICT_VERSION_ROUTE)
ROUTES: Final = (*SINGLES, *STREAMS)
EMBEDDINGS: Final = "embeddings"
EMBEDDINGS_ROUTE: Final = "/v1/embeddings"
_MODEL: Final = r"/models/([^/]+)(?:/versions/([^/]+))?"
# The most frequent first.
_PATHS: Final = (
    (re.compile(f"/v2{_MODEL}/infer"), INFER, ROUTE, VERSION_ROUTE),
    (re.compile(f"/v1{_MODEL}:predict"), PREDICT, PREDICT_ROUTE, PREDICT_VERSION_ROUTE),
    (re.compile(f"/v2{_MODEL}/infer_stream"), INFER_STREAM, STREAM_ROUTE, STREAM_VERSION_ROUTE),
)


class Asked(NamedTuple):
    """What a path asks for: `route` is its template, `verb` its last word. `model` is "" where the body names it."""

    model: str
    version: str | None
    route: str
    verb: str


_EMBEDDINGS: Final = Asked("", None, EMBEDDINGS_ROUTE, EMBEDDINGS)


def inference(path: str) -> Asked | None:
    """None for any other path."""
    for pattern, verb, route, version_route in _PATHS:
        match = pattern.fullmatch(path)
        if match is not None:
            model, version = match.groups()
            return Asked(model, version, route if version is None else version_route, verb)
    return _EMBEDDINGS if path == EMBEDDINGS_ROUTE else None
