"""Every record of the process in one form: our own, the libraries', warnings, lines on standard error, exceptions."""

import io
import json
import logging
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from service.errors import InferenceFailed, MalformedRequest, OnnicornError, RepositoryError
from service.knobs import Log
from service.telemetry import logs
from service.telemetry.logs import AlreadyLogged

JSON = Log(format="json")
CONSOLE = Log(format="console")
LIBRARIES = ("gunicorn.error", "gunicorn.access", "uvicorn", "uvicorn.error", "uvicorn.access", "some.library")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(stream: io.StringIO) -> list[dict[str, Any]]:
    """The records, without the time and the process, which every one of them has."""
    records = [json.loads(line) for line in stream.getvalue().splitlines()]
    for record in records:
        assert list(record)[:3] == ["timestamp", "level", "event"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record.pop("timestamp"))
        assert record.pop("pid") == os.getpid()
    return records


def plain(stream: io.StringIO) -> str:
    """What a terminal shows, without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    """With the traceback that it has once it was raised."""
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def test_our_own_record_is_one_line_of_json(stream: io.StringIO) -> None:
    logs.configure(JSON, stream)
    structlog.get_logger().info("started", workers=2, text="zwei\nLinien", path=Path("/srv"))
    assert stream.getvalue().count("\n") == 1
    assert told(stream) == [{"level": "info", "event": "started", "workers": 2, "text": "zwei\nLinien", "path": "/srv"}]


def test_a_text_that_is_no_utf8_can_be_logged(stream: io.StringIO) -> None:
    logs.configure(JSON, stream)
    name = os.fsdecode(b"caf\xe9")
    structlog.get_logger().warning("folder_ignored", folder=name, path=Path(name))
    assert told(stream) == [{"level": "warning", "event": "folder_ignored", "folder": name, "path": name}]


HOSTILE = "a\n\x1b[2J\x7f\x85\x9b2J\u2028\u202e\u2066z"
"""Ends lines, drives a terminal, turns text."""


@pytest.mark.parametrize("surrogate", ["", "\ud800"])
def test_nothing_in_a_text_ends_the_line_or_reaches_the_terminal(stream: io.StringIO, surrogate: str) -> None:
    logs.configure(JSON, stream)
    structlog.get_logger().info("request", reason=HOSTILE + surrogate)
    logging.getLogger("library").warning(HOSTILE + surrogate)
    assert stream.getvalue().isascii()
    assert not stream.getvalue().replace("\n", "").encode().translate(None, bytes(range(32, 127)))
    assert [record.get("reason", record["event"]) for record in told(stream)] == [HOSTILE + surrogate] * 2


def test_a_text_in_any_language_stays_readable(stream: io.StringIO) -> None:
    logs.configure(JSON, stream)
    structlog.get_logger().info("größer", text="日本 \U0001f600")
    assert '"größer"' in stream.getvalue()
    assert "日本 \U0001f600" in stream.getvalue()


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_librarys_record_is_one_too(stream: io.StringIO, name: str) -> None:
    logs.configure(JSON, stream)
    logging.getLogger(name).warning("%d of %s", 1, "two", extra={"color_message": "\x1b[1m1", "answer": 42})
    assert told(stream) == [{"level": "warning", "event": "1 of two", "logger": name, "answer": 42}]


def test_a_warning_is_one_too(stream: io.StringIO) -> None:
    logs.configure(JSON, stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", UserWarning, stacklevel=1)
    [record] = told(stream)
    assert "UserWarning: old" in record.pop("event")
    assert record == {"level": "warning", "logger": "py.warnings"}


def test_a_line_on_standard_error_is_one_too(stream: io.StringIO) -> None:
    logs.configure(JSON, stream)
    print("one", "line", file=sys.stderr)
    sys.stderr.write("two ")
    sys.stderr.flush()
    assert sys.stderr.write("lines\n\n  \nand a rest") == 20
    assert told(stream) == [
        {"level": "error", "event": "one line", "stream": "stderr"},
        {"level": "error", "event": "two lines", "stream": "stderr"},
    ]


LEVELS = ("debug", "info", "warning", "error")


@pytest.mark.parametrize("level", LEVELS)
def test_records_below_the_level_are_left_out(stream: io.StringIO, level: Any) -> None:
    logs.configure(Log(format="json", level=level), stream)
    for name in LEVELS:
        getattr(structlog.get_logger(), name)("ours")
        getattr(logging.getLogger("library"), name)("theirs")
    assert [(record["level"], record["event"]) for record in told(stream)] == [
        (name, event) for name in LEVELS[LEVELS.index(level) :] for event in ("ours", "theirs")
    ]


def test_asyncio_does_not_talk_of_its_selector(stream: io.StringIO) -> None:
    logs.configure(Log(format="json", level="debug"), stream)
    logging.getLogger("asyncio").debug("Using selector: EpollSelector")
    assert told(stream) == []


def by_structlog(error: Exception) -> None:
    structlog.get_logger().error("failed", exc_info=error)


def by_logging(error: Exception) -> None:
    logging.getLogger().error("failed", exc_info=error)


LOGGERS = pytest.mark.parametrize("log", [by_structlog, by_logging])


@LOGGERS
@pytest.mark.parametrize("error", [raised(ValueError("no")), raised(InferenceFailed("cat", 1), ValueError("no"))])
def test_an_exception_is_written_with_its_traceback(
    stream: io.StringIO, log: Callable[[Exception], None], error: Exception
) -> None:
    logs.configure(JSON, stream)
    log(error)
    [record] = told(stream)
    assert "Traceback (most recent call last):" in record["exception"]
    assert "ValueError: no" in record["exception"]
    assert record["event"] == "failed"


@LOGGERS
@pytest.mark.parametrize(
    ("error", "cause"), [(MalformedRequest, None), (RepositoryError, None), (RepositoryError, ValueError())]
)
def test_an_error_that_explains_itself_has_no_traceback(
    stream: io.StringIO, log: Callable[[Exception], None], error: type[OnnicornError], cause: Exception | None
) -> None:
    logs.configure(JSON, stream)
    log(raised(error("no"), cause))
    [record] = told(stream)
    record.pop("logger", None)
    assert record == {"level": "error", "event": "failed", "reason": "no"}


def test_what_nobody_caught_is_written(stream: io.StringIO) -> None:
    logs.configure(JSON, stream)
    error = raised(ValueError("no"))
    sys.excepthook(ValueError, error, error.__traceback__)
    start_error = raised(RepositoryError("no models"))
    sys.excepthook(RepositoryError, start_error, start_error.__traceback__)
    uncaught, start = told(stream)
    assert uncaught.pop("exception").endswith("\nValueError: no")
    assert uncaught == {"level": "critical", "event": "uncaught"}
    assert start == {"level": "critical", "event": "uncaught", "reason": "no models"}


def test_what_nobody_caught_in_a_thread_is_written_with_its_name(stream: io.StringIO) -> None:
    logs.configure(JSON, stream)

    def fail() -> None:
        raise ValueError("no")

    thread = threading.Thread(target=fail, name="run-cat-1")
    thread.start()
    thread.join()
    [record] = told(stream)
    assert record.pop("exception").endswith("\nValueError: no")
    assert record == {"level": "critical", "event": "uncaught", "thread": "run-cat-1"}


def test_what_has_a_record_of_its_own_is_not_told_again(stream: io.StringIO) -> None:
    logs.configure(JSON, stream)
    uvicorn = logging.getLogger("uvicorn.error")
    error = raised(AlreadyLogged())
    uvicorn.error("Exception in 'lifespan' protocol", exc_info=error)
    uvicorn.error("".join(traceback.format_exception(error)))
    uvicorn.error("Application startup failed. Exiting.")
    assert [record["event"] for record in told(stream)] == ["Application startup failed. Exiting."]


@pytest.mark.parametrize(
    ("log_format", "terminal", "is_json"),
    [
        ("json", True, True),
        ("json", False, True),
        ("auto", False, True),
        ("auto", True, False),
        ("console", False, False),
    ],
)
def test_a_terminal_gets_the_form_for_people(
    stream: io.StringIO, log_format: Any, terminal: bool, is_json: bool
) -> None:
    place = Terminal() if terminal else stream
    logs.configure(Log(format=log_format), place)
    structlog.get_logger().info("ready")
    assert place.getvalue().startswith("{") is is_json
    assert (sys.stderr is sys.__stderr__) is not is_json


def test_the_form_for_people_replaces_the_one_for_machines(stream: io.StringIO) -> None:
    """As at a start, which configures before it knows the settings and again when it does."""
    logs.configure(JSON, stream)
    logs.configure(CONSOLE, stream)
    print("a line", file=sys.stderr)
    assert stream.getvalue() == ""


def test_lines_may_be_written_in_the_background(stream: io.StringIO) -> None:
    lines = logs.configure(JSON, stream)
    lines.write_in_background()
    structlog.get_logger().info("ours")
    logging.getLogger("library").info("theirs")
    lines.stop()
    assert [record["event"] for record in told(stream)] == ["ours", "theirs"]


def test_people_read_time_level_event_and_fields(stream: io.StringIO) -> None:
    logs.configure(CONSOLE, stream)
    structlog.get_logger().info("ready", models=2)
    logging.getLogger("uvicorn.error").warning("careful", extra={"color_message": "\x1b[1mcareful"})
    own, foreign = plain(stream).splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d \[info +\] ready +models=2", own)
    assert re.fullmatch(r"\d\d:\d\d:\d\d \[warning +\] careful +\[uvicorn.error\]", foreign)


def test_people_can_copy_a_command(stream: io.StringIO) -> None:
    logs.configure(CONSOLE, stream)
    structlog.get_logger().info("ready", try_it="curl -s 'http://x'")
    assert plain(stream).splitlines()[1:] == ["", "curl -s 'http://x'", ""]
    assert "try_it" not in plain(stream)


def test_people_read_the_reason_and_no_traceback(stream: io.StringIO) -> None:
    logs.configure(CONSOLE, stream)
    by_structlog(raised(RepositoryError("no models")))
    assert "reason='no models'" in plain(stream)
    assert "Traceback" not in plain(stream)


@pytest.mark.parametrize("text", [HOSTILE, f"with {HOSTILE} spaces", f"{HOSTILE}\ud800"])
def test_nothing_in_a_text_reaches_a_persons_terminal(stream: io.StringIO, text: str) -> None:
    logs.configure(CONSOLE, stream)
    structlog.get_logger().info("request", reason=text, place=Path(text), many=[text])
    logging.getLogger("library").warning(text)
    by_structlog(raised(LookupError(text)))
    # An exception's text may have several lines; each is indented, so that none looks like a record.
    assert {line[:4] for line in plain(stream).split("\n")[3:-1]} == {"    "}
    assert [line for line in plain(stream).split("\n") if not line.isprintable()] == []
    assert repr(text) in plain(stream)


def test_people_read_a_traceback_without_the_values_of_variables(stream: io.StringIO) -> None:
    logs.configure(CONSOLE, stream)
    secret = "onk_" + "secret"
    by_structlog(raised(LookupError(f"{len(secret)} letters")))
    assert "Traceback (most recent call last):" in plain(stream)
    assert "LookupError: 10 letters" in plain(stream)
    assert secret not in plain(stream)
