"""POST /v1/embeddings, OpenAI's: texts to vectors, by the models whose `model.toml` says `task = "embeddings"`.

Which model that is stands in the body, so the body is read before a model is asked whether it has time.
"""

import asyncio
from functools import partial
from time import perf_counter
from typing import Final

from starlette.types import Receive, Scope, Send

from service.caller import caller_of
from service.deadline import NEVER
from service.engine.catalogue import Catalogue
from service.engine.model import Model
from service.engine.transform import Loaded
from service.errors import SignatureMismatch, TransformFailed
from service.knobs import Limits
from service.lane import Predicted
from service.protocol import embeddings
from service.protocol.embeddings import Embeddings, EmbeddingsRequest
from service.web.headers import fields
from service.web.passage import Answer, Headers, Passage, compressed, finish
from service.web.reading import is_long
from service.web.records import record_of
from service.web.routes import Asked

TASK: Final = "embeddings"
# So many vectors, of a thousand numbers each, are made text of in a millisecond.
_FEW: Final = 16


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
            content = await passage.read(given, receive, record, hold)
            started = perf_counter()
            decode = partial(embeddings.decode, content, passage.limits)
            if is_long(content, None):
                asked = await passage.reader.read(decode, len(content), 0, hold, NEVER, caller)
            else:
                asked = decode()
            del content, decode
            with passage.dataplane.enter(asked.model) as lane:
                deadline = passage.admit(lane, given, caller, record)
                transform = _transform(lane.model, passage.dataplane.catalogue)
                instances = transform.parse([{"text": text} for text in asked.texts])
                record.decode = perf_counter() - started
                deadline.check("decode")
                done = await lane.predict(instances, deadline, caller=caller)
                record.rows, record.queue, record.run = done.rows, done.queue, done.run

        started = perf_counter()
        encode = partial(_encoded, lane.model, transform, done, asked, passage.limits)
        answer = await asyncio.to_thread(encode) if done.rows > _FEW else encode()
        headers: Headers = [(b"content-type", b"application/json")]
        if chosen := passage.coding(given, answer):
            headers, answer = await compressed(chosen, headers, answer)
        return finish(headers, answer, started, deadline, record)


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


def _encoded(model: Model, transform: Loaded, done: Predicted, asked: EmbeddingsRequest, limits: Limits) -> bytes:
    try:
        made = Embeddings.of(transform.document(done.predictions))
    except (TypeError, KeyError, ValueError) as error:
        raise TransformFailed(model.name, model.version) from error
    made.require(asked.dimensions)
    return embeddings.encode(model.name, made, asked.is_base64, limits)
