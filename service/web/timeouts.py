"""How long a caller is willing to wait, from whichever header says it.

X-Request-Timeout-Ms               our own: milliseconds, 0 for none
x-envoy-expected-rq-timeout-ms     what Envoy tells about its own timeout: the same
grpc-timeout                       up to eight digits and a unit (gRPC over HTTP/2, "Requests")
"""

import re
from collections.abc import Callable, Mapping
from math import inf
from typing import Final

from service.deadline import NEVER, Deadline
from service.errors import MalformedRequest

MILLISECONDS: Final = re.compile(rb"[0-9]{1,10}(\.[0-9]{1,6})?")
GRPC: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
HEADERS: Final = {b"x-request-timeout-ms", b"grpc-timeout", b"x-envoy-expected-rq-timeout-ms"}


def deadline_of(headers: Mapping[bytes, bytes], default: float, arrived: Callable[[], float]) -> Deadline:
    """The shortest of the timeouts stated and `default` seconds, 0 for none. Raises MalformedRequest.

    Only where there is one it is asked when the request has `arrived`, on the monotonic clock.
    """
    stated = inf if HEADERS.isdisjoint(headers) else _stated(headers)
    return sooner(min(stated, default or inf), NEVER, arrived)


def sooner(timeout: float, deadline: Deadline, arrived: Callable[[], float]) -> Deadline:
    """The deadline, or `timeout` seconds after the request has `arrived`, whichever comes first."""
    if timeout == inf:
        return deadline
    other = Deadline.after(timeout, arrived())
    return other if other.at < deadline.at else deadline


def _stated(headers: Mapping[bytes, bytes]) -> float:
    stated = [inf]
    for name in ("X-Request-Timeout-Ms", "x-envoy-expected-rq-timeout-ms"):
        if (value := headers.get(name.lower().encode())) is not None:
            stated.append(_milliseconds(name, value))
    if (value := headers.get(b"grpc-timeout")) is not None:
        stated.append(_grpc(value))
    return min(stated)


def _milliseconds(name: str, value: bytes) -> float:
    if not MILLISECONDS.fullmatch(value):
        raise _unreadable(name, "a number of milliseconds, or 0 for no timeout", value)
    return float(value) / 1000 or inf


def _grpc(value: bytes) -> float:
    match = GRPC.fullmatch(value)
    if not match or not int(match[1]):
        raise _unreadable("grpc-timeout", "one to eight digits, above 0, and a unit of H M S m u n", value)
    return int(match[1]) * _UNITS[match[2]]


def _unreadable(name: str, expected: str, value: bytes) -> MalformedRequest:
    return MalformedRequest(f"{name}: expected {expected}, got {value[:60].decode('latin-1')!r}")
