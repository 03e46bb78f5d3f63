"""A real model, the sentence transformer all-MiniLM-L6-v2, against what was recorded of it for five sentences."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.oip import Answer, Json, binary, blob_tensor, outputs, split, tensor
from tests.process.conftest import Service, StartService, client

INFER = "/v2/models/minilm/infer"
INPUTS = ("input_ids", "attention_mask")
WITHIN = 1e-4


@dataclass(frozen=True)
class Golden:
    inputs: dict[str, np.ndarray]
    embedding: np.ndarray

    def rows(self, rows: slice) -> "Golden":
        """Some of the sentences, cut to the longest of them."""
        length = self.inputs["attention_mask"][rows].sum(axis=1).max()
        return Golden({name: array[rows, :length] for name, array in self.inputs.items()}, self.embedding[rows])


@pytest.fixture(scope="module")
def folder(large_models: Path) -> Path:
    return large_models / "minilm"


@pytest.fixture(scope="module")
def golden(folder: Path) -> Golden:
    sample = json.loads((folder / "golden.json").read_text())
    inputs = {name: np.array(sample[name], np.int64) for name in INPUTS}
    return Golden(inputs, np.array(sample["sentence_embedding"], np.float32))


@pytest.fixture(scope="module")
def service(folder: Path, start_service: StartService) -> Service:
    """The flat directory as it is, with two workers."""
    return start_service(folder)


def post(service: Service, **request: Any) -> Answer:
    with client(service.api) as api:
        return api.post(INFER, **request)


def as_json(sentences: Golden) -> Json:
    tensors = [tensor(name, "INT64", array.shape, array.flatten().tolist()) for name, array in sentences.inputs.items()]
    return {"json": {"inputs": tensors}}


def as_bytes(sentences: Golden) -> Json:
    tensors = [blob_tensor(name, "INT64", array.shape, array.nbytes) for name, array in sentences.inputs.items()]
    document = {"inputs": tensors, "parameters": {"binary_data_output": True}}
    return binary(document, *(array.tobytes() for array in sentences.inputs.values()))


def assert_embedded(got: np.ndarray, sentences: Golden) -> None:
    assert got.shape == sentences.embedding.shape
    assert float(np.abs(got - sentences.embedding).max()) < WITHIN


def test_the_model_tells_the_signature_of_its_graph(service: Service, folder: Path) -> None:
    assert service.get("/v2/models/minilm").json() == {
        "name": "minilm",
        "versions": ["1"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": name, "datatype": "INT64", "shape": [-1, -1]} for name in INPUTS],
        "outputs": [{"name": "sentence_embedding", "datatype": "FP32", "shape": [-1, 384]}],
        "parameters": {
            "digest": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest(),
            "verified": (folder / "SHA256SUMS").exists(),
        },
    }


def test_all_sentences_at_once_as_json(service: Service, golden: Golden) -> None:
    (output,) = outputs(post(service, **as_json(golden)))
    assert (output["name"], output["datatype"]) == ("sentence_embedding", "FP32")
    assert_embedded(np.array(output["data"], np.float32).reshape(output["shape"]), golden)


def test_all_sentences_at_once_as_bytes(service: Service, golden: Golden) -> None:
    document, (blob,) = split(post(service, **as_bytes(golden)))
    (output,) = document["outputs"]
    assert_embedded(np.frombuffer(blob, "<f4").reshape(output["shape"]), golden)


def test_a_sentence_alone_means_the_same(service: Service, golden: Golden) -> None:
    for number in range(len(golden.embedding)):
        alone = golden.rows(slice(number, number + 1))
        (output,) = outputs(post(service, **as_json(alone)))
        assert_embedded(np.array([output["data"]], np.float32), alone)
