"""A client that has closed its side is asked whether it is still there, where it can be."""

from types import SimpleNamespace

import pytest

from service.supervision import presence
from tests.unit.supervision.test_connection import Transport


def cycle(version: str = "1.1", response_started: bool = False) -> SimpleNamespace:
    return SimpleNamespace(scope={"http_version": version}, response_started=response_started)


@pytest.mark.parametrize(
    ("cycle", "sent"),
    [
        pytest.param(cycle(), b"HTTP/1.1 100 Continue\r\n\r\n", id="it waits"),
        pytest.param(cycle("1.0"), b"", id="it would not understand"),
        pytest.param(cycle(response_started=True), b"", id="it is being answered"),
        pytest.param(None, b"", id="it has its answer"),
    ],
)
def test_who_may_have_left_is_asked(cycle: SimpleNamespace | None, sent: bytes) -> None:
    transport = Transport()
    presence.ask(transport, cycle)
    assert transport.written == sent
