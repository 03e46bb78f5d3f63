"""POST /v1/embeddings, OpenAI's: texts to vectors, by the models whose `model.toml` says `task = "embeddings"`.

Which model that is stands in the body, so the body is read before a model is asked whether it has time; where only one
makes embeddings, it is asked before, too.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Final

from starlette.types import Receive, Scope, Send

from service.caller import Caller, caller_of
from service.deadline import Deadline
from service.engine.catalogue import Catalogue
from service.engine.model import Model
from service.engine.transform import Loaded
from service.errors import ModelNotReady, Overloaded, SignatureMismatch, TransformFailed
from service.knobs import Limits
from service.lane import Predicted
from service.protocol import embeddings, v1
from service.protocol.embeddings import Embeddings, EmbeddingsRequest
from service.scheduling.admission import Hold
from service.telemetry.record import Record
from service.web.headers import fields
from service.web.passage import Answer, Headers, Passage, account, compressed, finish
from service.web.reading import Read, Reader, is_long
from service.web.records import record_of
from service.web.routes import Asked

TASK: Final = "embeddings"
# What an instance with one text takes beyond the text, about.
_INSTANCE_BYTES: Final = 512


class Embed:
    """The door of OpenAI's clients."""

    def __init__(self, passage: Passage) -> None:
        self._passage = passage

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: Asked) -> Answer:
        passage = self._passage
        record = record_of(scope)
        given = fields(scope["headers"])
        caller = caller_of(scope)
        with passage.budget.hold() as hold:
            deadline = passage.deadline(given, caller)
            self._admit_early(deadline, record)
            content = await passage.read(given, receive, record, hold)
            deadline.check("body")
            started = perf_counter()
            visit = _Visit(passage.reader, len(content), is_long(content, None), hold, caller)
            decode = partial(embeddings.decode, content, passage.limits)
            del content
            asked = await visit.read(decode, 0, deadline)
            del decode
            with passage.dataplane.enter(asked.model) as lane:
                deadline = passage.admit(lane, given, caller, record)
                transform = _transform(lane.model, passage.dataplane.catalogue)
                lane.model.check_rows(len(asked.texts))
                made = await visit.read(partial(_instances, transform, asked.texts), asked.weight, deadline)
                record.decode = perf_counter() - started
                deadline.check("decode")
                done = await lane.predict(made.instances, deadline, caller=caller)
                record.rows, record.queue, record.run = done.rows, done.queue, done.run

        started = perf_counter()
        # In a thread, because what others have written may take its time.
        answer = await asyncio.to_thread(_encoded, lane.model, transform, done, asked, passage.limits)
        headers: Headers = [(b"content-type", b"application/json")]
        if chosen := passage.coding(given, answer):
            headers, answer = await compressed(chosen, headers, answer)
        return finish(headers, answer, started, deadline, record)

    def _admit_early(self, deadline: Deadline, record: Record) -> None:
        """Where there is but one model that can be meant, no body is read that it has no time for. Raises Overloaded.

        Only then is the request the model's: what is in a body that is read may mean another, or nothing.
        """
        dataplane = self._passage.dataplane
        names = embedders(dataplane.catalogue)
        if len(names) != 1:
            return
        with suppress(ModelNotReady), dataplane.enter(names[0]) as lane:
            try:
                lane.admit(deadline)
            except Overloaded:
                account(record, lane.model)
                raise


@dataclass(frozen=True, slots=True)
class _Visit:
    """A request whose body of so many bytes has come."""

    reader: Reader
    length: int
    is_long: bool
    hold: Hold
    caller: Caller

    async def read(self, decode: Callable[[], Read], kept: int, deadline: Deadline) -> Read:
        """What is in the body, or in what was made of it, besides `kept` bytes that stay."""
        if self.is_long:
            return await self.reader.read(decode, self.length, kept, self.hold, deadline, self.caller)
        return decode()


def embedders(catalogue: Catalogue) -> list[str]:
    """The names of the models that make embeddings."""
    return sorted({model.name for model in catalogue.models if model.declaration.task == TASK})


def _transform(model: Model, catalogue: Catalogue) -> Loaded:
    """That of a model which makes embeddings. Raises SignatureMismatch for any other, and names those that do."""
    if model.declaration.task == TASK and model.transform:
        return model.transform
    names = ", ".join(map(repr, embedders(catalogue)))
    those = f"those that do: {names}" if names else "none that is served here does"
    raise SignatureMismatch(
        f"'model': {model.name!r} makes no embeddings: its model.toml does not say task = \"{TASK}\"; {those}"
    )


def _instances(transform: Loaded, texts: list[str]) -> v1.Instances:
    return v1.Instances(transform.parse([{"text": text} for text in texts]), _INSTANCE_BYTES * len(texts))


def _encoded(model: Model, transform: Loaded, done: Predicted, asked: EmbeddingsRequest, limits: Limits) -> bytes:
    try:
        made = Embeddings.of(transform.document(done.predictions))
    except (TypeError, KeyError, ValueError) as error:
        raise TransformFailed(model.name, model.version) from error
    made.require(asked.dimensions)
    return embeddings.encode(model.name, made, asked.is_base64, limits)
