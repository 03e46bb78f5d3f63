"""Who is not let in: by how long they would wait, by what they ask for, and what they are told."""

import asyncio
import json
import re
import weakref
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest
from structlog.typing import EventDict

from service.dataplane import Dataplane
from service.engine.catalogue import Catalogue
from service.knobs import Admission
from service.scheduling.arrivals import Arrivals
from service.telemetry.metrics import ModelObserver
from service.web.gate import Answer, Gate, Headers, Open
from tests.oip import Json
from tests.unit.serving import serving

INFER = b"/v2/models/double/infer"
TOO_MUCH = "model 'double' has too much to do: the request would "
AGAIN = "; nothing was run, the request may be sent again"


class Behind(Arrivals):
    """So many requests wait for the loop, each of which takes ten milliseconds."""

    def __init__(self, waiting: int = 5) -> None:
        super().__init__()
        self.waiting = waiting

    @property
    def wait(self) -> float:
        return self.waiting * 0.01


class Gates:
    """Gates of a service that serves the tiny models, behind which five requests wait."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.dataplanes: list[Dataplane] = []

    def __call__(self, max_wait_ms: float = 20, bounds: Json | None = None, **options: Any) -> Gate:
        admission = Admission(max_wait_ms=max_wait_ms, **(bounds or {}))
        self.dataplanes.append(serving(self._catalogue, ModelObserver(), bounds=admission))
        made = Gate(self.dataplanes[-1], admission, **options)
        made.arrivals = Behind()
        return made


@pytest.fixture
def gate(catalogue: Catalogue) -> Iterator[Gates]:
    made = Gates(catalogue)
    yield made
    for dataplane in made.dataplanes:
        dataplane.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Its only number is the gate's time."""
    now = [monotonic()]
    monkeypatch.setattr("service.web.gate.monotonic", lambda: now[0])
    return now


def refuse(
    gate: Open,
    *headers: tuple[bytes, bytes],
    target: bytes = INFER,
    method: bytes = b"POST",
    arrived: Callable[[], float] = monotonic,
) -> Answer | None:
    async def run() -> Answer | None:
        return gate.refuse(method, target, headers, arrived)

    return asyncio.run(run())


def test_who_would_wait_too_long_is_told_so_and_when_to_come_again(gate: Gates) -> None:
    answer = refuse(gate(), (b"x-request-id", b"seven"))
    assert answer is not None
    sentence = f"{TOO_MUCH}wait about 50 ms for its run, and 20 ms is the most that any may{AGAIN}"
    assert json.loads(answer.body) == {"error": sentence, "code": "overloaded", "request_id": "seven"}
    assert (answer.status, answer.lines) == (
        503,
        b"content-type: application/json\r\nretry-after: 1\r\n"
        b"content-length: %d\r\nx-request-id: seven\r\n" % len(answer.body),
    )


def test_who_would_wait_a_little_is_let_in(gate: Gates) -> None:
    assert refuse(gate(max_wait_ms=50)) is None


@pytest.mark.parametrize(("timeout", "is_refused"), [(b"49", True), (b"90", False), (b"0", False)])
def test_a_wait_beyond_the_callers_timeout_is_too_long(gate: Gates, timeout: bytes, is_refused: bool) -> None:
    """It is asked by two, the second of whom could be told what the first was told."""
    asked = gate(max_wait_ms=2000)
    answers = [refuse(asked, (b"x-request-timeout-ms", each)) for each in (b"49", timeout)]
    assert answers[0] is not None
    sentence = rf"{TOO_MUCH}take about 50 ms, and has \d+ ms left of its timeout{AGAIN}"
    assert re.fullmatch(sentence, json.loads(answers[0].body)["error"])
    assert (answers[1] is not None) is is_refused


def test_time_that_a_request_has_lain_unread_is_gone(gate: Gates) -> None:
    asked, timeout = gate(max_wait_ms=1000), (b"x-request-timeout-ms", b"90")
    assert refuse(asked, timeout, arrived=lambda: monotonic() - 0.01) is None
    answer = refuse(asked, timeout, arrived=lambda: monotonic() - 0.08)
    assert answer
    assert b"left of its timeout" in answer.body


def test_the_default_timeout_counts_too(gate: Gates) -> None:
    assert refuse(gate(2000, {"default_timeout_ms": 40})) is not None


def test_the_status_is_the_one_that_is_set(gate: Gates) -> None:
    answer = refuse(gate(bounds={"overload_status": 429}))
    assert answer is not None
    assert answer.status == 429


def test_everybody_has_an_id_of_their_own(gate: Gates) -> None:
    asked = gate()
    answers = [
        refuse(asked, *headers) for headers in ([], [(b"x-request-id", b"not sound")], [(b"x-request-id", b"a")])
    ]
    ids = [json.loads(answer.body)["request_id"] for answer in answers if answer]
    assert len({*ids, "not sound"}) == 4
    assert ids[2] == "a"


def test_a_trace_is_continued(gate: Gates) -> None:
    answer = refuse(gate(), (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"))
    assert answer is not None
    assert b"\r\ntraceparent: 00-" + b"a" * 32 + b"-" in answer.lines
    assert b"b" * 16 not in answer.lines


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"GET", b"/v2/health/ready"),
        (b"GET", b"/metrics"),
        (b"GET", b"/v2/models/double"),
        (b"POST", b"/v2/repository/index"),
        (b"GET", INFER),
        (b"POST", b"/v2/models/nobody/infer"),
        (b"POST", b"/v2/models/double/versions/9/infer"),
        (b"POST", b"/v2/models/\xff/infer"),
        (b"POST", b"/v1/embeddings"),
    ],
)
def test_nobody_else_is_refused_here(gate: Gates, method: bytes, target: bytes) -> None:
    assert refuse(gate(), method=method, target=target) is None


@pytest.mark.parametrize(
    "header",
    [
        (b"expect", b"100-continue"),
        (b"transfer-encoding", b"chunked"),
        (b"content-length", b"100000"),
        (b"x-request-timeout-ms", b"soon"),
    ],
)
def test_what_is_unusual_is_looked_at_elsewhere(gate: Gates, header: tuple[bytes, bytes]) -> None:
    assert refuse(gate(), header) is None


def test_a_query_says_nothing(gate: Gates) -> None:
    assert refuse(gate(), target=INFER + b"?query") is not None


def test_predictions_are_refused_as_inferences_are(gate: Gates) -> None:
    assert refuse(gate(), target=b"/v1/models/double:predict") is not None
    assert refuse(gate(), target=b"/v1/models/double/versions/1:predict") is not None


def test_a_version_may_be_named(gate: Gates) -> None:
    assert refuse(gate(), target=b"/v2/models/double/versions/1/infer") is not None


def test_a_prefix_may_stand_before_the_path(gate: Gates) -> None:
    assert refuse(gate(root_path="/ml"), target=b"/ml" + INFER) is not None


def test_who_may_not_run_models_is_not_told_of_them(gate: Gates) -> None:
    def knows(headers: Headers) -> bool:
        return (b"x-api-key", b"mine") in headers

    asked = gate(may_infer=knows)
    assert refuse(asked) is None
    assert refuse(asked, (b"x-api-key", b"mine")) is not None


@pytest.mark.parametrize(("waiting", "later", "is_same"), [(5, 0.005, True), (5, 0.007, False), (50, 0.011, False)])
def test_what_one_is_told_others_are_told_for_an_eighth_of_the_wait(
    gate: Gates, clock: list[float], waiting: int, later: float, is_same: bool
) -> None:
    """And for ten milliseconds at the most."""
    asked = gate()
    asked.arrivals = Behind(waiting)
    assert refuse(asked) is not None
    asked.arrivals = Behind(0)
    clock[0] += later
    assert (refuse(asked) is not None) is is_same


@pytest.mark.parametrize(("later", "is_same"), [(0.0009, True), (0.0011, False)])
def test_that_a_timeout_is_too_short_is_told_to_those_who_were_read_with_it(
    gate: Gates, clock: list[float], later: float, is_same: bool
) -> None:
    """That is, for a millisecond. Others, whose time has just begun, may be in time."""
    asked, timeout = gate(max_wait_ms=1000), (b"x-request-timeout-ms", b"90000")
    assert refuse(asked, timeout, arrived=lambda: monotonic() - 89.99) is not None
    clock[0] += later
    assert (refuse(asked, timeout) is not None) is is_same


def test_nothing_of_a_request_is_kept(gate: Gates) -> None:
    """Nor of the model that it asked for, which a reload may have to free."""

    class Arrived:
        def __call__(self) -> float:
            return monotonic()

    asked, arrived = gate(), Arrived()
    known = weakref.ref(arrived)
    assert refuse(asked, (b"x-request-timeout-ms", b"90"), arrived=arrived) is not None
    del arrived
    assert known() is None


def test_refusals_are_accounted_for(gate: Gates, records: list[EventDict]) -> None:
    async def run() -> None:
        asked = gate()
        for name in (b"a", b"b"):
            asked.refuse(b"POST", INFER, [(b"x-request-id", name)], monotonic)
        asked.close()

    asyncio.run(run())
    [record] = records
    assert (record["event"], record["model"], record["request_ids"]) == ("refused", "double", ["a", "b"])


@pytest.mark.parametrize(("waiting", "elsewhere", "is_pressed"), [(4, 0, False), (5, 0, True), (0, 1, True)])
def test_the_gate_is_asked_only_where_others_wait(gate: Gates, waiting: int, elsewhere: int, is_pressed: bool) -> None:
    asked = gate()
    asked.arrivals = Behind(waiting)
    gate.dataplanes[0].waiting = elsewhere
    assert asked.is_pressed is is_pressed


def test_an_open_gate_lets_everybody_in() -> None:
    made = Open()
    made.arrivals = Behind(1000)
    assert (made.is_pressed, refuse(made)) == (False, None)
