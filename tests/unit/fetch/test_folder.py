"""The folder that is fetched to: one at a time, and only what fits."""

import dataclasses
import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from service.fetch.address import Address
from service.fetch.failures import FetchFailed
from service.fetch.folder import Folder
from service.fetch.run import fetch
from service.fetch.store import Object
from service.fetch.transfer import transfer

MODEL = Object("model.onnx", "b/model.onnx", "s3://b/model.onnx", "ETag 1", 5)


HOLD = """
import sys
from pathlib import Path
from service.fetch.folder import Folder
with Folder.locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that fetches to the folder, until its standard input ends."""
    command = (sys.executable, "-c", HOLD, tmp_path)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process


def test_a_second_one_waits_for_the_first(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    told = []

    def let_go(logger: Any, method: str, record: structlog.typing.EventDict) -> Any:
        told.append((record["event"], holder.poll()))
        assert holder.stdin
        holder.stdin.close()
        raise structlog.DropEvent

    structlog.configure(processors=[let_go])
    try:
        with Folder.locked(tmp_path):
            assert told == [("fetch_waiting", None)]
    finally:
        structlog.reset_defaults()


def kept(tmp_path: Path) -> None:
    with Folder.locked(tmp_path) as folder:
        folder.part(MODEL).write_bytes(b"model")
        folder.take("here", [MODEL], [MODEL])


def test_a_record_is_read_once(tmp_path: Path) -> None:
    kept(tmp_path)
    with Folder.locked(tmp_path) as folder:
        (tmp_path / ".fetch" / "record.json").unlink()
        assert folder.has(MODEL)


ENTRY = {"origin": "here", "source": "s3://b/x", "version": "1", "size": 1, "bytes": 1, "modified": 1}
OUTSIDE = [json.dumps({path: [ENTRY]}) for path in ("../x", "/x", "a/../../x")]


@pytest.mark.parametrize("record", ["{", "[]", "1", '{"model.onnx": 1}', '{"model.onnx": {"bytes": 5}}', *OUTSIDE])
def test_a_record_that_cannot_be_read_means_that_all_is_fetched(tmp_path: Path, record: str) -> None:
    kept(tmp_path)
    (tmp_path / ".fetch" / "record.json").write_text(record)
    with Folder.locked(tmp_path) as folder:
        assert not folder.has(MODEL)
        assert folder.take("here", [], []) == 0


def test_a_file_whose_entry_does_not_say_its_origin_is_known_and_stays(tmp_path: Path) -> None:
    kept(tmp_path)
    record = tmp_path / ".fetch" / "record.json"
    [entry] = json.loads(record.read_text())["model.onnx"]
    record.write_text(json.dumps({"model.onnx": {key: value for key, value in entry.items() if key != "origin"}}))
    with Folder.locked(tmp_path) as folder:
        assert folder.has(MODEL)
        assert folder.take("here", [], []) == 0
    assert (tmp_path / "model.onnx").exists()
    with Folder.locked(tmp_path) as folder:
        folder.take("here", [MODEL], [])
        assert folder.take("here", [], []) == 1


def test_a_fetch_that_changes_nothing_touches_nothing(tmp_path: Path) -> None:
    kept(tmp_path)
    files = [tmp_path / "model.onnx", tmp_path / ".fetch" / "lock", tmp_path / ".fetch" / "record.json"]
    before = [file.stat().st_mtime_ns for file in files]
    with Folder.locked(tmp_path) as folder:
        assert folder.has(MODEL)
        folder.take("here", [MODEL], [])
    assert [file.stat().st_mtime_ns for file in files] == before


@pytest.mark.parametrize(
    ("change", "origin", "removed"),
    [
        (lambda file: None, "here", 1),
        (lambda file: None, "elsewhere", 0),
        (lambda file: file.write_bytes(b"mine now"), "here", 0),
        (Path.unlink, "here", 0),
    ],
    ids=["ours", "from elsewhere", "edited here", "not here any more"],
)
def test_what_is_gone_from_its_origin_goes(
    tmp_path: Path, change: Callable[[Path], None], origin: str, removed: int
) -> None:
    kept(tmp_path)
    change(tmp_path / "model.onnx")
    with Folder.locked(tmp_path) as folder:
        assert folder.take(origin, [MODEL], []) == 0
    kept(tmp_path)
    change(tmp_path / "model.onnx")
    with Folder.locked(tmp_path) as folder:
        assert folder.take(origin, [], []) == removed


def test_parts_of_versions_that_are_no_more_do_not_count_as_room_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "model.onnx").write_bytes(b"model")
    with Folder.locked(tmp_path / "target") as folder:
        stale = folder.part(MODEL)
        stale.write_bytes(b"stale")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0 if stale.exists() else 5))
    assert fetch(Address.parse(str(tmp_path / "source")), tmp_path / "target", {}, parallel=1).bytes == 5


def test_what_cannot_be_read_here_is_not_called_unwritable(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="of somebody else"), Folder.locked(tmp_path):
        raise OSError(5, "of somebody else")


@pytest.mark.parametrize("name", ["", "lock", "new", "parts", "record.json", "record.new", "parts/x"])
def test_a_link_in_the_corner_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").mkdir()
    link = tmp_path / ".fetch" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(tmp_path / "outside")
    with pytest.raises(FetchFailed, match=rf"{link} is a link: remove it"), Folder.locked(tmp_path):
        pass
    assert list((tmp_path / "outside").iterdir()) == []


def test_what_cannot_be_taken_is_a_part_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.replace

    def full(self: Path, target: Path) -> Path:
        if self.suffix == ".onnx":
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(FetchFailed, match="cannot be written: No space left"):
            kept(tmp_path)
    with Folder.locked(tmp_path) as folder:
        assert not folder.has(MODEL)
        assert folder.part(MODEL).read_bytes() == b"model"
        folder.take("here", [MODEL], [MODEL])
        assert folder.has(MODEL)


def test_a_name_that_is_too_long_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    long = dataclasses.replace(MODEL, path=f"cat/{'x' * 300}/model.onnx")
    with Folder.locked(tmp_path) as folder:
        with pytest.raises(FetchFailed, match="cannot be read: File name too long"):
            folder.has(long)
        with pytest.raises(FetchFailed, match="cannot be read: File name too long"):
            folder.check([long])


def test_what_does_not_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "model.onnx").write_bytes(b"model")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=4))
    with pytest.raises(FetchFailed, match="target has room for 4 bytes, 5 are to come"):
        fetch(Address.parse(str(tmp_path / "source")), tmp_path / "target", {}, parallel=1)


def test_a_part_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match="nowhere/part cannot be written: No such file or directory"):
        transfer([(MODEL, tmp_path / "nowhere" / "part")], lambda *_: b"model", 1)
