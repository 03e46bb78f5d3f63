"""What a visitor of the pages does again and again."""

import json

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.oip import Json
from tests.process.conftest import SECONDS

# How somebody draws them, from 0 to 1, right and down.
STROKES = {
    "0": [(0.5, 0.1), (0.25, 0.3), (0.22, 0.6), (0.4, 0.9), (0.65, 0.85), (0.78, 0.55), (0.7, 0.2), (0.5, 0.1)],
    "2": [(0.25, 0.25), (0.45, 0.1), (0.7, 0.2), (0.65, 0.45), (0.25, 0.9), (0.78, 0.9)],
    "3": [(0.25, 0.15), (0.55, 0.1), (0.7, 0.25), (0.45, 0.48), (0.72, 0.65), (0.6, 0.88), (0.25, 0.88)],
    "5": [(0.75, 0.1), (0.3, 0.1), (0.28, 0.45), (0.6, 0.42), (0.75, 0.65), (0.6, 0.9), (0.25, 0.85)],
    "7": [(0.22, 0.12), (0.78, 0.12), (0.45, 0.9)],
}
PERIOD = 2000
"""Milliseconds between two looks of the page at the service."""
READY = {"/": "Try it", "/docs": "Operations", "/redoc": "Predict with add_sub version 1"}


def wait_for(page: Page, path: str) -> None:
    """Until the page shows what it has asked for."""
    expect(page.get_by_role("heading", name=READY[path]).first).to_be_visible(timeout=SECONDS * 1000)


def look(page: Page) -> None:
    """The page looks again how the service is, at once; its clock is a fake one."""
    with page.expect_response("**/v2/models/stats"):
        page.clock.run_for(PERIOD)


def send(page: Page, way: str) -> Json:
    """By the form that is called so; the answer, which is a 200."""
    page.get_by_role("radio", name=way).check()
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".status .badge")).to_have_text("200 OK")
    answer: Json = json.loads(page.get_by_role("group", name="The answer").inner_text())
    return answer


def paper(page: Page) -> Locator:
    return page.get_by_role("application", name="Drawing area")


def draw(page: Page, digit: str) -> None:
    """In one stroke, with the mouse."""
    paper(page).scroll_into_view_if_needed()
    box = paper(page).bounding_box()
    assert box
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in STROKES[digit]]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def complaints(page: Page) -> list[str]:
    """What axe-core finds that keeps anybody from using the page."""
    violations = Axe().run(page).response["violations"]
    return [f"{violation['id']}: {node['html']}" for violation in violations for node in violation["nodes"]]


def execute(page: Page, operation: str) -> Locator:
    """As it stands, and it works; the operation."""
    block = page.locator(f"#operations-models-{operation}")
    block.locator("button.opblock-summary-control").click()
    block.get_by_role("button", name="Execute").click()
    expect(block.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    return block
