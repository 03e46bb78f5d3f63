"""Request ids and trace contexts: what is taken from a caller, and what is made."""

import re
import time
import uuid

import pytest

from service.telemetry.trace import Trace, continue_trace, request_id, uuid7

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"


@pytest.mark.parametrize("given", ["a", "A-Z.a_z:09", "x" * 128])
def test_a_harmless_id_is_kept(given: str) -> None:
    assert request_id(given) == given


@pytest.mark.parametrize("given", [None, "", "x" * 129, "a b", "a\n", "é", "<a>", "a/b"])
def test_another_id_is_replaced(given: str | None) -> None:
    assert uuid.UUID(request_id(given)).version == 7


def test_a_new_id_is_a_uuid_of_the_present() -> None:
    before = time.time_ns() // 1_000_000
    made = [uuid.UUID(uuid7()) for _ in range(100)]
    after = time.time_ns() // 1_000_000
    assert {(each.version, each.variant) for each in made} == {(7, uuid.RFC_4122)}
    assert [each for each in made if not before <= each.int >> 80 <= after] == []
    assert len(set(made)) == 100
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid7())


@pytest.mark.parametrize(
    ("traceparent", "flags"),
    [
        (f"00-{TRACE_ID}-{SPAN_ID}-01", "01"),
        (f"00-{TRACE_ID}-{SPAN_ID}-00", "00"),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01", "01"),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01-what-may-come", "01"),
    ],
)
def test_a_trace_goes_on_in_a_span_of_our_own(traceparent: str, flags: str) -> None:
    trace = continue_trace(traceparent)
    assert trace is not None
    assert trace == Trace(TRACE_ID, trace.span_id, flags)
    assert re.fullmatch(r"(?!0{16})[0-9a-f]{16}", trace.span_id)
    assert trace.span_id != SPAN_ID
    assert trace.parent == f"00-{TRACE_ID}-{trace.span_id}-{flags}"


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        "",
        "nonsense",
        f"00-{TRACE_ID}-{SPAN_ID}",
        f"00-{TRACE_ID}-{SPAN_ID}-01-more",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID}-1",
        f"cc-{TRACE_ID}-{SPAN_ID}-01more",
        f"00-{TRACE_ID}-{SPAN_ID}-01\n",
    ],
)
def test_a_trace_that_cannot_be_read_is_none(traceparent: str | None) -> None:
    assert continue_trace(traceparent) is None
