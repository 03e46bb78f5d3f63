"""The folder that is fetched to: one at a time, and only what fits."""

import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog

from service.fetch.address import Address
from service.fetch.failures import FetchFailed
from service.fetch.folder import Folder
from service.fetch.run import fetch
from service.fetch.store import Object
from service.fetch.transfer import transfer

MODEL = Object("model.onnx", "b/model.onnx", "s3://b/model.onnx", "ETag 1", 5)


def test_a_second_one_waits_for_the_first(tmp_path: Path) -> None:
    order = []
    with structlog.testing.capture_logs() as logs, Folder.locked(tmp_path):
        is_waiting = threading.Event()

        def second() -> None:
            is_waiting.set()
            with Folder.locked(tmp_path):
                order.append("second")

        thread = threading.Thread(target=second)
        thread.start()
        assert is_waiting.wait(30)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]
    assert all(record["event"] == "fetch_waiting" for record in logs)


def test_a_record_that_cannot_be_read_means_that_all_is_fetched(tmp_path: Path) -> None:
    with Folder.locked(tmp_path) as folder:
        folder.part(MODEL).write_bytes(b"model")
        folder.take([MODEL])
        assert folder.has(MODEL)
        (tmp_path / ".fetch" / "record.json").write_text("{")
        assert not folder.has(MODEL)


def test_a_corner_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / ".fetch").symlink_to(tmp_path / "outside")
    with pytest.raises(FetchFailed, match=r"\.fetch is a link: remove it"), Folder.locked(tmp_path):
        pass
    assert list((tmp_path / "outside").iterdir()) == []


def test_what_does_not_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "model.onnx").write_bytes(b"model")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=4))
    with pytest.raises(FetchFailed, match="target has room for 4 bytes, 5 are to come"):
        fetch(Address.parse(str(tmp_path / "source")), tmp_path / "target", {}, parallel=1)


def test_a_part_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match="nowhere/part cannot be written: No such file or directory"):
        transfer([(MODEL, tmp_path / "nowhere" / "part")], lambda *_: b"model", 1)
