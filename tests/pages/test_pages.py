"""What a visitor of the pages sees and does."""

import json
import re
import subprocess

import pytest
from playwright.sync_api import Browser, expect

from tests.oip import Json
from tests.pages.conftest import PHONE, Visit, visiting
from tests.pages.visitor import READY, complaints, draw, execute, look, send, wait_for
from tests.process.conftest import SECONDS, Service

NOTHING = "\N{EN DASH}"
HIDE = """
    hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", READY)
def test_everybody_can_use_a_page_behind_the_prefix_of_an_ingress(
    chromium: Browser, prefixed: Service, path: str, scheme: str
) -> None:
    with visiting(chromium, prefixed.api, f"/ml{path}", color_scheme=scheme) as page:
        wait_for(page, path)
        if path == "/docs":
            execute(page, "infer_add_sub" if scheme == "light" else "predict_add_sub")
        assert complaints(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_what_a_request_brings(visit: Visit, scheme: str) -> None:
    with visit("/#/digits/1", color_scheme=scheme, width=PHONE) as page:
        draw(page, "3")
        expect(page.locator(".bars .best")).to_be_visible()
        page.get_by_text("As a table").click()
        assert complaints(page) == []


@pytest.mark.parametrize("path", READY)
def test_a_phone_shows_a_page_without_sideways_scrolling(visit: Visit, path: str) -> None:
    with visit(path, width=PHONE) as page:
        wait_for(page, path)
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE


@pytest.mark.parametrize(
    ("attempt", "directive"),
    [
        ("fetch('http://localhost:9/').catch(() => null)", "connect-src"),
        ("document.body.setAttribute('style', 'color: red')", "style-src"),
        ("document.body.setAttribute('onclick', 'alert()')", "script-src"),
        ("document.body.append(Object.assign(document.createElement('iframe'), {src: '/docs'}))", "default-src"),
    ],
)
def test_the_browser_itself_keeps_the_page_from_anything_else(visit: Visit, attempt: str, directive: str) -> None:
    with visit("/", expected="Content Security Policy") as page:
        wait_for(page, "/")
        with page.expect_console_message(lambda told: f"{directive} " in told.text):
            page.evaluate(f"() => {{ {attempt} }}")


def test_the_page_says_how_the_service_is_and_what_it_serves(visit: Visit) -> None:
    with visit("/") as page:
        expect(page.locator("#health")).to_have_text(re.compile(r"ready\s*generation 1"))
        rows = page.get_by_role("navigation", name="Models").get_by_role("listitem")
        expect(rows).to_have_text(
            [
                re.compile(rf"{name}\s+version 1\s*{state}")
                for name, state in (
                    ("add_sub", "ready"),
                    ("broken", "refused"),
                    ("digits", "ready"),
                    ("identity_bytes", "ready"),
                    ("identity_int64", "ready"),
                    ("lists", "ready"),
                    ("scalar", "ready"),
                )
            ]
        )


def test_a_model_is_chosen_in_the_list_and_shows_its_signature(visit: Visit) -> None:
    with visit("/") as page:
        page.get_by_role("link", name="digits").click()
        expect(page.get_by_role("heading", name="digits version 1")).to_be_visible()
        expect(page.get_by_role("table", name="In shapes").locator("tbody tr")).to_have_text(
            [
                re.compile(r"input\s*image\s*FP32\s*\[-1, 64\]"),
                re.compile(r"output\s*label\s*INT64\s*\[-1\]"),
                re.compile(r"output\s*probabilities\s*FP32\s*\[-1, 10\]\s*0, 1, 2, 3"),
            ]
        )
        assert page.evaluate("document.activeElement.id") == "model"
        assert page.url.endswith("/#/digits/1")


def test_a_model_that_is_refused_says_why(visit: Visit) -> None:
    with visit("/#/broken/1") as page:
        expect(page.locator(".reason")).to_have_text(re.compile("broken/1/model.onnx is not an ONNX model"))
        expect(page.get_by_role("button", name="Send")).to_have_count(0)


@pytest.mark.parametrize(
    ("model", "outputs"),
    [
        ("add_sub", {"sum": [2] * 16, "difference": [0] * 16}),
        ("identity_bytes", {"y": ["text"]}),
        ("scalar", {"y": [2.0]}),
    ],
)
def test_a_form_of_the_signature_sends_a_request_that_works_as_it_stands(
    visit: Visit, model: str, outputs: Json
) -> None:
    with visit(f"/#/{model}/1") as page:
        answer = send(page, "Tensors")
    assert {output["name"]: output["data"] for output in answer["outputs"]} == outputs


@pytest.mark.parametrize("model", ["add_sub", "digits", "identity_bytes", "lists", "scalar"])
def test_plain_json_works_as_it_stands(visit: Visit, model: str) -> None:
    with visit(f"/#/{model}/1") as page:
        answer = send(page, "Plain JSON")
    assert answer.keys() & {"predictions", "outputs"}


def test_a_model_with_a_transform_is_asked_in_its_callers_terms(visit: Visit) -> None:
    with visit("/#/lists/1") as page:
        expect(page.get_by_role("radio", name="Plain JSON")).to_be_checked()
        expect(page.get_by_label("Body")).to_have_value(re.compile('"instances"'))


def test_a_number_keeps_all_its_digits(visit: Visit) -> None:
    with visit("/#/identity_int64/1") as page:
        page.get_by_label("x", exact=True).fill("[[9007199254740993]]")
        page.get_by_label("x", exact=True).press("Control+Enter")
        expect(page.get_by_role("group", name="The answer")).to_contain_text("[9007199254740993]")


def test_what_is_no_json_is_said_at_the_field_and_not_sent(visit: Visit, served: Service) -> None:
    before = len(served.requests())
    with visit("/#/identity_int64/1") as page:
        field = page.get_by_label("x", exact=True)
        field.fill("[[1, 2")
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".fault")).to_have_text(re.compile("This is no JSON"))
        expect(field).to_be_focused()
        assert complaints(page) == []
    sent = [request for request in served.requests()[before:] if request["route"].endswith("/infer")]
    assert sent == []


def test_what_the_service_refuses_is_shown_in_its_words(visit: Visit) -> None:
    with visit("/#/add_sub/1", expected="400 (Bad Request)") as page:
        page.get_by_label("a", exact=True).fill("[[1, 2]]")
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".status .badge")).to_have_text("400 Bad Request")
        expect(page.get_by_role("group", name="The answer")).to_contain_text(
            "input 'a': expected INT32[-1,16], got INT32[1,2]"
        )


def test_the_curl_line_asks_the_same_from_a_terminal(visit: Visit) -> None:
    with visit("/#/identity_bytes/1", permissions=["clipboard-read", "clipboard-write"]) as page:
        page.get_by_label("x", exact=True).fill("""[["it's \\"said\\"", "$HOME `x` \\\\"]]""")
        answer = send(page, "Tensors")
        command = page.get_by_role("group", name="A curl command").inner_text()
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == command
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=SECONDS)
    assert json.loads(done.stdout)["outputs"] == answer["outputs"]
    assert answer["outputs"][0]["data"] == ['it\'s "said"', "$HOME `x` \\"]


def test_the_whole_page_is_reached_with_the_keyboard(visit: Visit) -> None:
    with visit("/#/add_sub/1") as page:
        wait_for(page, "/")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the model")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        expect(page.get_by_role("radio", name="Tensors")).to_be_focused()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_label("Body")).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.get_by_label("Body")).to_be_focused()
        page.keyboard.press("Control+Enter")
        expect(page.locator(".status .badge")).to_have_text("200 OK")


def test_traffic_is_shown_as_it_comes_and_only_while_somebody_looks(visit: Visit, served: Service) -> None:
    asked: list[str] = []
    with visit("/") as page:
        page.on("request", lambda request: asked.append(request.url))
        page.clock.install()
        page.reload()
        look(page)
        expect(page.locator("figure")).to_have_text([re.compile("Requests0 /s"), *[re.compile(NOTHING)] * 3])
        for _ in range(4):
            served.post(
                "/v2/models/scalar/infer", {"inputs": [{"name": "x", "datatype": "FP32", "shape": [], "data": [1]}]}
            )
        look(page)
        expect(page.locator("figure").nth(2)).to_have_text(re.compile("Mean batch, rows1"))
        page.get_by_text("As a table").click()
        rate, latency, batch, queue = page.locator("#readings tbody tr").first.locator("td").all_inner_texts()[1:]
        assert re.fullmatch(r"[\d.]+ /s", rate)
        assert batch == "1"
        assert re.fullmatch(r"[\d.]+ ms", latency)
        assert re.fullmatch(r"[\d.]+ ms", queue)
        page.get_by_label("of", exact=True).select_option("digits")
        look(page)
        look(page)
        expect(page.locator("#readings tbody tr").first.locator("td").nth(2)).to_have_text(NOTHING)

        page.evaluate(HIDE, True)
        page.clock.run_for(2_000)  # what is under way may end
        asked.clear()
        page.clock.run_for(60_000)
        assert asked == []
        with page.expect_request("**/v2/models/stats"):
            page.evaluate(HIDE, False)


def test_nothing_on_the_page_moves_by_itself(visit: Visit) -> None:
    with visit("/#/digits/1") as page:
        draw(page, "3")
        expect(page.locator(".bars .best")).to_be_visible()
        assert page.evaluate("document.getAnimations().length") == 0


def test_a_request_goes_behind_the_prefix_of_an_ingress_too(chromium: Browser, prefixed: Service) -> None:
    with visiting(chromium, prefixed.api, "/ml/") as page:
        assert send(page, "Tensors")["model_name"] == "add_sub"
