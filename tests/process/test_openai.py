"""OpenAI's client, unchanged against the real service: embeddings, models, and its errors."""

from collections.abc import Iterator

import openai
import pytest

from tests import tiny
from tests.process.conftest import SECONDS, Service, StartService

TRANSFORM = """
import numpy as np
from pydantic import BaseModel

class Lengths:
    class Instance(BaseModel):
        text: str

    class Prediction(BaseModel):
        embedding: list[float]
        tokens: int

    def before(self, instances):
        return {"x": np.array([[len(each.text), 0.5, 0, 1] for each in instances], np.float32)}

    def after(self, outputs):
        return [self.Prediction(embedding=vector, tokens=vector[0]) for vector in outputs["y"].tolist()]
"""


@pytest.fixture(scope="module")
def service(start_service: StartService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    models = tiny.repository(tmp_path_factory.mktemp("models"), lengths=tiny.double(), double=tiny.double())
    (models / "lengths" / "model.toml").write_text('task = "embeddings"\n')
    (models / "lengths" / "transform.py").write_text(TRANSFORM)
    return start_service(models)


@pytest.fixture
def client(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[openai.OpenAI]:
    monkeypatch.setenv("NO_PROXY", "*")
    with openai.OpenAI(base_url=f"http://{service.api}/v1", api_key="none", timeout=SECONDS, max_retries=0) as client:
        yield client


def test_it_asks_for_packed_vectors_and_unpacks_them(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="lengths", input=["a", "text"])
    assert [datum.embedding for datum in answer.data] == [[2, 1, 0, 2], [8, 1, 0, 2]]
    assert [datum.index for datum in answer.data] == [0, 1]
    assert (answer.object, answer.model) == ("list", "lengths")
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (10, 10)


def test_it_may_ask_for_numbers_and_name_their_count(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(
        model="lengths", input="text", encoding_format="float", dimensions=4, user="somebody"
    )
    assert [datum.embedding for datum in answer.data] == [[8, 1, 0, 2]]


def test_what_was_wrong_is_shown(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="lengths", input=[[101, 102]])
    assert str(caught.value) == (
        "Error code: 400 - 'input[0]': expected a text, got [101,102]; tokens are not read here, because the model has "
        "a tokenizer of its own: send the texts themselves"
    )
    assert caught.value.code == "malformed_request"
    assert caught.value.request_id == caught.value.response.headers["X-Request-ID"]


def test_a_model_that_is_not_there_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="model 'nobody' is not served here"):
        client.embeddings.create(model="nobody", input="text")


def test_a_model_that_makes_no_embeddings_names_those_that_do(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="those that do: 'lengths'"):
        client.embeddings.create(model="double", input="text")


def test_it_lists_the_models(client: openai.OpenAI) -> None:
    assert [(model.id, model.object, model.owned_by) for model in client.models.list()] == [
        ("double", "model", "onnicorn"),
        ("lengths", "model", "onnicorn"),
    ]


def test_it_looks_at_one_model(client: openai.OpenAI) -> None:
    model = client.models.retrieve("lengths")
    assert (model.id, model.object, model.owned_by) == ("lengths", "model", "onnicorn")
