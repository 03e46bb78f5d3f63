"""Who gets through the guard, and how a generation's clients come into force."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send
from structlog.typing import EventDict

from service.access import Client, Clients, digest_of, new_key
from service.access import Scope as Allowed
from service.board import Board
from service.loading import first_generation
from service.seat import Seat
from service.settings import Settings
from service.telemetry.record import Record
from service.web.access import Guard, Guests, scope_for
from service.web.app import create_app
from service.web.middleware import Accounting, LastResort
from service.web.routes import ROUTES
from tests import tiny
from tests.oip import Json, assert_problem, tensor
from tests.unit.web.asgi import send_to

INFER, READ, ADMIN = "onk_infer", "onk_read", "onk_admin"
CLIENTS = Clients(
    clients={
        name: Client(scopes=frozenset({scope}), keys=(digest_of(key.encode()),))
        for name, scope, key in (
            ("caller", Allowed.INFER, INFER),
            ("reader", Allowed.METADATA, READ),
            ("keeper", Allowed.ADMIN, ADMIN),
        )
    }
)
ONES: Json = {"inputs": [tensor("x", "FP32", [1, 4], [1, 1, 1, 1])]}
LIVE = "/v2/health/live"
NO_KEY = "an API key is needed: send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
UNKNOWN_KEY = "the API key that was sent is not known here"


async def door(scope: Scope, receive: Receive, send: Send) -> None:
    """What the guard stands before."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def ask(
    method: str, path: str, *headers: tuple[str, str], known: Clients = CLIENTS
) -> tuple[int, str, dict[bytes, bytes], Record]:
    """The status, the sentence of a problem, the headers, and the record."""
    closed: list[Record] = []
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope = {"type": "http", "method": method, "path": path, "headers": raw}
    app = Accounting(LastResort(Guard(door, lambda: known)), closed.append)
    start, body = send_to(app, scope)
    sentence = json.loads(body["body"])["error"] if body["body"] else ""
    return start["status"], sentence, dict(start["headers"]), closed[0]


def status(method: str, path: str, *headers: tuple[str, str]) -> int:
    return ask(method, path, *headers)[0]


@pytest.mark.parametrize(
    "header",
    [
        ("authorization", f"Bearer {READ}"),
        ("authorization", f"bearer   {READ} "),
        ("authorization", f"BEARER {READ}"),
        ("x-api-key", READ),
    ],
)
def test_a_key_comes_in_either_header(header: tuple[str, str]) -> None:
    got, _, _, record = ask("GET", "/v2", header)
    assert (got, record.client) == (204, "reader")


@pytest.mark.parametrize("order", [1, -1])
def test_a_gateway_may_use_authorization_for_a_token_of_its_own(order: int) -> None:
    headers = [("authorization", "Bearer its.own.token"), ("x-api-key", READ)][::order]
    assert status("GET", "/v2", *headers) == 204


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ([], NO_KEY),
        ([("authorization", f"Basic {READ}")], NO_KEY),
        ([("authorization", READ)], NO_KEY),
        ([("cookie", READ)], NO_KEY),
        ([("x-api-key", "")], UNKNOWN_KEY),
        ([("x-api-key", f"Bearer {READ}")], UNKNOWN_KEY),
        ([("x-api-key", READ.upper())], UNKNOWN_KEY),
        ([("x-api-key", digest_of(READ.encode()))], UNKNOWN_KEY),
        ([("x-api-key", "\xff\xfe")], UNKNOWN_KEY),
        ([("authorization", "Bearer ")], UNKNOWN_KEY),
        ([("authorization", f"Bearer {READ}x")], UNKNOWN_KEY),
        ([("authorization", "Bearer x"), ("x-api-key", "y")], UNKNOWN_KEY),
    ],
)
def test_who_is_not_known_is_told_what_is_missing(headers: list[tuple[str, str]], sentence: str) -> None:
    got, said, sent, record = ask("GET", "/v2", *headers)
    assert (got, said, sent[b"www-authenticate"]) == (401, sentence, b"Bearer")
    assert (record.client, record.code, record.status) == ("", "unauthenticated", 401)


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", LIVE, None),
        ("GET", "/v2/health/ready", None),
        ("HEAD", LIVE, None),
        ("GET", LIVE + "/", Allowed.METADATA),
        ("GET", "/v2", Allowed.METADATA),
        ("GET", "/metrics", Allowed.METADATA),
        ("GET", "/docs", None),
        ("HEAD", "/redoc", None),
        ("GET", "/static/main.js", None),
        ("GET", "/static", Allowed.METADATA),
        ("POST", "/docs", Allowed.ADMIN),
        ("POST", "/static/main.js", Allowed.ADMIN),
        ("GET", "/openapi.json", Allowed.METADATA),
        ("GET", "/", None),
        ("GET", "/nothing", Allowed.METADATA),
        ("HEAD", "/v2/models/cat", Allowed.METADATA),
        ("OPTIONS", "/v2/models/cat/infer", Allowed.METADATA),
        ("GET", "/v1/models/cat", Allowed.METADATA),
        ("GET", "/v2/models/cat/infer", Allowed.METADATA),
        ("POST", "/v2/repository/index", Allowed.METADATA),
        ("POST", "/v2/models/cat/infer", Allowed.INFER),
        ("POST", "/v2/models/cat/versions/3/infer", Allowed.INFER),
        ("POST", "/v2/models/cat/infer_stream", Allowed.INFER),
        ("POST", "/v1/models/cat:predict", Allowed.INFER),
        ("POST", "/v1/models/cat/versions/3:predict", Allowed.INFER),
        ("GET", "/v1/models", Allowed.METADATA),
        ("POST", "/v1/embeddings", Allowed.INFER),
        ("POST", "/v2/repository/models/cat/load", Allowed.ADMIN),
        ("POST", "/v2/repository/models/cat/unload", Allowed.ADMIN),
        ("POST", "/v2/repository/index/", Allowed.ADMIN),
        ("DELETE", "/v2", Allowed.ADMIN),
        ("POST", "/nothing", Allowed.ADMIN),
        ("BREW", "/v2", Allowed.ADMIN),
    ],
)
def test_each_request_needs_one_scope(method: str, path: str, needed: Allowed | None) -> None:
    assert scope_for(method, path) == needed
    keys = {Allowed.INFER: INFER, Allowed.METADATA: READ, Allowed.ADMIN: ADMIN}
    got = {scope: status(method, path, ("x-api-key", key)) for scope, key in keys.items()}
    assert got == {scope: 204 if needed in (None, scope) else 403 for scope in keys}
    assert status(method, path) == (401 if needed else 204)


def test_who_may_not_is_told_the_scope_and_put_on_record() -> None:
    got, said, _, record = ask("POST", "/v2/models/cat/infer", ("x-api-key", READ))
    assert (got, said) == (403, "this needs a key with the scope infer; the keys of 'reader' have metadata")
    assert (record.client, record.code) == ("reader", "forbidden")


def test_what_is_no_request_passes() -> None:
    started: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        started.append(dict(scope))

    send_to(Guard(app, lambda: CLIENTS), {"type": "lifespan"})
    assert started == [{"type": "lifespan"}]


def test_clients_are_in_force_while_their_generation_is_served() -> None:
    serving = 0
    guests = Guests(lambda: serving)
    assert guests.known().clients == {}
    guests.stage(1, CLIENTS)
    assert guests.known().clients == {}
    serving = 1
    assert guests.known() is CLIENTS
    guests.stage(2, None)
    assert guests.known() is CLIENTS
    serving = 2
    guests.forget_before(2)
    assert guests.known().clients == {}
    serving = 1
    assert guests.known().clients == {}


RUN = (*ROUTES, "/v2/models/double/infer", "/v1/models/double:predict")


class House:
    """The app as one worker of a service, and the file that says who may call."""

    def __init__(self, folder: Path, **groups: Any) -> None:
        self.key, self.other = new_key(), new_key()
        self.file = folder / "keys.toml"
        self.write(self.key)
        models = tiny.repository(folder / "models", double=tiny.double(), failing=tiny.failing())
        self.settings = Settings(
            repository={"path": models}, cache={"dir": folder / "cache"}, access={"keys": self.file}, **groups
        )
        self.seat = Seat()
        self.seat.share(Board(slots=1), folder)
        self.seat.board.service.workers = 1
        first_generation(self.settings, 1).write(self.seat.manifest_of(1))
        self.seat.board.service.commit(1, 1)
        self.seat.take(self.seat.board.occupy())
        self.app = create_app(self.settings, self.seat)

    def write(self, *keys: str) -> None:
        listed = ", ".join(f'"{digest_of(key.encode())}"' for key in keys)
        self.file.write_text(f'[clients.cat]\nscopes = ["infer", "metadata"]\nkeys = [{listed}]\n')

    def enter(self) -> TestClient:
        return TestClient(self.app, headers={"Accept-Encoding": "identity"})


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_an_app_with_keys_asks_for_them_first(tmp_path: Path, records: list[EventDict]) -> None:
    house = House(tmp_path)
    with house.enter() as client:
        assert client.get("/v2/health/ready").json() == {"ready": True, "generation": 1, "reasons": []}
        for path in ("/v2/models/double/infer", "/v2/models/nobody/infer", "/nothing"):
            assert_problem(client.post(path, content=b"{"), 401, "unauthenticated", "X-API-Key")
        assert client.get("/v2/models", headers=bearer(house.key)).json() == {"models": ["double", "failing"]}
        assert_problem(client.get("/v2/models/nobody", headers=bearer(house.key)), 404, "model_not_found")
        answer = client.post("/v2/models/double/infer", json=ONES, headers={"X-API-Key": house.key})
        assert answer.status_code == 200
    told = [(record["status"], record.get("client")) for record in records if record["event"] == "request"]
    assert told == [(200, None), (401, None), (401, None), (401, None), (200, "cat"), (404, "cat"), (200, "cat")]


def test_a_respawned_worker_knows_whom_its_generation_knows_whatever_the_file_says_now(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.file.write_text("broken")
    with house.enter() as client:
        assert client.get("/v2", headers=bearer(house.key)).status_code == 200


def test_new_keys_come_into_force_with_their_generation(tmp_path: Path) -> None:
    house = House(tmp_path)
    service = house.seat.board.service
    with house.enter() as client:
        house.write(house.other)
        first_generation(house.settings, 2).write(house.seat.manifest_of(2))
        service.target = 2
        while house.seat.row.staged < 2:
            assert client.get("/v2", headers=bearer(house.other)).status_code == 401
        assert client.get("/v2", headers=bearer(house.key)).status_code == 200
        service.commit(2, 1)
        assert [client.get("/v2", headers=bearer(key)).status_code for key in (house.key, house.other)] == [401, 200]


def test_a_browser_asks_without_a_key_whether_it_may_call_and_can_read_that_it_needs_one(tmp_path: Path) -> None:
    origin = {"Origin": "https://a.example"}
    with House(tmp_path, http={"cors_origins": ["https://a.example"]}).enter() as client:
        asked = origin | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        allowed = client.options("/v2/models/double/infer", headers=asked)
        refused = client.get("/v2", headers=origin)
    assert (allowed.status_code, allowed.headers["Access-Control-Allow-Headers"]) == (200, "authorization")
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, "https://a.example")


def test_a_prefix_before_the_path_opens_nothing(tmp_path: Path) -> None:
    with House(tmp_path, http={"root_path": "/v2/health"}).enter() as client:
        assert client.get("/v2/health/v2").status_code == 401


def test_every_route_of_the_app_is_one_that_the_scopes_were_made_for(tmp_path: Path) -> None:
    """Who adds a route says here who may call it."""
    house = House(tmp_path, http={"admin": True})
    with house.enter() as client:
        paths = client.get("/openapi.json", headers=bearer(house.key)).json()["paths"]
    routes = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    needed = {(method, path): scope_for(method, path) for method, path in routes}
    assert {path for path, scope in needed.items() if scope is None} == {
        ("GET", "/"),
        ("GET", "/v2/health/live"),
        ("GET", "/v2/health/ready"),
    }
    assert {path for path, scope in needed.items() if scope is Allowed.ADMIN} == {
        ("POST", "/v2/repository/models/{model_name}/load"),
        ("POST", "/v2/repository/models/{model_name}/unload"),
    }
    assert {path for path, scope in needed.items() if path[0] != "GET" and scope is Allowed.METADATA} == {
        ("POST", "/v2/repository/index")
    }
    assert len(needed) > 15


def test_the_document_says_which_requests_need_a_key(tmp_path: Path) -> None:
    house = House(tmp_path)
    with house.enter() as client:
        document: Json = client.get("/openapi.json", headers=bearer(house.key)).json()
    assert document["components"]["securitySchemes"].keys() == {"bearer", "header"}
    assert document["openapi"] >= "3.1"
    assert {
        (path, method): [[*each.values()] for each in operation["security"]]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if path in (LIVE, "/v2", "/metrics", *RUN, "/v2/repository/index")
    } == {
        (LIVE, "get"): [],
        ("/v2", "get"): [[["metadata"]]] * 2,
        ("/metrics", "get"): [[["metadata"]]] * 2,
        ("/v2/repository/index", "post"): [[["metadata"]]] * 2,
        **{(path, "post"): [[["infer"]]] * 2 for path in RUN},
    }


def test_without_keys_nothing_stands_in_the_way(tmp_path: Path) -> None:
    models = tiny.repository(tmp_path / "models", double=tiny.double())
    app = create_app(Settings(repository={"path": models}, cache={"dir": tmp_path / "cache"}))
    with TestClient(app) as client:
        assert client.get("/v2", headers=bearer("nobody's")).status_code == 200
        document = client.get("/openapi.json").json()
    assert "securitySchemes" not in document["components"]
    assert not re.search('"security"', json.dumps(document))
