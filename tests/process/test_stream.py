"""Streams on the wire: read while they are sent, whoever is slow, and the end of the service in the midst of one."""

import json
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests import tiny
from tests.oip import Json, tensor
from tests.process.conftest import Service, StartService, connect, exit_code, running
from tests.process.double import BODY, TWOS, serve_double
from tests.process.wire import Wire, request, wire

STREAM = "/v2/models/double/infer_stream"
LINES = "Content-Type: application/x-ndjson"
LINE = BODY + b"\n"
SLOW = {"ONNICORN_LIMITS__BODY_SECONDS": "1", "ONNICORN_RUNTIME__WORKERS": "1"}


def head(*headers: str, version: str = "1.1") -> bytes:
    return request("POST", STREAM, None, LINES, *headers, version=version)


def chunk(text: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(text), text)


CHUNKED = head("Transfer-Encoding: chunked")


def begin(connection: Wire, text: bytes = LINE) -> None:
    """A stream that has been asked something, and the head of its answer."""
    connection.send(CHUNKED, chunk(text))
    answer = connection.answer()
    assert (answer.status_code, answer.headers["transfer-encoding"]) == (200, "chunked")


def chunks(connection: Wire) -> Iterator[bytes]:
    """Of an answer whose head has been read, up to its end."""
    while size := int(connection.line(), 16):
        yield connection.read(size)
        assert connection.line() == b"\r\n"
    assert connection.line() == b"\r\n"


def data_of(lines: Iterable[bytes]) -> list[object]:
    """What each line of an answer brings."""
    documents: list[Json] = [json.loads(line) for line in b"".join(lines).splitlines()]
    return [document.get("code") or document["outputs"][0]["data"] for document in documents]


@pytest.fixture(scope="module")
def slow_service(start_service: StartService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """One worker, for which a second is slow."""
    return start_service(serve_double(tmp_path_factory.mktemp("models")), **SLOW)


def test_answers_come_while_the_body_does(slow_service: Service) -> None:
    with wire(slow_service.api) as connection:
        begin(connection)
        pieces = chunks(connection)
        for text in (LINE, LINE[:9], LINE[9:]):
            assert data_of([next(pieces)]) == [TWOS]
            connection.send(chunk(text))
            if text == LINE[:9]:
                connection.send(chunk(LINE[9:]))
                break
        assert data_of([next(pieces)]) == [TWOS]
        connection.send(b"0\r\n\r\n")
        assert list(pieces) == []
        assert connection.rest() == b""


def test_a_short_stream_leaves_the_connection_open(slow_service: Service) -> None:
    whole = head(f"Content-Length: {3 * len(LINE)}") + LINE * 3
    with wire(slow_service.api) as connection:
        for _ in range(2):
            connection.send(whole)
            assert connection.answer().headers.get("connection") is None
            assert data_of(chunks(connection)) == [TWOS] * 3


def test_who_closes_their_side_behind_the_body_is_answered(slow_service: Service) -> None:
    with closing(connect(slow_service.api)) as connection:
        connection.sendall(CHUNKED + chunk(LINE * 2) + b"0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as stream:
            answer = stream.read()
    assert answer.count(b'"outputs"') == 2
    assert answer.endswith(b"0\r\n\r\n")


def test_who_knows_no_chunks_reads_to_the_end(slow_service: Service) -> None:
    with wire(slow_service.api) as connection:
        connection.send(head(f"Content-Length: {len(LINE) * 2}", version="1.0"), LINE * 2)
        answer = connection.answer()
        assert (answer.headers.get("transfer-encoding"), answer.headers["connection"]) == (None, "close")
        assert data_of([connection.rest()]) == [TWOS] * 2


def test_who_stops_sending_is_told_from_which_line_on(slow_service: Service) -> None:
    with wire(slow_service.api) as connection:
        begin(connection, LINE * 2 + b"{")
        *answers, last = b"".join(chunks(connection)).splitlines()
        assert [json.loads(answer)["outputs"][0]["data"] for answer in answers] == [TWOS] * 2
        assert (json.loads(last)["code"], json.loads(last)["line"]) == ("request_timeout", 3)
        assert connection.rest() == b""


def test_who_never_reads_is_not_read_and_then_cut_off(slow_service: Service) -> None:
    """What lies in memory is bounded by the buffers of the two kernels."""
    with closing(connect(slow_service.api)) as connection:
        connection.sendall(CHUNKED)
        piece = chunk(LINE * 500)
        with pytest.raises(OSError, match=r"reset|Broken pipe"):  # noqa: PT012 - nobody knows which of them
            while True:
                connection.sendall(piece)
    [cut] = slow_service.wait_until(lambda: events(slow_service, "reader_too_slow"), "cutting it off")
    assert cut["unsent"] < 1 << 20
    slow_service.wait_until(lambda: [each for each in slow_service.requests() if "left" in each], "rid of the stream")


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_sends_and_reads_at_once(slow_service: Service, tmp_path: Path) -> None:
    lines = 20_000
    (tmp_path / "in").write_bytes(LINE * lines)
    url = f"http://{slow_service.api}{STREAM}"
    subprocess.run(
        ("curl", "-sSfN", "-X", "POST", "-H", LINES, "-T", tmp_path / "in", "-o", tmp_path / "out", url), check=True
    )
    with (tmp_path / "out").open("rb") as out:
        assert sum(data_of([line]) == [TWOS] for line in out) == lines


def test_a_stream_ends_in_order_when_the_service_does(tmp_path: Path) -> None:
    with (
        running(serve_double(tmp_path), tmp_path, ONNICORN_LIFECYCLE__DRAIN_SECONDS="1") as service,
        wire(service.api) as connection,
    ):
        begin(connection)
        pieces = chunks(connection)
        assert data_of([next(pieces)]) == [TWOS]
        service.process.send_signal(signal.SIGTERM)
        service.wait_until(lambda: service.probe("/readyz").status_code == 503, "draining")
        connection.send(chunk(LINE + b"half"))  # the drain lasts, and all is answered
        assert data_of([next(pieces)]) == [TWOS]
        last = json.loads(b"".join(pieces))
        assert (last["code"], last["line"]) == ("draining", 3)
        assert connection.rest() == b""
        assert exit_code(service) == 0
    [record] = service.requests()
    assert (record["status"], record["code"], record["answers"]) == (200, "draining", 2)


def test_a_stream_of_which_nothing_has_come_ends_with_the_service(tmp_path: Path) -> None:
    with (
        running(serve_double(tmp_path), tmp_path, ONNICORN_LIFECYCLE__DRAIN_SECONDS="1") as service,
        wire(service.api) as connection,
    ):
        connection.send(CHUNKED)
        service.process.send_signal(signal.SIGTERM)
        answer = connection.answer()
        assert (answer.status_code, answer.json()["code"]) == (503, "draining")
        assert connection.rest() == b""
        assert exit_code(service) == 0


def ended(tmp_path: Path, lines: int, trips: int, finish_seconds: str) -> list[Json]:
    """The lines of the answer to so many that have come wholly, when the service ends behind the first of them."""
    models = tiny.repository(tmp_path / "models", loop=tiny.loop())
    line = json.dumps({"inputs": [tensor("trips", "INT64", [1], [trips])]}).encode() + b"\n"
    whole = line * lines
    times = {"ONNICORN_LIFECYCLE__DRAIN_SECONDS": "0", "ONNICORN_LIFECYCLE__FINISH_SECONDS": finish_seconds}
    with running(models, tmp_path, **times) as service, wire(service.api) as connection:
        connection.send(request("POST", "/v2/models/loop/infer_stream", None, LINES, f"Content-Length: {len(whole)}"))
        connection.send(whole)
        assert connection.answer().status_code == 200
        pieces = chunks(connection)
        first = next(pieces)
        service.process.send_signal(signal.SIGTERM)
        answers = b"".join([first, *pieces]).splitlines()
        assert exit_code(service) == 0
    return [json.loads(answer) for answer in answers]


def test_a_stream_that_has_come_wholly_is_answered_wholly(tmp_path: Path) -> None:
    """It is admitted work, and the drain is over long before it is done."""
    answers = ended(tmp_path, 30, 100_000, "60")
    assert [answer["outputs"][0]["data"] for answer in answers] == [[100_000]] * 30


def test_where_it_takes_too_long_it_ends_in_order_too(tmp_path: Path) -> None:
    """What has come would run for half a minute."""
    *answers, last = ended(tmp_path, 3000, 10_000, "1")
    assert {answer["outputs"][0]["data"][0] for answer in answers} == {10_000}
    assert (last["code"], last["line"]) == ("draining", len(answers) + 1)


def test_single_requests_have_their_turn_beside_streams(slow_service: Service) -> None:
    """Each of two streams sends all the time, and none is served before all of them."""
    is_over = threading.Event()

    def pour() -> None:
        with closing(connect(slow_service.api)) as connection:
            reader = threading.Thread(target=drop, args=(connection,))
            connection.sendall(CHUNKED)
            reader.start()
            while not is_over.is_set():
                connection.sendall(chunk(LINE * 100))
            connection.sendall(b"0\r\n\r\n")
            reader.join()

    streams = [threading.Thread(target=pour) for _ in range(2)]
    for stream in streams:
        stream.start()
    try:
        with wire(slow_service.api) as connection:
            for _ in range(50):
                connection.send(request("POST", "/v2/models/double/infer", BODY))
                assert connection.answer().status_code == 200
    finally:
        is_over.set()
        for stream in streams:
            stream.join()


def drop(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


def events(service: Service, event: str) -> list[Json]:
    return [record for record in service.records() if record["event"] == event]
