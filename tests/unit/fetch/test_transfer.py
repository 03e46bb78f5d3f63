"""Pieces that are read at the same time and written in order; what is tried again, and what is not."""

import threading
from pathlib import Path

import pytest
from botocore.exceptions import ParamValidationError

from service.fetch.failures import FetchFailed, FetchInterrupted
from service.fetch.store import Object
from service.fetch.transfer import Patience, left, transfer

CONTENT = b"0123456789"
NO_NAME = 's3://b/x: Parameter validation failed: Invalid bucket name "<x>"'
TEN = Object("ten", "bucket/ten", "s3://bucket/ten", "ETag 1", len(CONTENT))


def read(each: Object, start: int, stop: int) -> bytes:
    return CONTENT[start:stop]


@pytest.mark.parametrize("begun", [0, 4, 10])
def test_a_part_is_filled_from_where_it_ends(tmp_path: Path, begun: int) -> None:
    part = tmp_path / "part"
    part.write_bytes(CONTENT[:begun])
    assert left([(TEN, part)]) == 10 - begun
    asked = []

    def recorded(each: Object, start: int, stop: int) -> bytes:
        asked.append(start)
        return read(each, start, stop)

    transfer([(TEN, part)], recorded, 1, piece=3)
    assert (part.read_bytes(), asked) == (CONTENT, list(range(begun, 10, 3)))


def test_an_empty_object_has_a_part_too(tmp_path: Path) -> None:
    transfer([(Object("x", "x", "x", "1", 0), tmp_path / "part")], read, 2)
    assert (tmp_path / "part").read_bytes() == b""


def test_pieces_are_read_at_the_same_time_and_written_in_order(tmp_path: Path) -> None:
    last_is_read = threading.Event()

    def backwards(each: Object, start: int, stop: int) -> bytes:
        if start == 8:
            last_is_read.set()
        assert last_is_read.wait(30)
        return read(each, start, stop)

    transfer([(TEN, tmp_path / "part")], backwards, parallel=5, piece=2)
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_no_more_than_so_many_pieces_are_in_memory(tmp_path: Path) -> None:
    sizes = []

    def counting(each: Object, start: int, stop: int) -> bytes:
        sizes.append(start - (tmp_path / "part").stat().st_size if start else 0)
        return read(each, start, stop)

    (tmp_path / "part").touch()
    transfer([(TEN, tmp_path / "part")], counting, parallel=3, piece=1)
    assert max(sizes) <= 2


def test_what_is_more_than_was_asked_for_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match="asked for 3 bytes, and more came: the server does not know range requests"):
        transfer([(TEN, tmp_path / "part")], lambda *_: CONTENT, 1, piece=3)
    assert not (tmp_path / "part").exists()


def test_a_part_that_a_server_without_ranges_cannot_go_on_with_is_begun_anew(tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(CONTENT[:4])
    with pytest.raises(FetchInterrupted, match="the object has changed; run it again, it begins anew"):
        transfer([(TEN, part)], lambda *_: CONTENT, 2)
    transfer([(TEN, part)], lambda *_: CONTENT, 2)
    assert part.read_bytes() == CONTENT


def test_what_succeeds_in_the_end_has_succeeded() -> None:
    failures = iter([ConnectionError("reset"), TimeoutError()])

    def action() -> bytes:
        for failure in failures:
            raise failure
        return b"data"

    assert Patience((0, 0))(action, "s3://bucket/x") == b"data"


def test_what_never_succeeds_may_do_so_another_time() -> None:
    def action() -> None:
        raise ConnectionError("reset")

    with pytest.raises(FetchInterrupted) as caught:
        Patience((0, 0))(action, "s3://bucket/x")
    assert str(caught.value) == "s3://bucket/x: ConnectionError: reset; run it again, it goes on from here"


class WithStatus(Exception):
    """As the libraries raise it."""

    def __init__(self, **attributes: object) -> None:
        super().__init__("Denied: https://host/x?signature=secret\nand more")
        vars(self).update(attributes)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (FileNotFoundError("x"), "there is nothing at s3://b/x"),
        (WithStatus(status=404), "there is nothing at s3://b/x"),
        (PermissionError("AccessDenied"), "s3://b/x: these credentials may not read it: AccessDenied"),
        (WithStatus(status_code=403), "s3://b/x: these credentials may not read it: Denied: https://host/x"),
        (WithStatus(code=400), "s3://b/x: Denied: https://host/x"),
        (ValueError("no https://me:p?w@host/x?sig=secret"), "s3://b/x: no https://host/x"),
        (
            WithStatus(response={"ResponseMetadata": {"HTTPStatusCode": 401}}),
            "s3://b/x: these credentials may not read it: Denied: https://host/x",
        ),
        (ValueError("no such region"), "s3://b/x: no such region"),
        (ParamValidationError(report='Invalid bucket name "<x>"'), NO_NAME),
    ],
)
def test_what_is_hopeless_is_not_tried_again(error: Exception, sentence: str) -> None:
    calls = []

    def action() -> None:
        calls.append(1)
        raise error

    with pytest.raises(FetchFailed) as caught:
        Patience((0, 0))(action, "s3://b/x")
    assert (str(caught.value), len(calls)) == (sentence, 1)


def caused_by(cause: Exception, error: Exception | None = None) -> Exception:
    """What fsspec makes of whatever goes wrong on the web."""
    error = error or FileNotFoundError("https://host/x")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("x"),
        WithStatus(status=404),
        WithStatus(status=416),
        caused_by(WithStatus(response={"ResponseMetadata": {"HTTPStatusCode": 416}}), OSError(22, "InvalidRange")),
    ],
)
def test_what_is_not_there_any_more_has_changed(tmp_path: Path, error: Exception) -> None:
    def shrunk(*_: object) -> bytes:
        raise error

    with pytest.raises(FetchInterrupted, match=r"^s3://bucket/ten has changed while it was fetched: run it again$"):
        transfer([(TEN, tmp_path / "part")], shrunk, 1)


@pytest.mark.parametrize(
    "error",
    [
        *(WithStatus(status=429), WithStatus(status=503), OSError(5, "input/output error")),
        *(caused_by(WithStatus(status=503)), caused_by(ConnectionResetError())),
        caused_by(WithStatus(response={"ResponseMetadata": {"HTTPStatusCode": 400}}), TimeoutError("RequestTimeout")),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    calls = []

    def action() -> None:
        calls.append(1)
        raise error

    with pytest.raises(FetchInterrupted):
        Patience((0, 0))(action, "s3://b/x")
    assert len(calls) == 3
