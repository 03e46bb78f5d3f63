"""A digit is drawn, and recognised."""

import re

import pytest
from playwright.sync_api import expect

from tests.pages.conftest import PHONE, Visit
from tests.pages.visitor import STROKES, draw, paper


@pytest.mark.parametrize("digit", STROKES)
def test_a_digit_that_is_drawn_is_recognised(visit: Visit, digit: str) -> None:
    with visit("/#/digits/1") as page:
        draw(page, digit)
        expect(page.locator(".bars .best .label")).to_have_text(digit)
        expect(page.locator("#announcer")).to_have_text(re.compile(rf"{digit}: \d+\.\d %"))
        shares = page.locator(".bars .share").all_inner_texts()
        assert (len(shares), round(sum(float(share.removesuffix(" %")) for share in shares))) == (10, 100)
        page.get_by_role("button", name="Clear").click()
        expect(page.locator(".bars")).to_have_count(0)


def test_a_digit_is_drawn_with_a_finger(visit: Visit) -> None:
    with visit("/#/digits/1", width=PHONE, has_touch=True, is_mobile=True) as page:
        paper(page).scroll_into_view_if_needed()
        box = paper(page).bounding_box()
        assert box
        finger = page.context.new_cdp_session(page)
        for kind, places in (
            ("touchStart", STROKES["7"][:1]),
            *(("touchMove", [at]) for at in STROKES["7"]),
            ("touchEnd", []),
        ):
            points = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in places]
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        expect(page.locator(".bars .best .label")).to_have_text("7")


def test_a_digit_is_drawn_with_the_keyboard_alone(visit: Visit) -> None:
    with visit("/#/digits/1") as page:
        paper(page).focus()
        # A seven: from the middle to its upper left corner, and from there.
        path = "ArrowLeft " * 2 + "ArrowUp " * 3 + "Space " + "ArrowRight " * 4
        path += ("ArrowLeft ArrowDown ArrowDown " * 3) + "Space"
        for key in path.split():
            page.keyboard.press(key)
        expect(page.locator(".bars .best .label")).to_have_text("7")
        page.keyboard.press("Delete")
        expect(page.locator(".bars")).to_have_count(0)
