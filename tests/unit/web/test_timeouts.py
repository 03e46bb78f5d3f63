"""How long a caller is willing to wait: every header, good and bad, and which of them counts."""

import re

import pytest

from service.deadline import NEVER, Deadline
from service.errors import MalformedRequest
from service.web.timeouts import deadline_of, sooner
from tests.unit.web.asgi import raw_headers

OURS, ENVOY, GRPC = "x-request-timeout-ms", "x-envoy-expected-rq-timeout-ms", "grpc-timeout"
SAID = {OURS: "X-Request-Timeout-Ms"}


def stated(default: float = 0, /, **headers: str) -> Deadline:
    """By a request that arrived at 0."""
    return deadline_of(raw_headers(**headers), default, lambda: 0.0)


def seconds(timeout: float) -> Deadline:
    return Deadline(timeout, timeout)


@pytest.mark.parametrize("headers", [{}, {"accept": "*/*", "x_request_timeout": "1", "timeout": "1"}])
def test_a_request_that_states_nothing_has_the_default(headers: dict[str, str]) -> None:
    assert stated(**headers) is NEVER
    assert stated(2.5, **headers) == seconds(2.5)


@pytest.mark.parametrize("name", [OURS, ENVOY])
@pytest.mark.parametrize(
    ("value", "timeout"),
    [
        ("1", 0.001),
        ("250", 0.25),
        ("0.5", 0.0005),
        ("1.000001", 0.001000001),
        ("007", 0.007),
        ("9999999999", 9999999.999),
    ],
)
def test_milliseconds_are_read(name: str, value: str, timeout: float) -> None:
    assert deadline_of({name.encode(): value.encode()}, 0, lambda: 0.0) == seconds(timeout)


@pytest.mark.parametrize("name", [OURS, ENVOY])
@pytest.mark.parametrize("value", ["0", "0.0", "000"])
def test_no_milliseconds_are_no_timeout(name: str, value: str) -> None:
    assert deadline_of({name.encode(): value.encode()}, 0, lambda: 0.0) is NEVER


@pytest.mark.parametrize(
    ("value", "timeout"),
    [
        ("1H", 3600),
        ("2M", 120),
        ("3S", 3),
        ("250m", 0.25),
        ("250u", 0.00025),
        ("250n", 0.00000025),
        ("00000001S", 1),
        ("99999999H", 99999999 * 3600),
    ],
)
def test_grpc_has_a_unit_for_everyone(value: str, timeout: float) -> None:
    assert stated(grpc_timeout=value).timeout == pytest.approx(timeout)


@pytest.mark.parametrize("name", [OURS, ENVOY])
@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "soon",
        "-1",
        "+1",
        "1e3",
        "1.",
        ".5",
        "1,5",
        "0x10",
        "inf",
        "nan",
        "1 ",
        "12345678901",
        "1.1234567",
        "²",
        "1s",
    ],
)
def test_milliseconds_that_cannot_be_read_are_refused(name: str, value: str) -> None:
    expected = f"{SAID.get(name, name)}: expected a number of milliseconds, or 0 for no timeout, got {value!r}"
    with pytest.raises(MalformedRequest, match=f"^{re.escape(expected)}$"):
        deadline_of({name.encode(): value.encode("latin-1")}, 0, lambda: 0.0)


@pytest.mark.parametrize("value", ["", "1", "S", "0S", "00m", "-1S", "1s", "1 S", "1.5S", "123456789S", "1SS", "1ms"])
def test_a_timeout_of_grpc_that_cannot_be_read_is_refused(value: str) -> None:
    expected = f"grpc-timeout: expected one to eight digits, above 0, and a unit of H M S m u n, got {value!r}"
    with pytest.raises(MalformedRequest, match=f"^{re.escape(expected)}$"):
        stated(grpc_timeout=value)


def test_of_a_long_value_only_the_beginning_is_repeated() -> None:
    with pytest.raises(MalformedRequest, match=rf"got '{'7' * 60}'$"):
        stated(x_request_timeout_ms="7" * 1000)


def test_one_that_cannot_be_read_is_refused_whatever_the_others_say() -> None:
    with pytest.raises(MalformedRequest, match=r"^grpc-timeout"):
        stated(x_request_timeout_ms="1", grpc_timeout="soon")


@pytest.mark.parametrize(
    ("ours", "envoy", "grpc", "default", "smallest"),
    [
        ("10", "20", "30m", 0.04, 0.01),
        ("20", "10", "30m", 0.04, 0.01),
        ("30", "20", "10m", 0.04, 0.01),
        ("40", "30", "20m", 0.01, 0.01),
        ("0", "20", "30m", 0.04, 0.02),
        ("0", "0", "30m", 0.04, 0.03),
        ("0", "0", "90m", 0.04, 0.04),
        ("0", "0", "30m", 0, 0.03),
    ],
)
def test_the_smallest_wins(ours: str, envoy: str, grpc: str, default: float, smallest: float) -> None:
    made = stated(default, x_request_timeout_ms=ours, x_envoy_expected_rq_timeout_ms=envoy, grpc_timeout=grpc)
    assert made == seconds(smallest)


def test_a_request_cannot_free_itself_of_the_default() -> None:
    assert stated(2, x_request_timeout_ms="0") == seconds(2)


def test_time_runs_from_the_moment_when_the_request_arrived() -> None:
    assert deadline_of(raw_headers(x_request_timeout_ms="500"), 0, lambda: 7.0) == Deadline(7.5, 0.5)
    assert deadline_of({}, 0.25, lambda: 7.0) == Deadline(7.25, 0.25)


def test_a_request_without_a_timeout_is_not_asked_when_it_arrived() -> None:
    def arrived() -> float:
        raise AssertionError("to ask costs a system call")

    assert (deadline_of({}, 0, arrived), sooner(float("inf"), NEVER, arrived)) == (NEVER, NEVER)


@pytest.mark.parametrize(
    ("timeout", "deadline", "earlier"),
    [
        (float("inf"), NEVER, NEVER),
        (1, NEVER, Deadline(8, 1)),
        (1, Deadline(9, 3), Deadline(8, 1)),
        (3, Deadline(8, 1), Deadline(8, 1)),
        (float("inf"), Deadline(8, 1), Deadline(8, 1)),
        (1, Deadline(8, 2), Deadline(8, 2)),
    ],
)
def test_of_two_the_one_that_comes_sooner_counts(timeout: float, deadline: Deadline, earlier: Deadline) -> None:
    assert sooner(timeout, deadline, lambda: 7.0) == earlier
