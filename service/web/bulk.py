"""Bulk scoring: lines of JSON in, lines of JSON out, in their order, however many there are."""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from time import monotonic, perf_counter
from typing import Final

from starlette.types import Receive, Scope, Send

from service.caller import NOBODY, caller_of
from service.deadline import NEVER, Deadline
from service.errors import Draining, OnnicornError
from service.lane import Lane
from service.protocol.events import Line, Lines, line_problem
from service.scheduling.admission import Hold
from service.telemetry.record import Record
from service.web.headers import fields
from service.web.passage import Passage
from service.web.portions import MEDIA_TYPE, TOGETHER, Portions
from service.web.records import record_of
from service.web.routes import Asked
from service.web.scoring import Form, Item, Scored, Scoring
from service.web.stream import Reply, answers, patiently, while_heard
from service.web.timeouts import sooner

# A balancer that gathers answers would keep them from the client, who then stops sending.
_HEADERS: Final = [(b"content-type", MEDIA_TYPE), (b"x-accel-buffering", b"no")]


class Bulk:
    """At any door: what a line asks for, the door's form knows."""

    def __init__(self, passage: Passage) -> None:
        self._passage = passage

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, path: Asked, form_of: Callable[[Lane, Record], Form]
    ) -> None:
        passage, record, caller = self._passage, record_of(scope), caller_of(scope)
        given = fields(scope["headers"])
        caller.is_stream = True
        with passage.dataplane.enter(path.model, path.version) as lane, passage.budget.hold() as hold:
            timeout = passage.admit(lane, given, caller, record).timeout
            lines = Lines(passage.body_limit)
            window = passage.windows.of(lane)
            portions = Portions(receive, given, record, lines, lambda: window.rows, hold, caller)
            await portions.listen()  # what is wrong with the whole body is an answer of its own
            reply = Reply(send, _HEADERS, passage.coding_of_stream(given))
            await reply.begin()
            record.answers = 0
            stream = _Stream(passage, lane, form_of(lane, record), record, lines, timeout)
            await while_heard(caller, stream.serve(portions, reply))


class _Stream:
    """One of them. `timeout` is that of each portion, in seconds, from the moment when it has come."""

    def __init__(self, passage: Passage, lane: Lane, form: Form, record: Record, lines: Lines, timeout: float) -> None:
        self._passage = passage
        self._form = form
        self._record = record
        self._lines = lines
        self._timeout = timeout
        self._scoring = Scoring(lane, form, record, passage.windows.of(lane))

    async def serve(self, portions: Portions, reply: Reply) -> None:
        """Where not all can be answered the last line says why, and from which line on nothing was run."""
        try:
            async with aclosing(answers(portions.take, self._score)) as scored:
                async for some in scored:
                    await self._send(some, reply)
                    del some  # what has been sent need not wait for what comes next
        except OnnicornError as error:
            if isinstance(error, Draining):
                error = Draining(f"lines from {portions.untaken} on")
            self._record.code, self._record.error = error.code, error
            await reply.end(line_problem(error, portions.untaken))
        else:
            await reply.end()

    async def _score(self, portion: Sequence[Line]) -> list[Scored]:
        began = monotonic()
        deadline = sooner(self._timeout, NEVER, lambda: began)
        with self._passage.budget.hold() as hold:
            started = perf_counter()
            short = [line for line in portion if line.text is not None and len(line.text) <= TOGETHER]
            read = self._form.read_all([line.text for line in short if line.text])
            items = {line.number: item for line, item in zip(short, read, strict=True)}
            for line in portion:
                if line.number not in items:
                    items[line.number] = await self._read_long(line, hold, deadline)
            self._scoring.note_decoding(perf_counter() - started)
            return await self._scoring.score(items, deadline)

    async def _read_long(self, line: Line, hold: Hold, deadline: Deadline) -> Item | OnnicornError:
        """In a thread, and with a share of the budget."""
        if line.text is None:
            return self._lines.too_long()
        try:
            await patiently(partial(_resize, hold, len(line.text)), deadline)
            read = partial(self._form.read, line.text)
            return await self._passage.reader.read(read, len(line.text), 0, hold, deadline, NOBODY)
        except OnnicornError as error:
            return error

    async def _send(self, scored: Sequence[Scored], reply: Reply) -> None:
        async with aclosing(self._scoring.texts(scored)) as texts:
            async for each, text in texts:
                if each.failure:
                    await reply.add(line_problem(each.failure, each.number))
                else:
                    await reply.add(text, b"\n")
                self._record.answers = (self._record.answers or 0) + 1
        await reply.flush()


async def _resize(hold: Hold, size: int) -> None:
    hold.resize(size)
