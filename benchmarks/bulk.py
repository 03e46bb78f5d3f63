"""Bulk scoring: a million rows through one stream of lines, against single requests, and what the worker holds."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from functools import partial
from threading import Thread
from time import perf_counter
from typing import Final

import orjson

from benchmarks import inputs
from benchmarks.bench import Bench
from benchmarks.models import DIGITS
from benchmarks.result import Parts, Result, Target, compare
from benchmarks.server import Server, onnicorn
from service.bench import request

_ROWS: Final = 1_000_000
# A round of the comparison.
_FEW: Final = 50_000
_CONCURRENCY: Final = 32
# Lines that are written together, as whoever reads them from a file does.
_TOGETHER: Final = 256
_GLANCE_SECONDS: Final = 0.25
_ERROR: Final = b'"code":'


def measure(bench: Bench) -> Iterator[Result]:
    """The digits model on one core; lines of both protocols."""
    image = inputs.digits()
    single = [request.infer("digits", {"image": image})]
    whole = request.infer_body({"image": image})
    row = orjson.dumps(image[0], option=orjson.OPT_SERIALIZE_NUMPY)
    streams = {"infer_stream": ("/v2/models/digits/infer_stream", whole), "predict": ("/v1/models/digits:predict", row)}
    with onnicorn(DIGITS.parent.parent, bench.folder, {bench.cores.serving}) as server:
        turns: dict[str, Callable[[], float]] = {"single": lambda: bench.closed(server, single, _CONCURRENCY, 0.7).rate}
        turns |= {name: partial(_rate, bench, server, *stream) for name, stream in streams.items()}
        found = {name: Parts(f"rows, {name}", rates, "/s") for name, rates in bench.take_turns(turns).items()}
        for name in streams:
            target = Target(1, at_least=True)
            yield compare(f"digits: rows/s in lines of {name} / in requests", found[name], found["single"], target)
        yield _memory(bench, server, *streams["predict"])


def _rate(bench: Bench, server: Server, path: str, line: bytes) -> float:
    return _FEW / bench.generator.submit(score, server.port, path, line, _FEW).result()


def _memory(bench: Bench, server: Server, path: str, line: bytes) -> Result:
    """Of all processes, before and at its highest; what else has run has left its traces by then."""
    before = server.memory()
    peak = before
    scored: Future[float] = bench.generator.submit(score, server.port, path, line, _ROWS)
    while not wait_for([scored], _GLANCE_SECONDS).done:
        peak = max(peak, server.memory())
    rate = Parts("rows", [_ROWS / scored.result()], "/s")
    most, least = Parts("peak", [peak / 1e6], "MB"), Parts("before", [before / 1e6], "MB")
    return compare("digits: memory while a million rows pass / before", most, least, Target(1.1), rate)


def score(port: int, path: str, line: bytes, rows: int) -> float:
    """Seconds for so many lines that are all alike. Raises ValueError where they are not all answered well."""
    # HTTP/1.0, because an answer without chunks is cheaper to look at; the server has no less to do.
    head = f"POST {path} HTTP/1.0\r\nContent-Type: application/x-ndjson\r\nContent-Length: "
    started = perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        sender = Thread(target=_send, args=(connection, head, line + b"\n", rows))
        sender.start()
        answered, failed = _read(connection)
        sender.join()
    if answered != rows or failed:
        raise ValueError(f"of {rows} lines {answered} were answered, {failed} of them with an error")
    return perf_counter() - started


def _send(connection: socket.socket, head: str, line: bytes, rows: int) -> None:
    connection.sendall(f"{head}{len(line) * rows}\r\n\r\n".encode())
    piece = line * _TOGETHER
    for _ in range(rows // _TOGETHER):
        connection.sendall(piece)
    connection.sendall(line * (rows % _TOGETHER))


def _read(connection: socket.socket) -> tuple[int, int]:
    """Lines that came, and those among them that tell of an error."""
    answered = failed = 0
    end = b""
    with connection.makefile("rb") as answer:
        while answer.readline() != b"\r\n":
            pass
        while piece := answer.read1(1 << 18):
            answered += piece.count(b"\n")
            failed += (end + piece).count(_ERROR)
            end = piece[1 - len(_ERROR) :]
    return answered, failed
