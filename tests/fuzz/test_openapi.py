"""What /openapi.json says is true: requests are made up from it, and their answers held against it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from service.settings import Settings
from service.web.app import create_app
from tests import tiny
from tests.fuzz.conftest import EXAMPLES, TRIED


def our_mistake(context: Any, response: Any, case: Any) -> None:
    """A timeout that is made up is nearly always over too soon: 503 and 504 are no mistakes."""
    assert response.status_code != 500


CHECKS: Final = [
    our_mistake,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
HERE: Final = "http://testserver"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[TestClient]:
    models = {"double": tiny.double(), "add_sub": tiny.add_sub(), "words": tiny.identity("BYTES")}
    repository = tiny.repository(tmp_path_factory.mktemp("models"), **models)
    app = create_app(Settings(repository={"path": str(repository)}, cache={"dir": str(cache_dir)}))
    with TestClient(app, base_url=HERE) as client:
        yield client


def test_every_operation_answers_as_it_says(client: TestClient) -> None:
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        _hold(operation, client)


def _hold(operation: Any, client: TestClient) -> None:
    def check(case: Any) -> None:
        case.validate_response(client.request(**_as_written(case)), checks=CHECKS)
        TRIED["requests by the OpenAPI document"] += 1

    made_up: Any = given(operation.as_strategy())
    quick: Any = settings(max_examples=EXAMPLES // 20 + 10, suppress_health_check=list(HealthCheck))
    quick(made_up(check))()
    json = operation.definition.raw.get("requestBody", {}).get("content", {}).get("application/json", {})
    if "example" in json:
        check(operation.Case(body=json["example"], media_type="application/json"))


def _as_written(case: Any) -> dict[str, Any]:
    """For the client of the tests, which has another name for a body than the one that schemathesis knows."""
    names = {"data": "content"}
    asked = case.as_transport_kwargs(base_url=HERE).items()
    return {names.get(name, name): value for name, value in asked if name != "cookies"}
