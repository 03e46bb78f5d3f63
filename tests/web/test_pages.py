"""The pages as files: who gets which, with which headers. What they do in a browser is tried in tests/pages."""

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests import tiny
from tests.oip import assert_problem
from tests.process.keys import write_keys
from tests.web.conftest import Serve

STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
FILES = {
    "main.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "redoc.standalone.js": "text/javascript; charset=utf-8",
}
PAGES = {"/": "<title>Onnicorn</title>", "/docs": "swagger-ui-bundle.js", "/redoc": "redoc.standalone.js"}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A repository of one model."""
    return tiny.repository(tmp_path / "models", double=tiny.double())


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/plain", ""])
def test_a_client_that_does_not_ask_for_a_page_is_told_that_the_service_is_alive(
    client: TestClient, accept: str
) -> None:
    answer = client.get("/", headers={"Accept": accept})
    assert (answer.status_code, answer.json(), answer.headers["vary"]) == (200, {"status": "alive"}, "Accept")


@pytest.mark.parametrize("accept", [*BROWSER.values(), "text/html", "Text/HTML;q=0.9, application/json"])
def test_a_browser_gets_the_page(client: TestClient, accept: str) -> None:
    answer = client.get("/", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (answer.headers["vary"], "<title>Onnicorn</title>" in answer.text) == ("Accept", True)


@pytest.mark.parametrize(("path", "content"), PAGES.items())
def test_a_page_may_do_little(client: TestClient, path: str, content: str) -> None:
    answer = client.get(path, headers=BROWSER)
    assert content in answer.text
    headers = {name: answer.headers[name] for name in ("x-content-type-options", "referrer-policy", "cache-control")}
    assert headers == {
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }
    assert answer.headers["x-request-id"]


def test_the_policy_of_our_own_page_is_strict_and_those_of_the_others_differ_by_what_they_need(
    client: TestClient,
) -> None:
    policies = {path: client.get(path, headers=BROWSER).headers["content-security-policy"] for path in PAGES}
    loose = STRICT.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
    assert policies == {"/": STRICT, "/docs": loose, "/redoc": f"{loose}; worker-src blob:"}


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_no_script_or_style_of_its_own_and_relative_addresses_only(client: TestClient, path: str) -> None:
    text = client.get(path, headers=BROWSER).text
    assert re.findall(r"<style|<script(?![^>]* src=)| style=| on\w+=", text) == []
    addresses = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert [address for address in addresses if address.startswith("/") or ":" in address] == []
    for address in addresses:
        if address.startswith("static/"):
            assert client.get(f"/{address}").status_code == 200


@pytest.mark.parametrize(("name", "media_type"), FILES.items())
def test_a_file_is_sent_once_and_then_known_by_its_tag(client: TestClient, name: str, media_type: str) -> None:
    first = client.get(f"/static/{name}")
    assert (first.status_code, first.headers["content-type"], bool(first.content)) == (200, media_type, True)
    again = client.get(f"/static/{name}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    other = client.get(f"/static/{name}", headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, first.content)


def test_a_page_is_known_by_its_tag_too(client: TestClient) -> None:
    tag = client.get("/", headers=BROWSER).headers["etag"]
    assert client.get("/", headers=BROWSER | {"If-None-Match": f'W/"x", {tag}'}).status_code == 304
    assert client.get("/", headers={"If-None-Match": tag}).json() == {"status": "alive"}


def test_redoc_shows_no_picture_from_elsewhere(client: TestClient) -> None:
    assert "cdn.redoc.ly" not in client.get("/static/redoc.standalone.js").text


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/static/main.js"])
def test_a_head_has_no_body(client: TestClient, path: str) -> None:
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/static/main.js"])
def test_pages_are_only_read(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert_problem(answer, 405, "method_not_allowed", f"{path} does not know {method}; it knows GET")
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize(
    "name", ["nothing.js", "pages.py", "%2E%2E", "..%2Fpages.py", "%2Fetc%2Fpasswd", "", "main.js/", "x" * 5000]
)
def test_there_is_no_other_file(client: TestClient, name: str) -> None:
    assert_problem(client.get(f"/static/{name}"), 404, "not_found")


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/static/main.js"])
def test_without_pages_their_addresses_are_as_unknown_as_any_other(serve: Serve, small: Path, path: str) -> None:
    with serve(small, http={"pages": False}) as client:
        assert_problem(client.get(path), 404, "not_found", f"there is nothing at {path}")
        assert client.get("/", headers=BROWSER).json() == {"status": "alive"}


def test_pages_lie_below_the_prefix_of_an_ingress(serve: Serve, small: Path) -> None:
    with serve(small, http={"root_path": "/ml"}) as client:
        assert client.get("/ml/", headers=BROWSER).text == client.get("/", headers=BROWSER).text
        assert client.get("/ml/static/main.js").status_code == client.get("/ml/docs").status_code == 200


def test_pages_need_no_key_and_what_they_ask_for_does(serve: Serve, small: Path, tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys.toml", {"caller": ("infer", "onk_caller")})
    with serve(small, access={"keys": str(keys)}) as client:
        for path in (*PAGES, "/static/main.js"):
            assert client.get(path, headers=BROWSER).status_code == 200
        for path in ("/v2", "/openapi.json", "/v2/models/stats", "/statics"):
            assert_problem(client.get(path), 401, "unauthenticated")
        assert_problem(client.post("/docs"), 401, "unauthenticated")


def test_what_pages_answer_is_counted_by_their_routes(serve: Serve, small: Path) -> None:
    with serve(small) as client:
        for path in ("/docs", "/redoc", "/static/main.js", "/static/nothing"):
            client.get(path)
        client.get("/", headers=BROWSER)
        text = client.get("/metrics").text
    counted = re.findall(
        r'onnicorn_http_requests_total\{method="GET",route="(/(?:docs|redoc|static.*?)?)",status="(\d+)"', text
    )
    assert {*counted} >= {
        ("/", "200"),
        ("/docs", "200"),
        ("/redoc", "200"),
        ("/static/{name}", "200"),
        ("/static/{name}", "404"),
    }


def test_pages_are_no_part_of_the_api(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert [path for path in paths if path.startswith(("/docs", "/redoc", "/static"))] == []
    assert paths["/"]["get"]["operationId"] == "alive__get"
