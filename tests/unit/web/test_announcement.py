"""What an operator reads when the service is up: one line, and a command that works."""

import json
import shlex
from pathlib import Path
from typing import Any

import onnx
import pytest
from structlog.typing import EventDict

from service.engine.catalogue import Catalogue
from service.engine.warm_up import warm_up
from service.knobs import Http
from service.settings import Settings
from service.web.announcement import announce, curl
from tests import tiny
from tests.unit.loading import load

DATA = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}


def serve(proto: onnx.ModelProto, root: Path, **declared: Any) -> Catalogue:
    """A warmed-up `cat` before a `dog` that is not."""
    cat = load(proto, root, "cat", 3, **declared)
    warm_up(cat)
    return Catalogue(1, [load(tiny.double(), root, "dog"), cat])


@pytest.mark.parametrize(
    ("bind", "where"),
    [
        ("127.0.0.1:8000", ["http://127.0.0.1:8000"]),
        ("0.0.0.0:80", ["http://127.0.0.1:80"]),
        ("[::]:80", ["http://[::1]:80"]),
        ("[::1]:80", ["http://[::1]:80"]),
        ("cat.example:80", ["http://cat.example:80"]),
        ("unix:/run/cat.sock", ["--unix-socket", "/run/cat.sock", "http://localhost"]),
    ],
)
@pytest.mark.parametrize("root_path", ["", "/behind"])
def test_the_command_runs_the_first_model_on_its_example(
    tmp_path: Path, bind: str, where: list[str], root_path: str
) -> None:
    command = curl(Http(bind=bind, root_path=root_path), serve(tiny.double(), tmp_path))
    assert command is not None
    *options, url, flag, data = shlex.split(command)
    assert (options, url, flag) == (
        ["curl", "-s", *where[:-1]],
        f"{where[-1]}{root_path}/v2/models/cat/infer",
        "-d",
    )
    assert json.loads(data) == DATA


def test_where_a_key_is_needed_the_command_has_a_place_for_it(tmp_path: Path) -> None:
    command = curl(Http(), serve(tiny.double(), tmp_path), needs_key=True)
    assert command is not None
    assert shlex.split(command)[:5] == [
        "curl",
        "-s",
        "-H",
        "X-API-Key: KEY",
        "http://127.0.0.1:8000/v2/models/cat/infer",
    ]


@pytest.mark.parametrize(
    ("proto", "declared"),
    [
        pytest.param(tiny.sevens(), {}, id="without an example"),
        pytest.param(tiny.sevens(), {"warm_up": [{"x": {"shape": [5005]}}]}, id="of an unreadable size"),
        pytest.param(tiny.sevens(), {"warm_up": [{"x": {"shape": [1001]}}]}, id="too long to copy"),
    ],
)
def test_a_model_without_a_short_example_is_only_described(
    tmp_path: Path, proto: onnx.ModelProto, declared: dict[str, Any]
) -> None:
    assert curl(Http(), serve(proto, tmp_path, **declared)) == "curl -s http://127.0.0.1:8000/v2/models/cat"


def test_text_with_quotes_can_be_copied(tmp_path: Path) -> None:
    text = "it's\na $text"
    served = serve(tiny.identity("BYTES"), tmp_path, warm_up=[{"x": {"shape": [1, 1], "data": [text]}}])
    command = curl(Http(), served)
    assert command is not None
    assert json.loads(shlex.split(command)[-1])["inputs"][0]["data"] == [text]


def test_without_a_model_there_is_nothing_to_try() -> None:
    assert curl(Http(), Catalogue(1, ())) is None


def test_a_service_that_is_up_says_where_and_with_what(tmp_path: Path, records: list[EventDict]) -> None:
    served = serve(tiny.double(), tmp_path)
    records.clear()
    announce(Settings(ops={"bind": "0.0.0.0:9"}), served)
    announce(Settings(), Catalogue(1, ()))
    ready = {"event": "ready", "log_level": "info", "api": "127.0.0.1:8000"}
    assert records == [
        ready | {"ops": "0.0.0.0:9", "models": ["cat/3", "dog/1"], "try_it": curl(Http(), served)},
        ready | {"ops": "127.0.0.1:8002", "models": []},
    ]
