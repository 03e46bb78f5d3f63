"""The rehearsal's callers: whatever answer comes, they go on, and count it; and they do not stop unnoticed."""

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import pytest

from rehearsal.load import FIRST, Load, learn
from rehearsal.process import Failed

SECONDS = 60
ENOUGH = 40
Request = dict[str, Any]
# As many as there are images; what the second pixel of each is.
LABELS = [*range(17)]


@contextmanager
def serving(answer: Callable[[Request], bytes]) -> Iterator[tuple[int, threading.Event]]:
    """Its port, and what is set when it has been asked often enough."""
    asked: list[Request] = []
    is_enough = threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while head := b"".join(takewhile(lambda line: line not in (b"", b"\r\n"), self.rfile)):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                asked.append(json.loads(self.rfile.read(length)))
                self.wfile.write(answer(asked[-1]))
                if len(asked) > ENOUGH:
                    is_enough.set()
                if b"connection: close" in head.lower():
                    return

    class Server(socketserver.ThreadingTCPServer):
        def handle_error(self, *_: object) -> None:
            """Callers leave in the middle."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1], is_enough
        finally:
            server.shutdown()
            thread.join()


def ok(content: object) -> bytes:
    body = json.dumps(content).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def right(request: Request) -> bytes:
    return ok({"id": request["id"], "outputs": [{"data": request["inputs"][0]["data"][1::64]}]})


def of_another_row(request: Request) -> bytes:
    return ok({"id": request["id"], "outputs": [{"data": [each + 1 for each in request["inputs"][0]["data"][1::64]]}]})


def outcomes(answer: Callable[[Request], bytes]) -> set[str]:
    with serving(answer) as (port, is_enough), Load(port, LABELS).running() as calling:
        assert is_enough.wait(SECONDS)
    # The last one of each caller may have met the server's end.
    return {call.outcome for call in calling.calls[: ENOUGH // 2]}


def test_right_answers_are_no_failures() -> None:
    assert outcomes(right) == {""}


def test_an_answer_that_is_another_one_than_before_is_a_failure() -> None:
    assert outcomes(of_another_row) == {"200: another answer than before"}


def test_what_each_image_is_is_learned_from_one_answer() -> None:
    asked = []

    def answer(request: Request) -> bytes:
        asked.append(request["id"])
        return right(request)

    with serving(answer) as (port, _):
        assert learn(port) == LABELS
    assert asked == [FIRST]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n", b""])
def test_a_rehearsal_does_not_begin_without(answer: bytes) -> None:
    with serving(lambda request: answer) as (port, _), pytest.raises(Failed, match="the first request has failed: "):
        learn(port)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.1 503 x\r\nContent-Length: 4\r\n\r\nbusy", "503: busy"),
        (ok({"id": "rehearsal-0", "outputs": []}), "200: the answer to another request"),
        (ok({}), "200: the answer to another request"),
        (ok([]), "AttributeError: "),
        (b"HTTP/1.1\r\n\r\n", "IndexError: "),
        (b"?\r\n\r\n", "IndexError: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{", "JSONDecodeError: "),
        (b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n", "ValueError: "),
    ],
)
def test_whatever_else_comes_is_a_failure_and_nobody_stops(answer: bytes, outcome: str) -> None:
    assert [each[: len(outcome)] for each in outcomes(lambda request: answer)] == [outcome]


def test_an_answer_that_has_no_outputs_is_a_failure() -> None:
    [outcome] = outcomes(lambda request: ok({"id": request["id"]}))
    assert outcome == "KeyError: 'outputs'"


def test_callers_that_stop_by_themselves_are_an_error() -> None:
    have_stopped = threading.Event()

    def few() -> Iterator[int]:
        yield from range(3)
        have_stopped.set()

    with (
        serving(right) as (port, _),
        pytest.raises(Failed, match="the load has ended before it was told to: RuntimeError"),
        Load(port, LABELS, numbers=few()).running(),
    ):
        assert have_stopped.wait(SECONDS)
