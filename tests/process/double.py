"""The model that most of these tests serve: where it lies, requests for it, and the answer."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import tiny
from tests.oip import Json, tensor
from tests.process.conftest import Service
from tests.process.wire import Wire, request, wire

INFER = "/v2/models/double/infer"
ROUTE = "/v2/models/{model_name}/infer"
ONES: Json = {"inputs": [tensor("x", "FP32", [1, 4], [1, 1, 1, 1])]}
BODY = json.dumps(ONES).encode()
TWOS = [2.0, 2.0, 2.0, 2.0]


def serve_double(folder: Path) -> Path:
    """A repository with nothing else in it."""
    return tiny.repository(folder / "models", double=tiny.double())


def golden_sample(*expected: float) -> str:
    """A recorded run on ones, as JSON; right if twos are expected."""
    return json.dumps(ONES | {"outputs": [tensor("y", "FP32", [1, 4], expected)]})


def golden_file(repository: Path) -> Path:
    """Where a sample may be written: its directory is there, the file is not."""
    directory = repository / "double" / "1" / "golden"
    directory.mkdir()
    return directory / "sample.json"


def doubled(service: Service, model: str = "double", prefix: str = "") -> list[float]:
    """What the model answers to ones, over a connection of its own."""
    answer = service.post(f"{prefix}/v2/models/{model}/infer", ONES)
    assert answer.status_code == 200, answer.content
    data: list[float] = answer.json()["outputs"][0]["data"]
    return data


@contextmanager
def half_a_request(service: Service) -> Iterator[Wire]:
    """A worker has begun with the request and waits for its body."""
    with wire(service.api) as connection:
        connection.send(request("POST", INFER, BODY, "Expect: 100-continue").removesuffix(BODY))
        assert connection.answer(has_body=False).status_code == 100
        connection.send(BODY[:10])
        yield connection
