"""A client that nobody wrote: generated from the document of a running service, checked by its types, and called."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny
from tests.process.conftest import SECONDS, Service, StartService

FLOWERS = """
import numpy as np
from pydantic import BaseModel


class Flowers:
    class Instance(BaseModel):
        length: float
        width: float

    class Prediction(BaseModel):
        area: float

    def before(self, instances):
        return {"x": np.array([[flower.length, flower.width] for flower in instances], np.float32)}

    def after(self, outputs):
        return [{"area": length * width} for length, width in outputs["y"]]
"""
CALLS = """
import sys

from generated import Client
from generated.api.models import predict_add_sub, predict_digits, predict_flowers, predict_scalar, predict_words
from generated.models import (
    AddSubColumns,
    AddSubInputs,
    AddSubOutputsAnswer,
    DigitsInstance,
    DigitsPredictionsAnswer,
    DigitsRows,
    FlowersInstance,
    FlowersPredictionsAnswer,
    FlowersRows,
    Problem,
    ScalarColumns,
    ScalarInputs,
    ScalarOutputsAnswer,
    WordsInstance,
    WordsPredictionsAnswer,
    WordsRows,
)

client = Client(base_url=sys.argv[1])

image: list[float] = [0.0] * 64
digits = predict_digits.sync(client=client, body=DigitsRows(instances=[DigitsInstance(image=image)] * 2))
assert isinstance(digits, DigitsPredictionsAnswer)
label: int = digits.predictions[1].label
likely: list[float | None] = digits.predictions[1].probabilities
assert (label in range(10), len(likely)) == (True, 10)

words = predict_words.sync(client=client, body=WordsRows(instances=[WordsInstance(x=["a", "b"])]))
assert isinstance(words, WordsPredictionsAnswer)
text: list[list[str]] = words.predictions
assert text == [["a", "b"]]

columns = AddSubColumns(inputs=AddSubInputs(a=[[1] * 16], b=[[2] * 16]))
sums = predict_add_sub.sync(client=client, body=columns)
assert isinstance(sums, AddSubOutputsAnswer)
total: list[list[int]] = sums.outputs.sum_
assert total == [[3] * 16]

scalar = predict_scalar.sync(client=client, body=ScalarColumns(inputs=ScalarInputs(x=1.5)))
assert isinstance(scalar, ScalarOutputsAnswer)
value: float | None = scalar.outputs
assert value == 3.0

flower = FlowersInstance(length=3.0, width=2.0)
flowers = predict_flowers.sync(client=client, body=FlowersRows(instances=[flower]))
assert isinstance(flowers, FlowersPredictionsAnswer)
area: float = flowers.predictions[0].area
assert area == 6.0

wrong = predict_digits.sync(client=client, body=DigitsRows(instances=[DigitsInstance(image=image[1:])]))
assert isinstance(wrong, Problem)
code: str = wrong.code
assert code == "signature_mismatch"
"""
DIGITS = Path(__file__).parents[2] / "models" / "digits"


@pytest.fixture(scope="module")
def several(start_service: StartService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """The bundled model, one of strings, one with columns of integers, a scalar one, and one with a transform."""
    models = tiny.repository(
        tmp_path_factory.mktemp("models"),
        words=tiny.identity("BYTES"),
        add_sub=tiny.add_sub(),
        scalar=tiny.scalar(),
        flowers=tiny.identity("FP32"),
    )
    shutil.copytree(DIGITS, models / "digits")
    (models / "flowers" / "transform.py").write_text(FLOWERS)
    return start_service(models)


def run(folder: Path, *command: str) -> str:
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=3 * SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_client_that_is_generated_is_typed_and_works(several: Service, tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_text(several.get("/openapi.json").text)
    (tmp_path / "config.yml").write_text("post_hooks: []\n")
    (tmp_path / "calls.py").write_text(CALLS)
    given = ("--path", "openapi.json", "--config", "config.yml", "--meta", "none", "--output-path", "generated")
    run(tmp_path, "-m", "openapi_python_client", "generate", *given, "--fail-on-warning")
    checked = ("--strict", "--follow-imports=silent", "--config-file=", "--cache-dir=cache", "calls.py")
    assert "no issues" in run(tmp_path, "-m", "mypy", *checked)
    run(tmp_path, "calls.py", f"http://{several.api}")
