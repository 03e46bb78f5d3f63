"""What a visitor sees while the service, or what stands before it, does not do what it should."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from service.access import new_key
from tests.pages.conftest import ALONE, Visit, visiting
from tests.pages.visitor import PERIOD, READY, complaints, execute, send, wait_for
from tests.process.conftest import Service, running
from tests.process.keys import write_keys

API, HEALTH = "**/v2/**", "**/v2/health/ready"
SORRY = "<html>Sorry</html>"


def test_a_service_that_does_not_answer_is_unreachable_until_it_does(visit: Visit) -> None:
    with visit("/", expected="ERR_INTERNET_DISCONNECTED") as page:
        page.clock.install()
        page.reload()
        wait_for(page, "/")
        page.context.set_offline(True)
        page.clock.run_for(PERIOD)
        expect(page.locator("#health")).to_have_text("unreachable")
        expect(page.get_by_role("alert")).to_have_text("The service does not answer.")
        page.context.set_offline(False)
        page.clock.run_for(PERIOD)
        expect(page.locator("#health")).to_have_text(re.compile("ready"))
        expect(page.locator("#notice")).to_be_empty()


def test_a_service_that_hangs_is_unreachable_until_it_does_not(visit: Visit) -> None:
    with visit("/") as page:
        page.clock.install()
        page.reload()
        wait_for(page, "/")
        page.route(HEALTH, lambda route: None)
        with page.expect_request(HEALTH):
            page.clock.run_for(PERIOD)
        page.clock.run_for(10_000)
        expect(page.locator("#health")).to_have_text("unreachable")
        page.unroute_all()
        page.clock.run_for(PERIOD)
        expect(page.locator("#health")).to_have_text(re.compile("ready"))


@pytest.mark.parametrize("status", [200, 502, 503])
def test_a_proxy_that_answers_in_its_own_words_is_told_from_the_service(visit: Visit, status: int) -> None:
    with visit("/", expected=f"{status} (") as page:
        page.clock.install()
        page.reload()
        wait_for(page, "/")
        page.route(API, lambda route: route.fulfill(status=status, content_type="text/html", body=SORRY))
        page.clock.run_for(PERIOD)
        expect(page.locator("#health")).to_have_text(re.compile(f"What stands before the service answers {status} "))
        expect(page.get_by_role("alert")).to_have_text(re.compile(f"answers {status} "))
        page.unroute_all()
        page.clock.run_for(PERIOD)
        expect(page.locator("#health")).to_have_text(re.compile("ready"))
        expect(page.locator("#notice")).to_be_empty()


def test_a_form_shows_whatever_comes_back(visit: Visit) -> None:
    with visit("/#/scalar/1") as page:
        page.route("**/infer", lambda route: route.fulfill(content_type="text/html", body=SORRY))
        button = page.get_by_role("button", name="Send")
        button.click()
        expect(page.get_by_role("group", name="The answer")).to_have_text(SORRY)
        expect(button).to_be_enabled()


def test_a_long_reason_leaves_room_for_the_page(visit: Visit) -> None:
    entry = {"name": "broken", "version": "1", "state": "UNAVAILABLE", "reason": "much too long " * 8000}
    with visit("/") as page:
        page.route("**/v2/repository/index", lambda route: route.fulfill(json=[entry]))
        page.reload()
        box = page.locator(".reason").bounding_box()
        assert box
        assert box["height"] < 300
        assert complaints(page) == []


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_documentation_that_is_not_there_is_no_question_of_a_key(visit: Visit, path: str) -> None:
    with visit(path, expected="502 (") as page:
        page.route("**/openapi.json", lambda route: route.fulfill(status=502, body=SORRY))
        page.reload()
        expect(page.get_by_role("alert")).to_have_text(re.compile("answers 502 "))
        expect(page.get_by_label("API key")).to_have_count(0)


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_documentation_of_large_tensors_is_shown_like_any_other(
    chromium: Browser, prefixed: Service, path: str
) -> None:
    document = json.dumps(prefixed.get("/openapi.json").json())
    large = document.replace('"minItems": 16', '"minItems": 1000000')
    assert large != document
    with visiting(chromium, prefixed.api, f"/ml{path}") as page:
        page.route("**/openapi.json", lambda route: route.fulfill(body=large, content_type="application/json"))
        page.route("**:predict", lambda route: route.fulfill(json={"outputs": [0.5] * 300_000}))
        page.reload()
        wait_for(page, path)
        if path == "/docs":
            execute(page, "predict_add_sub")


def test_a_new_generation_appears_by_itself(chromium: Browser, prefixed: Service) -> None:
    with visiting(chromium, prefixed.api, "/ml/") as page:
        expect(page.locator("#health")).to_contain_text("generation 1")
        os.kill(prefixed.process.pid, signal.SIGHUP)
        expect(page.locator("#health")).to_contain_text("generation 2")
        wait_for(page, "/")


def test_a_key_is_asked_for_where_one_is_wanted_and_kept_nowhere(
    chromium: Browser, small: Path, tmp_path: Path
) -> None:
    good, poor = new_key(), new_key()
    keys = write_keys(tmp_path / "keys.toml", {"all": ("infer metadata", good), "poor": ("infer", poor)})
    with running(small, tmp_path / "service", **ALONE, ONNICORN_ACCESS__KEYS=str(keys)) as service:
        for path in READY:
            with visiting(chromium, service.api, path, expected="Failed to load resource") as page:
                for key, complaint in (
                    (None, "an API key is needed"),
                    ("wrong", "not known"),
                    (poor, "'poor' have infer"),
                ):
                    if key:
                        page.get_by_label("API key").fill(key)
                        page.get_by_role("button", name="Use it").click()
                    expect(page.get_by_role("alert")).to_contain_text(complaint)
                assert complaints(page) == []
                page.get_by_label("API key").fill("\N{LEFT DOUBLE QUOTATION MARK}no header holds this")
                page.get_by_role("button", name="Use it").click()
                expect(page.locator("input:invalid")).to_be_focused()
                page.get_by_label("API key").fill(f" {good} ")
                page.get_by_role("button", name="Use it").click()
                wait_for(page, path)
                assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
                if path == "/":
                    assert send(page, "Tensors")["model_name"] == "add_sub"
                    command = page.get_by_role("group", name="A curl command").inner_text()
                    assert (' -H "X-API-Key: $KEY" ' in command, good in command) == (True, False)
                if path == "/docs":
                    execute(page, "infer_add_sub")
        assert good not in service.printed()
