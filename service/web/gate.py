"""Says no to a request for a model before anything has been done for it, where it would wait too long.

The server asks when a request's head has been read, and only where others wait already: whoever would get no answer in
time is told at once, at a fraction of the price, and those who were there before keep their places.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from time import monotonic
from typing import Final, NamedTuple

from service.dataplane import Dataplane
from service.errors import OnnicornError, Overloaded
from service.knobs import Admission
from service.scheduling.arrivals import Arrivals
from service.scheduling.turn import Turn
from service.telemetry.refusals import Kind, Refusals
from service.telemetry.trace import Trace, continue_trace, request_id
from service.web import problems
from service.web.headers import fields
from service.web.routes import Asked, inference
from service.web.timeouts import HEADERS, deadline_of

Headers = Sequence[tuple[bytes, bytes]]

# Where the server finds the gate: in the state that the app's lifespan gives it.
STATE: Final = "onnicorn.gate"
# So many have been done before anybody could be refused.
_FEW: Final = 4
# What was said to one is said to others who ask for the same: for this share of the wait that it tells of, within these
# bounds in seconds, or until everything that was said is forgotten. What waits hardly changes by more meanwhile.
_SAME_SHARE: Final = 1 / 8
_SAME_LEAST: Final = 1e-3
_SAME_MOST: Final = 10e-3
# A larger body is still on its way when its head has been read; such a request is refused where bodies are read.
_SMALL_BODY: Final = 5
# What makes a request unusual.
_TOLD_ELSEWHERE: Final = frozenset({b"expect", b"transfer-encoding"})


class Answer(NamedTuple):
    """`lines` are the headers' lines."""

    status: int
    lines: bytes
    body: bytes


class Open:
    """Lets everybody in: for an app that brings no gate.

    `arrivals` is told by the server of every request, and `turn` is asked for everything that is read;
    `overload_status` is what is said where there is too much to do.
    """

    def __init__(self, overload_status: int = 503) -> None:
        self.arrivals = Arrivals()
        self.turn = Turn()
        self.overload_status = overload_status

    @property
    def is_pressed(self) -> bool:
        """Is there anything to wait for?"""
        return False

    def refuse(self, method: bytes, target: bytes, headers: Headers, arrived: Callable[[], float]) -> Answer | None:
        return None


class Gate(Open):
    """One for each worker. `may_infer` says whether who sends such headers may run models at all."""

    def __init__(
        self,
        dataplane: Dataplane,
        bounds: Admission,
        root_path: str = "",
        may_infer: Callable[[Headers], bool] = lambda headers: True,
    ) -> None:
        super().__init__(bounds.overload_status)
        self._dataplane = dataplane
        self._default_timeout = bounds.default_timeout_ms / 1000
        self._root_path = root_path
        self._may_infer = may_infer
        self._refusals = Refusals()
        self._said: dict[tuple[bytes, ...], _Said] = {}
        self._until = 0.0

    @property
    def is_pressed(self) -> bool:
        return self.arrivals.waiting > _FEW or self._dataplane.waiting > 0

    def refuse(self, method: bytes, target: bytes, headers: Headers, arrived: Callable[[], float]) -> Answer | None:
        """The answer to a request that is not let in, already accounted for; None where it is, or others must say no.

        `arrived` says, on the monotonic clock, when it came. What is said to one whose timeout is too short is said to
        others for a millisecond: most of them are read with it, and have waited unread for as long.
        Probes, metrics and metadata are always let in.
        """
        if method != b"POST" or (asked := _asked(target, self._root_path)) is None:
            return None
        given = trace = None
        timeouts = [target]
        for name, value in headers:
            if name == b"x-request-id":
                given = value.decode("latin-1")
            elif name == b"traceparent":
                trace = continue_trace(value.decode("latin-1"))
            elif name in HEADERS:
                timeouts += (name, value)
            elif name in _TOLD_ELSEWHERE or (name == b"content-length" and len(value) > _SMALL_BODY):
                return None
        if (now := monotonic()) > self._until:
            self._said.clear()  # whoever asks may ask for ever other things
            self._until = now + _SAME_MOST
        key = tuple(timeouts)
        said = self._said.get(key)
        if said is None or now > said.until:
            said = self._ask(key, asked, headers, arrived)
        if said is None or not self._may_infer(headers):
            return None
        return said.to(request_id(given), trace, self._refusals)

    def close(self) -> None:
        """Nobody will come any more."""
        self._refusals.account()

    def _ask(
        self, key: tuple[bytes, ...], asked: Asked, headers: Headers, arrived: Callable[[], float]
    ) -> "_Said | None":
        try:
            lane = self._dataplane.enter(asked.model, asked.version)
            deadline = deadline_of(fields(headers), self._default_timeout, arrived)
            lane.admit(deadline, self.arrivals.wait)
        except Overloaded as refusal:
            model = lane.model
            status, sentence = self.overload_status, str(refusal)
            kind = Kind(asked.route, model.name, model.version, status, refusal.reason, sentence)
            said = self._said[key] = _Said(kind, refusal)
            return said
        except OnnicornError:
            pass  # said where the request is looked at
        return None


class _Said:
    """One refusal as it is told to all whom it concerns, `until` then: they differ by their ids.

    The error itself is not kept: its traceback holds the request, and the model that was asked for.
    """

    __slots__ = ("_body", "_kind", "_lines", "until")

    def __init__(self, kind: Kind, error: Overloaded) -> None:
        self._kind = kind
        share = 0 if error.reason == "deadline" else error.retry_after * _SAME_SHARE
        self.until = monotonic() + min(max(share, _SAME_LEAST), _SAME_MOST)
        self._body = problems.body_of(error, "").removesuffix(b'"}')
        headers = {"content-type": "application/json", **problems.headers_of(error)}
        self._lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()

    def to(self, identity: str, trace: Trace | None, refusals: Refusals) -> Answer:
        refusals.note(self._kind, identity)
        name = identity.encode()
        body = b'%s%s"}' % (self._body, name)
        lines = b"%scontent-length: %d\r\nx-request-id: %s\r\n" % (self._lines, len(body), name)
        if trace:
            lines += b"traceparent: %s\r\n" % trace.parent.encode()
        return Answer(self._kind.status, lines, body)


@lru_cache(256)
def _asked(target: bytes, root_path: str) -> Asked | None:
    """What a target asks for, where it is plain; a model's name never needs escapes, and a query says nothing here."""
    try:
        return inference(target.partition(b"?")[0].decode("ascii").removeprefix(root_path))
    except UnicodeDecodeError:
        return None
