"""The API as Swagger UI and ReDoc show it."""

from playwright.sync_api import expect

from tests.pages.conftest import Visit
from tests.pages.visitor import execute


def test_swagger_ui_sends_a_request_to_each_kind_of_model_that_works_at_the_first_click(visit: Visit) -> None:
    with visit("/docs") as page:
        # One of each kind; integers are asked for wherever else this page is tried.
        for model in ("digits", "identity_bytes", "lists", "scalar"):
            for operation in (f"infer_{model}", f"predict_{model}"):
                execute(page, operation).locator("button.opblock-summary-control").click()


def test_redoc_finds_what_is_searched_for(visit: Visit) -> None:
    with visit("/redoc") as page:
        page.get_by_placeholder("Search...").fill("identity_int64")
        expect(page.get_by_role("search").get_by_role("menuitem").first).to_contain_text("identity_int64")
