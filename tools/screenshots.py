"""Take the pictures of the pages in docs/pictures: `make screenshots`.

The service runs with the bundled model, and the distribution's Chromium looks at it. What differs from run to run are
the times on the pages.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
COMMAND = (sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "service.asgi:app")
SECONDS = 30
DESKTOP, PHONE = {"width": 1200, "height": 800}, {"width": 360, "height": 740}
THREE = [(0.25, 0.15), (0.55, 0.1), (0.7, 0.25), (0.45, 0.48), (0.72, 0.65), (0.6, 0.88), (0.25, 0.88)]
DRAWING = "canvas[role=application]"


def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed; on Debian: apt install chromium")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory() as folder,
        serving(Path(folder)) as address,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium) as browser,
    ):
        take(browser, address, "page-light", act=draw)
        take(browser, address, "page-dark", act=draw, color_scheme="dark")
        take(browser, address, "page-phone", act=draw_on_a_phone, viewport=PHONE)
        take(browser, address, "form", act=send)
        take(browser, address, "docs", path="/docs", act=execute)
        take(browser, address, "redoc", path="/redoc", act=find, color_scheme="dark")


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Where the service listens while the block runs."""
    api, ops = (f"127.0.0.1:{free_port()}" for _ in range(2))
    environment = os.environ | {
        "ORT_DISABLE_TELEMETRY": "1",
        "ONNICORN_REPOSITORY__PATH": "models",
        "ONNICORN_CACHE__DIR": str(folder),
        "ONNICORN_RUNTIME__WORKERS": "1",
        "ONNICORN_LIFECYCLE__DRAIN_SECONDS": "0",
        "ONNICORN_HTTP__BIND": api,
        "ONNICORN_OPS__BIND": ops,
    }
    process = subprocess.Popen(COMMAND, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_until_ready(f"http://{api}/v2/health/ready")
        yield f"http://{api}"
    finally:
        process.terminate()
        process.wait(timeout=SECONDS)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def wait_until_ready(address: str) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(address):
            return
        time.sleep(0.1)
    sys.exit(f"the service does not answer at {address} after {SECONDS} s")


def take(
    browser: Browser, address: str, name: str, act: Callable[[Page], None], path: str = "/", **settings: Any
) -> None:
    """A picture of a page after something has been done on it."""
    with browser.new_context(**{"viewport": DESKTOP, **settings}) as context:
        page = context.new_page()
        page.goto(address + path)
        act(page)
        page.screenshot(path=PICTURES / f"{name}.png")


def draw(page: Page) -> None:
    """Some times, two seconds apart, so that there is something in the charts."""
    for _ in range(6):
        with page.expect_response("**/v2/models/stats"):
            stroke(page)
    page.evaluate("scrollTo(0, 0)")


def stroke(page: Page) -> None:
    box = page.locator(DRAWING).bounding_box()
    assert box
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in THREE]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()
    page.locator(".bars .best").wait_for()


def draw_on_a_phone(page: Page) -> None:
    page.locator(DRAWING).scroll_into_view_if_needed()
    stroke(page)
    page.locator("#model").evaluate("model => model.scrollIntoView()")


def send(page: Page) -> None:
    page.get_by_role("radio", name="Tensors").check()
    page.get_by_role("button", name="Send").click()
    page.locator(".bars").wait_for()
    page.locator(".columns").evaluate("columns => columns.scrollIntoView()")


def execute(page: Page) -> None:
    block = page.locator("#operations-models-predict_digits")
    block.locator("button.opblock-summary-control").click()
    block.get_by_role("button", name="Execute").click()
    block.locator(".live-responses-table").wait_for()
    block.locator(".opblock-section-request-body").evaluate("body => body.scrollIntoView()")


def find(page: Page) -> None:
    page.get_by_role("heading", name="Predict with digits version 1").first.evaluate("title => title.scrollIntoView()")
    page.wait_for_timeout(500)  # the menu follows


if __name__ == "__main__":
    main()
