"""A fetch that is killed in the middle goes on where it was, and nobody has seen half of anything."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.fetch.transfer import PIECE
from tests.fetch.conftest import Bucket, files

LARGE = os.urandom(1 << 20) * 20
KEY = "models/cat/1/model.data"
COMMAND = (sys.executable, "-m", "service.cli", "fetch", "--parallel", "1", "s3://bucket/models")
SECONDS = 60


@pytest.fixture(params=[signal.SIGKILL, signal.SIGTERM])
def half_fetched(bucket: Bucket, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder to which a process was fetching when it was ended; its third piece had not come."""
    bucket.upload(KEY, LARGE)
    bucket.upload("models/cat/1/model.onnx", b"graph")
    is_third, is_killed = threading.Event(), threading.Event()

    def hold(asked: str) -> None:
        if asked == f"GET /bucket/{KEY} bytes={2 * PIECE}-{len(LARGE) - 1}":
            is_third.set()
            is_killed.wait(SECONDS)

    bucket.server.before = hold
    process = subprocess.Popen((*COMMAND, tmp_path), env=os.environ | bucket.environment())
    try:
        assert is_third.wait(SECONDS)
        process.send_signal(request.param)
        # As process 1 of a container it would not end at all by a signal that it does not handle.
        assert process.wait(SECONDS) == {signal.SIGKILL: -9, signal.SIGTERM: 75}[request.param]
    finally:
        process.kill()
        is_killed.set()
    bucket.server.before = lambda asked: None
    bucket.server.asked.clear()
    assert files(tmp_path) == {}
    return tmp_path


def again(bucket: Bucket, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*COMMAND, folder), env=os.environ | bucket.environment(), capture_output=True, text=True, timeout=SECONDS
    )


def test_it_goes_on_where_it_was(bucket: Bucket, half_fetched: Path) -> None:
    result = again(bucket, half_fetched)
    assert result.returncode == 0, result.stderr
    assert bucket.server.read() == [
        f"GET /bucket/{KEY} bytes={2 * PIECE}-{len(LARGE) - 1}",
        "GET /bucket/models/cat/1/model.onnx bytes=0-4",
    ]
    assert files(half_fetched) == {"cat/1/model.data": LARGE, "cat/1/model.onnx": b"graph"}


def test_it_begins_anew_with_an_object_that_is_another_one_now(bucket: Bucket, half_fetched: Path) -> None:
    other = bytes(reversed(LARGE))
    bucket.upload(KEY, other)
    result = again(bucket, half_fetched)
    assert result.returncode == 0, result.stderr
    assert len(bucket.server.read()) == 4
    assert files(half_fetched) == {"cat/1/model.data": other, "cat/1/model.onnx": b"graph"}
    assert list((half_fetched / ".fetch" / "parts").iterdir()) == []
