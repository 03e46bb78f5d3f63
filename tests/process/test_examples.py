"""The examples: started, and called, with the very commands of their READMEs."""

import json
import os
import re
import shlex
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.oip import Json, assert_problem
from tests.process.conftest import ROOT, SECONDS, Service, client, running

WRITTEN = "127.0.0.1:8000"
"""The address in the READMEs."""
WITHIN = 1e-4
NO_PICTURE = "image: expected a PNG or JPEG, got something that is none or is damaged"


def blocks(example: str, language: str) -> list[str]:
    """What stands in the README's blocks of one language."""
    text = (ROOT / "examples" / example / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(example: str, word: str) -> list[str]:
    """Those commands of the README that have the word in them."""
    lines = "".join(blocks(example, "console")).splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ") and word in line]


def started(example: str, folder: Path, changes: dict[str, str] | None = None) -> AbstractContextManager[Service]:
    """By the one command in the README, of which a test may change words; it names the repository itself."""
    (command,) = commands(example, f"examples/{example}/run")
    words = [(changes or {}).get(word, word) for word in shlex.split(command)]
    return running(folder / "none", folder, words, 4 * SECONDS)  # it installs and fetches first


def output_of(command: list[str], service: Service) -> str:
    """What a command of a README prints, which is meant for this service."""
    here = [word.replace(WRITTEN, service.api) for word in command]
    done = subprocess.run(
        here, cwd=ROOT, env=os.environ | {"NO_PROXY": "*"}, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def called(example: str, service: Service) -> list[Json]:
    """What the README's commands get, in their order."""
    return [json.loads(output_of(["sh", "-c", command], service)) for command in commands(example, "curl")]


def predict(service: Service, model: str, **request: Any) -> Any:
    with client(service.api) as api:
        return api.post(f"/v1/models/{model}:predict", **request)


@pytest.fixture(scope="module")
def golden(large_models: Path) -> Json:
    golden: Json = json.loads((large_models / "minilm" / "golden.json").read_text())
    return golden


@pytest.fixture(scope="module")
def minilm(large_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("embeddings")
    with started("embeddings", folder, {"/path/to/minilm": str(large_models / "minilm")}) as service:
        yield service


def test_the_readmes_calls_get_the_vector_that_was_recorded(minilm: Service, golden: Json) -> None:
    predicted, embedded = called("embeddings", minilm)
    (prediction,), (datum,) = predicted["predictions"], embedded["data"]
    for vector in prediction["embedding"], datum["embedding"]:
        assert np.abs(np.array(vector) - golden["sentence_embedding"][0]).max() < WITHIN
    assert prediction["tokens"] == sum(golden["attention_mask"][0])
    assert embedded["usage"] == {"prompt_tokens": prediction["tokens"], "total_tokens": prediction["tokens"]}


def test_the_readmes_lines_of_openais_client_run(minilm: Service) -> None:
    (lines,) = [block for block in blocks("embeddings", "python") if "openai" in block]
    assert output_of([sys.executable, "-c", lines], minilm) == "True\n"


def test_texts_of_mixed_length_in_one_request_are_as_recorded(minilm: Service, golden: Json) -> None:
    instances = [{"text": text} for text in golden["texts"]]
    predictions = predict(minilm, "minilm", json={"instances": instances}).json()["predictions"]
    vectors = np.array([prediction["embedding"] for prediction in predictions])
    assert np.abs(vectors - golden["sentence_embedding"]).max() < WITHIN
    assert [prediction["tokens"] for prediction in predictions] == np.sum(golden["attention_mask"], 1).tolist()


def test_a_text_means_the_same_in_any_company(minilm: Service, golden: Json) -> None:
    long = " ".join(golden["texts"] * 60)
    document = {"model": "minilm", "input": [long, golden["texts"][0]]}
    answer = minilm.post("/v1/embeddings", document).json()
    assert np.abs(np.array(answer["data"][1]["embedding"]) - golden["sentence_embedding"][0]).max() < WITHIN
    assert answer["usage"]["prompt_tokens"] == 256 + sum(golden["attention_mask"][0])


def test_what_is_no_text_is_told_where_it_stands(minilm: Service) -> None:
    answer = predict(minilm, "minilm", json={"instances": [{"text": "a"}, {"text": 7}]})
    assert_problem(answer, 400, "malformed_request", "instances[1].text: expected a string, got 7")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with started("images", tmp_path_factory.mktemp("images")) as service:
        yield service


def test_the_readmes_calls_get_the_digits_that_are_drawn(digits: Service) -> None:
    five, three, nothing = called("images", digits)
    assert [answer["predictions"][0]["digit"] for answer in (five, three)] == [5, 3]
    assert nothing["error"] == f"instances[0]: {NO_PICTURE}"


def test_a_picture_is_read_however_it_was_made(digits: Service) -> None:
    """Dark on light, light on dark, coloured, on nothing at all; as PNG and as JPEG."""
    pictures = [
        seven("L", 255, 0, "PNG"),
        seven("L", 0, 255, "JPEG"),
        seven("RGB", (250, 250, 210), (20, 20, 120), "JPEG"),
        seven("RGBA", (0, 0, 0, 0), (0, 0, 0, 255), "PNG"),
        seven("P", 1, 0, "PNG"),
    ]
    instances = [{"image": b64encode(picture).decode()} for picture in pictures]
    answer = predict(digits, "digits", json={"instances": instances}).json()
    assert [prediction["digit"] for prediction in answer["predictions"]] == [7] * len(pictures)


@pytest.mark.parametrize(("format", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg")])
def test_a_body_may_be_the_picture_itself(digits: Service, format: str, media_type: str) -> None:
    body = seven("L", 255, 0, format)
    answer = predict(digits, "digits", content=body, headers={"Content-Type": media_type})
    assert [prediction["digit"] for prediction in answer.json()["predictions"]] == [7]


def test_a_picture_that_would_be_huge_is_refused_before_it_is_made(digits: Service) -> None:
    answer = predict(digits, "digits", content=png(Image.new("1", (5000, 5000))), headers={"Content-Type": "image/png"})
    sentence = "instances[0]: image: expected at most 4194304 pixels, got 5000x5000"
    assert_problem(answer, 400, "malformed_request", sentence)


def test_an_empty_sheet_is_told_by_its_number(digits: Service) -> None:
    sheets = [seven("L", 255, 0, "PNG"), png(Image.new("L", (64, 64), 255))]
    instances = [{"image": b64encode(sheet).decode()} for sheet in sheets]
    answer = predict(digits, "digits", json={"instances": instances})
    sentence = "instances[1]: image: expected a digit, got an empty sheet"
    assert_problem(answer, 400, "malformed_request", sentence)


def seven(mode: str, paper: Any, ink: Any, format: str) -> bytes:
    """A picture of 200x150 pixels with a seven in a corner."""
    image = Image.new(mode, (200, 150), paper)
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 255, 255])
    ImageDraw.Draw(image).line([(30, 25), (85, 25), (50, 110)], fill=ink, width=14, joint="curve")
    return png(image, format)


def png(image: Image.Image, format: str = "PNG") -> bytes:
    written = BytesIO()
    image.save(written, format)
    return written.getvalue()
