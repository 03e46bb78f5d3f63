"""Pure ASGI around every request: its id and trace, its record, and the last resort for errors."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.caller import ClientLeft, caller_of
from service.errors import InternalError, Interrupted, OnnicornError
from service.telemetry.record import Record
from service.web import problems
from service.web.records import attach, headers_of, record_for, record_of


class Accounting:
    """Outermost. Gives the request an id and a trace, puts both on the answer, and closes the record at its end.

    HEAD is answered as GET without a body: the inner app sees GET, the server drops the body. `close` is what to do
    with a record at its end; until then it is in `in_flight`.
    """

    def __init__(
        self, app: ASGIApp, close: Callable[[Record], None] = Record.close, in_flight: set[Record] | None = None
    ) -> None:
        self.app = app
        self.close = close
        self.in_flight: set[Record] = set() if in_flight is None else in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        caller_of(scope).begin()
        record = record_for(scope)
        inner = {**scope, "method": "GET"} if record.method == "HEAD" else scope
        attach(inner, record)
        names = headers_of(record)

        async def account(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *names]}
            elif record.method != "HEAD":
                record.bytes_out += len(message.get("body", b""))
            await send(message)

        self.in_flight.add(record)
        try:
            await self.app(inner, receive, account)
        finally:
            self.in_flight.discard(record)
            if "route" in inner:  # set by FastAPI's router
                record.route = getattr(inner["route"], "path", record.route)
            self.close(record)


class Behind:
    """The path prefix that an ingress puts before ours: taken off here, if the ingress has not done it."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app = app
        self.root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path", "").startswith(f"{self.root_path}/"):
            scope = {**scope, "path": scope["path"][len(self.root_path) :]}
        await self.app(scope, receive, send)


class LastResort:
    """Around all that may fail: our own errors become problems, any other a 500 that says only the request id."""

    def __init__(self, app: ASGIApp, overload_status: int = 503) -> None:
        self.app = app
        self._overload_status = overload_status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        except ClientLeft as left:
            record_of(scope).left = left.stage
        except OnnicornError as error:
            await problems.respond(scope, error, self._overload_status)(scope, receive, send)
        except (Exception, asyncio.CancelledError) as error:
            if record_of(scope).has_started:
                _note(record_of(scope), error)
                raise
            # Made elsewhere: a variable here would be in the error's traceback, and keep itself alive.
            await problems.respond(scope, _unexpected(error))(scope, receive, send)


def _note(record: Record, error: BaseException) -> None:
    """Its status says that all was well, when it was sent."""
    record.error = _unexpected(error)
    record.code = record.error.code


def _unexpected(error: BaseException) -> OnnicornError:
    # Cancelled is what a server does to a request when its own time is over.
    problem = Interrupted() if isinstance(error, asyncio.CancelledError) else InternalError()
    problem.__cause__ = error
    return problem
