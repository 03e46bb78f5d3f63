"""POST /v2/models/{model}/infer_stream: one request that is answered row by row, or many, line by line."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from starlette.types import Receive, Scope, Send

from service.caller import Caller, caller_of
from service.deadline import Deadline
from service.errors import Draining, OnnicornError
from service.lane import Lane
from service.protocol.events import EVENT_END, event_head, event_problem
from service.telemetry.record import Record
from service.web.bulk import Bulk
from service.web.forms import Requests
from service.web.headers import fields
from service.web.infer import requested
from service.web.passage import Passage
from service.web.portions import are_lines
from service.web.records import record_of
from service.web.routes import Asked
from service.web.scoring import Item, Scored, Scoring
from service.web.stream import Reply, answers, while_heard

_HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class InferStream:
    """By the body's type: lines of JSON are answered by lines, anything else by server-sent events."""

    def __init__(self, passage: Passage) -> None:
        self._passage = passage
        self._bulk = Bulk(passage)

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: Asked) -> None:
        passage, record, caller = self._passage, record_of(scope), caller_of(scope)
        given = fields(scope["headers"])
        if are_lines(given):
            await self._bulk(scope, receive, send, path, self._form)
            return
        with passage.dataplane.enter(path.model, path.version) as lane, passage.budget.hold() as hold:
            asked, deadline = await requested(passage, lane, given, receive, record, caller, hold)
            form = self._form(lane, record)
            whole = form.item(asked)
            record.answers = 0
            window = passage.windows.of(lane)
            rows = form.rows_of(whole, lambda: window.rows)
            stream = _Events(Scoring(lane, form, record, window), rows, record, deadline, caller)
            await while_heard(caller, stream.serve(Reply(send, _HEADERS)))

    def _form(self, lane: Lane, record: Record) -> Requests:
        return Requests(lane, self._passage.limits, record.request_id)


class _Events:
    """One answer. Nothing has been sent before the first row has run, so until then it can fail as any other."""

    def __init__(
        self,
        scoring: Scoring,
        portions: Iterator[Mapping[int, Item]],
        record: Record,
        deadline: Deadline,
        caller: Caller,
    ) -> None:
        self._scoring = scoring
        self._portions = portions
        self._record = record
        self._deadline = deadline
        self._caller = caller

    async def serve(self, reply: Reply) -> None:
        try:
            async with aclosing(answers(self._take, self._score)) as scored:
                async for some in scored:
                    await self._send(some, reply)
                    del some  # what has been sent need not wait for what comes next
        except OnnicornError as error:
            if not reply.has_begun:
                raise
            self._record.code, self._record.error = error.code, error
            await reply.end(event_problem(error, self._record.request_id))
        else:
            await reply.end()

    async def _take(self) -> Mapping[int, Item] | None:
        """Raises Draining, if there is more than the first to take."""
        portion = next(self._portions, None)
        if portion and self._caller.is_dismissed and (first := next(iter(portion))):
            raise Draining(f"rows from {first} on")
        return portion

    async def _score(self, rows: Mapping[int, Item]) -> list[Scored]:
        return await self._scoring.score(rows, self._deadline)

    async def _send(self, scored: Sequence[Scored], reply: Reply) -> None:
        """Raises why the first failed that has."""
        async with aclosing(self._scoring.texts(scored)) as texts:
            async for each, text in texts:
                if each.failure:
                    await reply.flush()
                    raise each.failure
                await reply.add(event_head(each.number))
                await reply.add(text, EVENT_END)
                self._record.answers = (self._record.answers or 0) + 1
        await reply.flush()
