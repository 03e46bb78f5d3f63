"""What clients send stays what it is: no log line, no terminal and no scrape is theirs to shape."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests import tiny
from tests.process.conftest import Service, connect, running
from tests.process.wire import request, wire

INFER = "/v2/models/double/infer"
# A line of its own, codes for a terminal in 7 and 8 bits, characters that end a line for Unicode, others that turn it.
TEXTS = (
    '\n{"level":"critical","event":"forged"}\n',
    "\r\n12:00:00 [critical ] forged",
    "\x1b[2J\x1b]0;forged\x07",
    "\x1b[45m",
    "\x00\x08\x7f",
    "\x85\x9b2J\x9d0;forged\x9c",
    "\u2028\u2029",
    "\u202eforged\u2066",
    "\ud800",
    "{}[]\"'\\",
    "ä\U0001f600",
    "x" * 10_000,
)
FIELDS = ("X-Request-ID", "traceparent", "Content-Type", "Content-Encoding", "Accept", "X-API-Key", "Authorization")
# All that may not stand in a log as it is. A line ends with the one newline.
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
COLOURS = re.compile(r"\x1b\[(?:[012]|3[0-7])m")


def hostile(text: str, seed: int) -> Iterator[bytes]:
    """Requests that have the text wherever a client may put one."""
    text += random.Random(seed).randbytes(4).hex()
    written = quote(text.encode("utf-8", "surrogatepass"), safe="")[:7000]
    version = f"{INFER.removesuffix('/infer')}/versions/{written}"
    for method in ("GET", "POST", "DELETE", "PATCH", "PROPFIND"):
        yield request(method, f"/{written}", b"")
    for path in (f"/v2/models/{written}/infer", f"{version}/infer", f"/v2/repository/models/{written}/load"):
        yield request("POST", path, b"{}")
    for path in (f"/v2/models/{written}", version, f"{INFER}?{written}={written}", f"/v2/models/{written}/{written}"):
        yield request("GET", path)
    x = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}
    for document in (
        {text: 1},
        {"id": text, "inputs": [x]},
        {"inputs": [{text: 1} | x]},
        {"inputs": [x | {"name": text}]},
        {"inputs": [x | {"datatype": text}]},
        {"inputs": [x | {"data": text}]},
        {"inputs": [x | {"data": [text]}]},
        {"inputs": [x], "outputs": [{"name": text}]},
        {"inputs": [x], "outputs": [{"name": "y", "parameters": {text: text}}]},
        {"inputs": [x | {"parameters": {text: text, "binary_data_size": text}}]},
    ):
        yield request("POST", INFER, json.dumps(document).encode())
    line = "".join(re.findall(r"[^\x00-\x1f\x7f]", text)).encode("utf-8", "surrogatepass").decode("latin-1")
    for field in FIELDS:
        head = request("POST", INFER, b"{}", f"{field}: MARK")
        yield head.replace(b"MARK", line.encode("latin-1"))


def ask(service: Service, seed: int) -> list[int]:
    """The statuses of all that there are, over connections that the service may close."""
    return [status(service, sent) for number, text in enumerate(TEXTS) for sent in hostile(text, seed * 1000 + number)]


def status(service: Service, sent: bytes) -> int:
    with wire(service.api) as connection:
        connection.send(sent)
        return connection.answer().status_code


def series(service: Service) -> set[str]:
    """All that a scraper sees, without the numbers."""
    lines = service.probe("/metrics").text.splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.repository(tmp_path_factory.mktemp("models"), double=tiny.double(), text=tiny.identity("BYTES"))


def test_every_line_is_one_json_object_whatever_is_sent_and_no_series_is_the_clients(
    models: Path, tmp_path: Path
) -> None:
    with running(models, tmp_path, ONNICORN_LOG__LEVEL="debug") as service:
        assert {code for code in ask(service, 1) if code not in (200, 400, 403, 404, 405, 413, 414, 415, 431)} == set()
        ask(service, 1)  # the line and the count of the last request come behind its answer
        before = series(service)
        statuses = ask(service, 2)
        assert len(statuses) > 200
        service.wait_until(lambda: len(service.requests()) == 3 * len(statuses), "done with its log")
        assert series(service) == before
        text = service.stdout.read_text()
    assert UNSAFE.findall(text) == []
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line for line in lines if line["event"] == "forged" or line["level"] in ("critical", "error")] == []
    assert max(map(len, text.splitlines())) < 10_000


def test_a_terminal_is_not_driven_by_what_is_sent(models: Path, tmp_path: Path) -> None:
    with running(models, tmp_path, ONNICORN_LOG__LEVEL="debug", ONNICORN_LOG__FORMAT="console") as service:
        sent = len(ask(service, 1))
        service.wait_until(lambda: shown(service).count("request_id=") == sent, "done with its log")
    text = shown(service)
    assert UNSAFE.findall(text) == []
    assert [line for line in text.splitlines() if re.match(r"\S+ \[critical", line)] == []


def shown(service: Service) -> str:
    """What stands on a terminal, but for the colours that we give it."""
    return COLOURS.sub("", service.stdout.read_text())


def test_what_is_no_request_makes_no_series_either(models: Path, tmp_path: Path) -> None:
    with running(models, tmp_path) as service:
        for method in ("GET", "BREW", "\x1b[45m", "x" * 100):
            with connect(service.api) as connection:
                connection.sendall(f"{method} / HTTP/1.1\r\nHost: here\r\n\r\n".encode())
                connection.recv(1)
        service.wait_until(lambda: len(service.requests()) == 4, "done with its log")
        methods = {found[1] for name in series(service) if (found := re.search(r'method="(.*?)"', name))}
    assert methods <= {"GET", "POST", "OTHER"}
