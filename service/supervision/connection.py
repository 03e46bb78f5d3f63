"""One HTTP connection: Uvicorn's protocol class, with limits to what comes and how slowly, and with an end.

What is counted and timed is what is unusual: a head or a body that is not whole when its packet has been read. For a
request that comes in one packet that costs a comparison.
"""

import asyncio
from typing import Any, Final

import httptools
import structlog
from uvicorn.config import Config
from uvicorn.server import ServerState

from service.caller import EXTENSION, Caller
from service.errors import OnnicornError, Overloaded
from service.knobs import Limits
from service.supervision import head, presence
from service.supervision.crowd import Crowd
from service.supervision.declined import parser_behind
from service.supervision.farewell import Farewell
from service.supervision.intake import Intake
from service.supervision.manners import Mannerly
from service.supervision.patience import Reading, slow_body, slow_head
from service.supervision.refusal import Answered, error_behind, in_one_piece, refusal
from service.supervision.response import PIECE, Cycle
from service.supervision.unread import Heard

log = structlog.get_logger()

_SPACE: Final = frozenset((b" ", b"\t"))
# How many requests of one connection may wait behind the one that is answered: a packet has room for thousands.
_MOST_WAITING: Final = 256


class Connection(Mannerly):
    """`crowd` knows the limits, the time, and all connections of the server."""

    cycle: Cycle

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        crowd: Crowd | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._crowd = crowd or Crowd(server_state.connections, Limits(), config.timeout_keep_alive)
        self._limits = self._crowd.limits
        self._answering: Cycle | None = None
        self._since = 0.0  # when the phase began that this connection is in, by the crowd's clock
        self.rests_until = 0.0  # there is nothing to look for until then, unless something comes
        self._intake = Intake(self._limits)
        self._reading = Reading()
        self._refusal: OnnicornError | None = None
        self._farewell: Farewell | None = None  # from then on what comes is dropped
        self._has_ended = False  # the client has closed its side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._heard = Heard(transport.get_extra_info("socket"))
        if self.scheme == "https":  # what waits there waits in two buffers, and only one of them can be seen
            transport.set_write_buffer_limits(high=PIECE)
            self._reading = Reading(step=2 * PIECE)
        self._since = self._crowd.now
        if not self._crowd.admits():
            self.refuse(self._crowd.is_full())

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._crowd.leave(self)
        for cycle in filter(None, (self._answering, *(queued for queued, _ in self.pipeline))):
            cycle.lose()  # type: ignore[attr-defined]
        self._answering = None
        self.pipeline.clear()

    def receive(self, data: bytes) -> None:
        self.rests_until = 0.0
        if self._farewell:
            if not self._farewell.drop(len(data)):
                self.transport.abort()
            return
        self._intake.take(len(data))
        scope, body = self.scope, self.cycle.body if self.cycle else b""
        held = len(body)
        try:
            while data:
                data = self._feed(data)
            if self.cycle is None or self.cycle.more_body or self.cycle.scope is not self.scope:  # not all has come
                self._weigh(scope, body, held)
        except httptools.HttpParserError as error:
            self._fail(error_behind(error))
        except OnnicornError as error:
            self._fail(error)

    def _feed(self, data: bytes) -> bytes:
        """Give the parser what came; returns what is left behind an offer of another protocol (RFC 9110, 7.8)."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self.parser = parser_behind(self, self.cycle)
            return data[offer.args[0] :]
        return b""

    def on_header(self, name: bytes, value: bytes) -> None:
        """White space behind a value is no part of it (RFC 9110, 5.5), and the parser leaves it there."""
        super().on_header(name, value.rstrip(b" \t") if value[-1:] in _SPACE else value)

    def on_headers_complete(self) -> None:
        if self._farewell:
            return  # a request behind one whose answer at the gate was the last
        self._intake.check_head(self.url, self.headers)
        version = self.parser.get_http_version()
        head.check_form(version, self.url, self.headers)
        self.url = head.with_path(self.url)
        self.expect_100_continue = self.expect_100_continue and version != "1.0"  # RFC 9110, 10.1.1
        if self._gate.is_pressed and self._is_refused():
            return
        before = self._answering
        if len(self.pipeline) >= _MOST_WAITING:
            raise Overloaded(f"{_MOST_WAITING} requests of this connection wait for their answers", "waiting", 1)
        super().on_headers_complete()  # the request's task begins in a later turn of the loop
        if not before:  # others wait for the answers before theirs, and not for the loop
            self._gate.arrivals.arrive()
        caller = Caller(self._heard, self._gate.arrivals.begin)
        self.scope["extensions"] = {EXTENSION: caller}  # type: ignore[dict-item]
        Cycle.adopt(self.cycle, caller)
        self._answering = before or self.cycle
        self.headers = head.NOWHERE

    def _is_refused(self) -> bool:
        """Answer at once and go on, if the gate says so; what is unusual in any way may cost a little more."""
        parser, default = self.parser, self.server_state.default_headers
        if parser.should_upgrade() or not self.is_idle or self.flow.write_paused or b"connection" in dict(default):
            return False
        is_last = not parser.should_keep_alive() or parser.get_http_version() == "1.0"
        answer = self._gate.refuse(parser.get_method(), self.url, self.headers, self._heard)
        if answer is None:
            return False
        self.cycle = Answered(self.scope)  # type: ignore[assignment]  # so that the body is read past
        self.headers = head.NOWHERE
        written = in_one_piece(answer, default, is_last)
        self._reading.sent += len(written)
        self.transport.write(written)
        self.on_response_complete()
        if is_last:
            self._linger()
        return True

    def on_response_complete(self) -> None:
        """In place of Uvicorn's, which would set a timer."""
        self.server_state.total_requests += 1
        self._since = self._crowd.now
        ended, self._answering = self._answering, None
        if ended:
            self._reading.sent += ended.bytes_sent
            ended.body = bytearray()  # what nobody has read of it
        if self.transport.is_closing():
            return
        if ended and ended.lingers:
            self._linger()
            return
        if len(self.pipeline) <= 1:
            self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._answering = cycle  # type: ignore[assignment]
            self._gate.arrivals.arrive()
            self._start_asgi_task(cycle, app)
        elif self._refusal:
            self.refuse(self._refusal)

    @property
    def is_idle(self) -> bool:
        """No request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def idle_since(self) -> float | None:
        """Since when nothing has been going on; None where something is, or nothing ever was."""
        is_between = self.cycle is not None and self.is_idle and not self._farewell and not self._is_in_head
        return self._since if is_between and not self.postponed else None

    @property
    def _is_in_head(self) -> bool:
        """Of the last request only a part of its head has come."""
        return self.scope is not None and (self.cycle is None or self.cycle.scope is not self.scope)

    def _weigh(self, scope: Any, body: bytes | bytearray, held: int) -> None:
        """Something is not whole behind this packet; what it was before says what the packet was part of.

        Raises UriTooLong, HeadersTooLarge.
        """
        if self._is_in_head:
            is_new = self.scope is not scope
            if is_new:
                self._since = self._crowd.now
            self._intake.weigh_head(is_new, self.url, self.headers)
        elif self.cycle is None:
            return  # empty lines
        elif self.cycle.body is body:
            self._intake.weigh_body(len(body) - held)
        else:
            self._intake.begin_body()

    @property
    def unsent(self) -> int:
        """Bytes of answers that the client has not taken yet."""
        return self.transport.get_write_buffer_size() + (self._answering.bytes_left if self._answering else 0)

    def look(self, elapsed: float) -> None:
        """End what has lasted too long. `elapsed` is how long ago the last look was, in seconds."""
        unsent = self.unsent
        answering = self._answering.bytes_sent if self._answering else 0
        if not self._reading.is_kept(answering, unsent, elapsed, self._limits):
            log.info("reader_too_slow", unsent=unsent)
            self.transport.abort()
        elif self.transport.is_closing() or self.postponed:
            return
        elif not self.is_idle:
            self._look_at_body(elapsed)
            if self._has_ended:
                presence.ask(self.transport, self._answering)
        elif self._farewell:
            if self._farewell.has_ended and not unsent:
                self.transport.close()
        elif self._is_in_head:
            if self._crowd.has_lasted(self._since, self._limits.header_seconds):
                self._fail(slow_head(self._limits))
        else:
            seconds = self._limits.header_seconds if self.cycle is None else self._crowd.keep_alive_seconds
            self.rests_until = 0.0 if unsent else self._since + seconds
            if not unsent and self._crowd.has_lasted(self._since, seconds):
                self.transport.close()

    def _look_at_body(self, elapsed: float) -> None:
        """A body that we do not let come is not the client's fault."""
        if self._farewell or self.flow.read_paused or not self.cycle.is_owed_more:
            return
        if not self._intake.is_body_fast(elapsed):
            self._fail(slow_body(self._limits))

    def _fail(self, error: OnnicornError) -> None:
        """Nothing that comes is looked at any more. Whoever is owed the answer gets it; others get theirs before."""
        if self._farewell:
            return  # bytes behind the last answer
        self._farewell = Farewell(self._crowd)
        if self.is_idle:
            self.refuse(error)
        elif self._is_in_head or not self.cycle.more_body:
            self._refusal = error
        else:
            self.cycle.fail(error)

    def refuse(self, error: OnnicornError) -> None:
        """An answer without an app, and the end."""
        answer, record = refusal(error, self.server_state.default_headers, self._gate.overload_status)
        self.transport.write(answer)
        record.close()
        self._linger()

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client that closes its side behind its request still wants the answer; only a lost connection cancels."""
        self._has_ended = True
        if self.is_idle or (self.cycle.more_body and not self._farewell) or not self.transport.can_write_eof():
            return False
        self.cycle.keep_alive = False
        return True

    def answer_last(self) -> None:
        """The answer that is under way closes the connection."""
        if not self.is_idle:
            self.cycle.keep_alive = False

    def say_goodbye(self, *, at_last: bool = False) -> None:
        """FIN to an idle client; a request that is being answered hears of it, as `Cycle.dismiss` has it."""
        if self.is_idle and not self._farewell and not self.postponed:
            self._linger()
        elif self._answering:
            self._answering.dismiss(at_last=at_last)

    def _linger(self) -> None:
        """FIN. What has come behind the last request, and what still comes, is dropped, but read: nothing is reset."""
        self.rests_until = 0.0
        if self.pipeline:
            self.pipeline.clear()
            self.cycle = None  # type: ignore[assignment]
        self._farewell = self._farewell or Farewell(self._crowd)
        self._farewell.begin()
        self._crowd.leaving[self] = None
        if self.cycle:
            self.cycle.body = bytearray()
        if self._has_ended or not self.transport.can_write_eof():
            self.transport.close()  # TLS has no half-closed state, and drops by itself what comes meanwhile
        else:
            self.transport.write_eof()
            self.flow.resume_reading()
