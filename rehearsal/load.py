"""Callers that never stop, each request with an id of its own, sent once: on kept and on new connections.

They hide nothing: whatever is not a 200 with the right answer is a failure, and nothing is sent again. The right answer
is what the model has said of the same images before anything was replaced.
"""

import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from rehearsal.process import OPENER, Failed

_PATH: Final = "/v2/models/digits/infer"
_CALLERS: Final = 4
"""Of each kind."""
_PAUSE: Final = 0.01
_PATIENCE_SECONDS: Final = 30
_LARGE_EVERY: Final = 20
# No two of them alike, so that one row's answer is not another's.
_IMAGES: Final = [[float((pixel * number + pixel // 8) % 17) for pixel in range(64)] for number in range(17)]
_KINDS: Final = ("kept connection", "new connection")


@dataclass(frozen=True, slots=True)
class Call:
    """One request: on what kind of connection, with what outcome ("" is fine), at what time, for how long."""

    id: str
    kind: str
    outcome: str
    at: float
    seconds: float


def learn(port: int) -> list[int]:
    """What each image is, by a request of its own. Raises Failed."""
    headers = {"Content-Type": "application/json", "X-Request-ID": FIRST}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{_PATH}", _body(0, len(_IMAGES)), headers)
    try:
        with OPENER.open(request, timeout=_PATIENCE_SECONDS) as answer:
            labels: list[int] = json.load(answer)["outputs"][0]["data"]
    except OSError as error:
        raise Failed(f"the first request has failed: {error}") from None
    return labels


@dataclass
class Load:
    """Whatever was sent. Each request takes one of the numbers. `labels` is what was learned of each image."""

    port: int
    labels: Sequence[int]
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    calls: list[Call] = field(default_factory=list)
    _is_over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """While the block runs; the calls are complete behind it. Raises Failed unless it went on all the time."""
        with ThreadPoolExecutor(1) as pool:
            ended = pool.submit(lambda: asyncio.run(self._drive()))
            try:
                yield self
            finally:
                self._is_over.set()
            if error := ended.exception():
                reason = f"{type(error).__name__}: {error}"
                raise Failed(f"the load has ended before it was told to: {reason}") from error

    async def _drive(self) -> None:
        await asyncio.gather(*(self._call_on(kind) for kind in _KINDS for _ in range(_CALLERS)))

    async def _call_on(self, kind: str) -> None:
        streams = None
        while not self._is_over.is_set():
            number = next(self.numbers)
            at = time.monotonic()
            outcome, is_last = "", True
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    streams = streams or await asyncio.open_connection("127.0.0.1", self.port)
                    outcome, is_last = await self._exchange(*streams, number, kind == _KINDS[1])
            except Exception as error:  # whatever it was, it is counted, and the next one is sent
                outcome = f"{type(error).__name__}: {error}"
            self.calls.append(Call(_id(number), kind, outcome, at, time.monotonic() - at))
            if is_last and streams:
                streams[1].close()
                streams = None
            await asyncio.sleep(_PAUSE)
        if streams:
            streams[1].close()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, is_alone: bool
    ) -> tuple[str, bool]:
        """The outcome, and whether this was the connection's last answer."""
        rows = 100 if number % _LARGE_EVERY == 0 else 1
        writer.write(_request(number, rows, is_alone))
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, _, fields = head.partition("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in fields.splitlines() if line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        is_last = is_alone or headers.get("connection") == "close"
        expected = [self.labels[image] for image in _images(number, rows)]
        return _outcome(int(status.split(" ")[1]), body, _id(number), expected), is_last


def _outcome(status: int, body: bytes, identity: str, expected: Sequence[int]) -> str:
    if status != 200:
        return f"{status}: {body[:200].decode(errors='replace')}"
    answer = json.loads(body)
    if answer.get("id") != identity:
        return "200: the answer to another request"
    return "" if answer["outputs"][0]["data"] == expected else "200: another answer than before"


def _request(number: int, rows: int, is_alone: bool) -> bytes:
    """Every now and then one that is too large for a balancer to keep and to send again."""
    body = _body(number, rows)
    lines = [
        f"POST {_PATH} HTTP/1.1",
        "Host: rehearsal",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"X-Request-ID: {_id(number)}",
        *(["Connection: close"] if is_alone else []),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _body(number: int, rows: int) -> bytes:
    data = [pixel for image in _images(number, rows) for pixel in _IMAGES[image]]
    image = {"name": "image", "datatype": "FP32", "shape": [rows, 64], "data": data}
    return json.dumps({"id": _id(number), "inputs": [image]}).encode()


def _images(number: int, rows: int) -> list[int]:
    """Which of them a request has in its rows."""
    return [(number + row) % len(_IMAGES) for row in range(rows)]


def _id(number: int) -> str:
    return f"rehearsal-{number}"


FIRST: Final = _id(0)
