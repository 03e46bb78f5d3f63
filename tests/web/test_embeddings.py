"""POST /v1/embeddings: models that make vectors of texts, as OpenAI's clients ask for them."""

import asyncio
import gzip
import json
import struct
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from service.caller import Caller
from service.settings import Settings
from service.telemetry.logs import AlreadyLogged
from service.web.app import create_app
from tests import tiny
from tests.oip import Answer, Json
from tests.unit.loop import SECONDS, until
from tests.web.conftest import Serve
from tests.web.test_overload import ENDLESS, Client, metric

PATH = "/v1/embeddings"
LENGTHS = """
import numpy as np
from pydantic import BaseModel
from service.engine.transform import BadInstance

class Text(BaseModel):
    text: str

class Lengths:
    Instance = Text
    Prediction = list[float]

    def before(self, instances):
        texts = [each.text for each in instances]
        if "bad" in texts:
            raise BadInstance("no such word", texts.index("bad"))
        return {"x": np.array([[len(text), text.count("a"), 0, 1] for text in texts], np.float32)}

    def after(self, outputs):
        return outputs["y"].tolist()
"""
COUNTED = """
    def after(self, outputs):
        return [{"embedding": vector[:2], "tokens": int(vector[0])} for vector in outputs["y"].tolist()]
"""
WORDS = """
    def after(self, outputs):
        return ["a word"] * len(outputs["y"])
"""
TURNS = """
import numpy as np
from pydantic import BaseModel

class Text(BaseModel):
    text: str

class Turns:
    Instance = Text
    Prediction = list[float]

    def before(self, instances):
        return {"trips": np.array([int(instances[0].text)])}

    def after(self, outputs):
        return [outputs["turned"].astype(np.float64)]
"""
EMBEDS = 'task = "embeddings"\n'


def folder(models: Path, name: str, transform: str, declared: str = EMBEDS) -> None:
    """`double`, of which the vectors are twice a text's length, twice its letters a, 0 and 2."""
    place = tiny.write(tiny.double(), models, name).parent.parent
    (place / "model.toml").write_text(declared)
    if transform:
        (place / "transform.py").write_text(transform)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    folder(models, "lengths", LENGTHS, EMBEDS + "limits = { max_rows = 50 }")
    folder(models, "counted", LENGTHS.replace("list[float]", "dict") + COUNTED)
    folder(models, "wordless", LENGTHS.replace("Prediction = list[float]", "Prediction = str") + WORDS)
    folder(models, "plain", LENGTHS, "")
    return tiny.repository(models, double=tiny.double())


@pytest.fixture(scope="module")
def client(models: Path, cache_dir: Path) -> Iterator[TestClient]:
    app = create_app(Settings(repository={"path": models}, cache={"dir": cache_dir}))
    with TestClient(app, headers={"Accept-Encoding": "identity"}) as client:
        yield client


def embed(client: TestClient, texts: Any = "banana", model: str = "lengths", **others: Any) -> Answer:
    return client.post(PATH, json={"model": model, "input": texts} | others)


def vectors(answer: Answer) -> list[list[float]]:
    assert answer.status_code == 200, answer.content
    return [datum["embedding"] for datum in answer.json()["data"]]


def assert_refused(answer: Answer, status: int, code: str, words: str) -> None:
    """In the form in which OpenAI's client shows the sentence, which has these words in it."""
    sentence = answer.json()["error"]["message"]
    assert (answer.status_code, answer.json()) == (
        status,
        {
            "error": {"message": sentence, "type": code, "code": code},
            "code": code,
            "request_id": answer.headers["X-Request-ID"],
        },
    )
    assert words in sentence


def test_one_text_gets_one_vector(client: TestClient) -> None:
    assert embed(client).json() == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [12, 6, 0, 2]}],
        "model": "lengths",
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    }


def test_texts_get_their_vectors_in_order(client: TestClient) -> None:
    texts = ["a" * length for length in range(40)]
    assert vectors(embed(client, texts)) == [[2 * length, 2 * length, 0, 2] for length in range(40)]


def test_a_vector_may_be_packed(client: TestClient) -> None:
    (packed,) = vectors(embed(client, encoding_format="base64"))
    assert struct.unpack("<4f", b64decode(str(packed))) == (12, 6, 0, 2)


def test_a_transform_may_count_tokens(client: TestClient) -> None:
    answer = embed(client, ["banana", "pear"], "counted").json()
    assert [datum["embedding"] for datum in answer["data"]] == [[12, 6], [8, 2]]
    assert answer["usage"] == {"prompt_tokens": 20, "total_tokens": 20}


def test_the_number_of_dimensions_may_be_said_and_not_be_changed(client: TestClient) -> None:
    assert vectors(embed(client, dimensions=4)) == [[12, 6, 0, 2]]
    assert_refused(embed(client, dimensions=2), 400, "malformed_request", "'dimensions': expected 4")


def test_it_is_an_inference_as_any(client: TestClient) -> None:
    answered = {"route": PATH, "method": "POST", "status": "200"}
    inferred = {"model": "lengths", "version": "1", "outcome": "ok"}
    before = metric("http_requests_total", **answered), metric("inference_requests_total", **inferred)
    answer = client.post(PATH, json={"model": "lengths", "input": ["a", "b"]}, headers={"X-Request-ID": "mine"})
    assert answer.headers["X-Request-ID"] == "mine"
    stages = [part.partition(";")[0] for part in answer.headers["Server-Timing"].split(", ")]
    assert stages == ["decode", "queue", "run", "encode"]
    after = metric("http_requests_total", **answered), metric("inference_requests_total", **inferred)
    assert after == (before[0] + 1, before[1] + 1)


def test_bodies_and_answers_may_be_compressed(client: TestClient) -> None:
    body = gzip.compress(json.dumps({"model": "lengths", "input": ["a"] * 50}).encode())
    headers = {"Content-Encoding": "gzip", "Accept-Encoding": "gzip", "Content-Type": "application/json"}
    answer = client.post(PATH, content=body, headers=headers)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert vectors(answer) == [[2, 2, 0, 2]] * 50


def test_a_long_body_is_read_as_well(client: TestClient) -> None:
    assert vectors(embed(client, ["a" * 100_000, "b"])) == [[200_000, 200_000, 0, 2], [2, 0, 0, 2]]


@pytest.mark.parametrize("model", ["plain", "double"])
def test_a_model_that_makes_no_embeddings_names_those_that_do(client: TestClient, model: str) -> None:
    sentence = (
        f"'model': '{model}' makes no embeddings: its model.toml does not say task = \"embeddings\"; "
        "those that do: 'counted', 'lengths', 'wordless'"
    )
    assert_refused(embed(client, model=model), 400, "signature_mismatch", sentence)


def test_where_no_model_makes_embeddings_that_is_said(serve: Serve, tmp_path: Path) -> None:
    with serve(tiny.repository(tmp_path, double=tiny.double())) as client:
        answer = embed(client, model="double")
    assert_refused(answer, 400, "signature_mismatch", "none that is served here does")


@pytest.mark.parametrize(
    ("changes", "status", "code", "words"),
    [
        ({"model": "nobody"}, 404, "model_not_found", "model 'nobody' is not served here"),
        ({"model": None}, 400, "malformed_request", "'model': expected the name of a model, got nothing"),
        ({"input": [[101, 102]]}, 400, "malformed_request", "send the texts themselves"),
        ({"input": ["good", "bad"]}, 400, "malformed_request", "instances[1]: no such word"),
        ({"input": ["a"] * 51}, 400, "signature_mismatch", "at most 50 rows in one request, got 51"),
        ({"model": "wordless"}, 500, "transform_failed", "wordless"),
    ],
)
def test_every_mistake_gets_its_answer(client: TestClient, changes: Json, status: int, code: str, words: str) -> None:
    document = {"model": "lengths", "input": "a"} | changes
    assert_refused(client.post(PATH, json=document), status, code, words)


def test_the_documentation_shows_a_request_that_is_answered_as_it_says(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"][PATH]["post"]

    def validate(described: Json, value: Any) -> None:
        jsonschema_rs.validate(described | {"components": document["components"]}, value)

    request = operation["requestBody"]["content"]["application/json"]
    validate(request["schema"], request["example"])
    for form in ("float", "base64"):
        answer = client.post(PATH, json=request["example"] | {"encoding_format": form})
        validate(operation["responses"]["200"]["content"]["application/json"]["schema"], answer.json())
    refused = operation["responses"]["400"]["$ref"].rpartition("/")[2]
    problem = document["components"]["responses"][refused]["content"]["application/json"]["schema"]
    validate(problem, client.post(PATH, json={}).json())
    with pytest.raises(jsonschema_rs.ValidationError):
        validate(problem, client.get("/nowhere").json())
    names = document["components"]["schemas"]["EmbeddingsRequest"]["properties"]["model"]["enum"]
    assert names == ["counted", "lengths", "wordless"]


def test_only_post_is_known(client: TestClient) -> None:
    answer = client.get(PATH)
    assert_refused(answer, 405, "method_not_allowed", "POST")
    assert answer.headers["Allow"] == "POST"


def test_a_timeout_is_kept(client: TestClient) -> None:
    headers = {"X-Request-Timeout-Ms": "0.000001"}
    answer = client.post(PATH, json={"model": "lengths", "input": "a"}, headers=headers)
    assert_refused(answer, 504, "deadline_exceeded", "passed in stage 'body'")


def test_it_is_admitted_and_cancelled_as_any(tmp_path: Path, cache_dir: Path) -> None:
    place = tiny.write(tiny.loop(), tmp_path, "loop").parent.parent
    (place / "model.toml").write_text(EMBEDS)
    (place / "transform.py").write_text(TURNS)
    app = create_app(Settings(repository={"path": tmp_path}, cache={"dir": cache_dir}, admission={"max_waiting": 0}))

    async def run() -> None:
        async with asyncio.timeout(SECONDS), app.router.lifespan_context(app):
            client, caller = Client(app), Caller()
            running = asyncio.create_task(client.send(PATH, {"model": "loop", "input": str(ENDLESS)}, caller))
            await until(lambda: metric("inference_pending", model="loop") == 1)
            status, headers, body = await client.send(PATH, {"model": "loop", "input": "1"})
            assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded")
            assert int(headers["retry-after"]) >= 1
            caller.leave()
            assert await running == (0, {}, b"")
            assert metric("inference_pending", model="loop") == 0

    asyncio.run(run())


def test_where_one_model_makes_embeddings_an_overload_is_told_before_the_body_is_read(
    tmp_path: Path, cache_dir: Path
) -> None:
    place = tiny.write(tiny.loop(), tmp_path, "loop").parent.parent
    (place / "model.toml").write_text(EMBEDS)
    (place / "transform.py").write_text(TURNS)
    app = create_app(Settings(repository={"path": tmp_path}, cache={"dir": cache_dir}, admission={"max_waiting": 0}))

    async def run() -> None:
        async with asyncio.timeout(SECONDS), app.router.lifespan_context(app):
            client, caller = Client(app), Caller()
            running = asyncio.create_task(client.send(PATH, {"model": "loop", "input": str(ENDLESS)}, caller))
            await until(lambda: metric("inference_pending", model="loop") == 1)
            refused = {"model": "loop", "version": "1", "outcome": "overloaded"}
            before = metric("inference_requests_total", **refused)
            status, _, body = await client.send(PATH, {})
            assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded")
            assert metric("inference_requests_total", **refused) == before + 1
            caller.leave()
            await running

    asyncio.run(run())


def test_a_body_that_means_no_model_counts_for_none(serve: Serve, tmp_path: Path) -> None:
    """Not even where there is but one that makes embeddings."""
    folder(tmp_path, "only", LENGTHS)
    with serve(tmp_path) as client:
        assert [client.post(PATH, content=body).status_code for body in (b"", b"{}", b'{"model": "nobody"}')] == [
            400
        ] * 3
        assert embed(client, model="nobody").status_code == 404
        assert embed(client, "bad", model="only").status_code == 400
    codes = ("malformed_request", "model_not_found", "ok")
    counted = [metric("inference_requests_total", model="only", version="1", outcome=code) for code in codes]
    assert counted == [1, 0, 0]


def test_too_many_texts_are_refused_before_anything_is_made_of_them(serve: Serve, tmp_path: Path) -> None:
    """Of a text that is none, nothing is said."""
    folder(
        tmp_path,
        "strict",
        LENGTHS.replace("text: str", 'text: Literal["a text"]').replace(
            "import numpy", "from typing import Literal\nimport numpy"
        ),
        EMBEDS + "limits = { max_rows = 50 }",
    )
    with serve(tmp_path) as client:
        assert_refused(embed(client, ["other"], "strict"), 400, "malformed_request", "instances[0].text")
        assert_refused(embed(client, ["other"] * 20_000, "strict"), 400, "signature_mismatch", "got 20000")


def test_texts_of_a_long_body_are_made_instances_of_in_a_thread(serve: Serve, tmp_path: Path) -> None:
    where = LENGTHS.replace("class Text(", "import threading\nfrom pydantic import field_validator\n\nclass Text(")
    where = where.replace(
        "    text: str\n",
        """    text: str

    @field_validator("text")
    @classmethod
    def in_thread(cls, text):
        return f"{threading.current_thread().name:a<30}"[:30] if text == "where" else text
""",
    )
    where = where.replace('text.count("a")', 'text.startswith("asyncio_")')
    folder(tmp_path, "where", where)
    with serve(tmp_path) as client:
        assert vectors(embed(client, ["where", "a" * 100_000], "where"))[0] == [60, 2, 0, 2]


@pytest.mark.parametrize(
    ("transform", "reason"),
    [
        ("", "and the model has none"),
        (LENGTHS.replace("text: str", "words: str"), "instances[0].words"),
    ],
)
def test_a_model_that_cannot_take_texts_is_refused_at_the_start(
    serve: Serve, tmp_path: Path, transform: str, reason: str
) -> None:
    folder(tmp_path, "lengths", transform)
    with capture_logs() as logs, pytest.raises(AlreadyLogged), serve(tmp_path):
        pass
    (critical,) = [record for record in logs if record["log_level"] == "critical"]
    assert (
        'task = "embeddings" in model.toml needs a transform whose Instance takes {"text": "..."}' in critical["reason"]
    )
    assert reason in critical["reason"]
