"""The bounds of requests and answers are those of the settings."""

from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.oip import assert_problem, tensor
from tests.web.conftest import Serve


@pytest.mark.parametrize("is_binary", [False, True])
def test_an_answer_that_is_too_large_is_not_sent(serve: Serve, tmp_path: Path, is_binary: bool) -> None:
    models = tiny.repository(tmp_path, identity_bytes=tiny.identity("BYTES"))
    with serve(models, limits={"answer_bytes": 2048}) as small:
        for size, status in ((1000, 200), (3000, 413)):
            document = {
                "inputs": [tensor("x", "BYTES", [1, 1], ["a" * size])],
                "parameters": {"binary_data_output": is_binary},
            }
            answer = small.post("/v2/models/identity_bytes/infer", json=document)
            assert answer.status_code == status
        assert_problem(answer, 413, "answer_too_large", "2048")


@pytest.mark.parametrize(
    ("limits", "document"),
    [
        ({"json_depth": 8}, {"inputs": [], "x": [[[[[[[[1]]]]]]]]}),
        ({"tensors": 1}, {"inputs": [tensor(name, "FP32", [1], [1]) for name in "xy"]}),
        ({"elements": 3}, {"inputs": [tensor("x", "BYTES", [2, 2], ["a"] * 4)]}),
        ({"string_bytes": 3}, {"inputs": [tensor("x", "BYTES", [1, 1], ["abcd"])]}),
    ],
)
def test_a_request_beyond_a_limit_is_refused(
    serve: Serve, tmp_path: Path, limits: dict[str, int], document: Any
) -> None:
    models = tiny.repository(tmp_path, identity_bytes=tiny.identity("BYTES"))
    with serve(models, limits=limits) as small:
        answer = small.post("/v2/models/identity_bytes/infer", json=document)
    assert_problem(answer, 400, "malformed_request", *map(str, limits.values()))
