"""A JSON answer, encoded by the codec that the tensors use."""

from typing import Any

import orjson
from starlette.responses import Response


def answer(status: int, document: Any) -> Response:
    return Response(orjson.dumps(document), status, media_type="application/json")
