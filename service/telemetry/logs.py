"""One JSON line per fact, for our own records, Gunicorn's, Uvicorn's and every library's.

Everything goes to standard output. `console` is the same for people. What Python code without a logger prints to
standard error becomes a record too; ONNX Runtime, which prints past Python, is told to be silent in `engine/session.py`
and raises the same text.

Much of what is logged was sent by somebody: a path, a name. Nothing of it may end a line, drive the terminal of whoever
reads the log, or turn the direction of its text.
"""

import io
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from service.errors import OnnicornError, StartError
from service.knobs import Log
from service.telemetry.lines import LineWriter

# What JSON need not escape. Those below U+0020 it always does.
_UNSAFE: Final = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class AlreadyLogged(Exception):
    """Ends a start whose reason has been logged; Uvicorn's own words on it, a traceback, are dropped."""


def configure(settings: Log, stream: TextIO = sys.stdout) -> LineWriter:
    """Route every record of this process to `stream`, through the writer that is returned."""
    sys.stderr = sys.__stderr__  # where an earlier call has taken it over
    console = settings.format == "console" or (settings.format == "auto" and stream.isatty())
    level = _LEVELS[settings.level]
    lines = LineWriter(stream)
    structlog.configure(
        processors=[*_common(console), *_renderers(console)],
        wrapper_class=structlog.make_filtering_bound_logger(level) if console else _lean(level, lines),
        logger_factory=structlog.WriteLoggerFactory(lines),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                _drop_colours,
                *_common(console),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(console)],
        )
    )
    _adopt_everything(handler, level)
    if not console:
        sys.stderr = _Lines(structlog.get_logger(stream="stderr").error)
    return lines


def _adopt_everything(handler: logging.Handler, level: int) -> None:
    """The root logger, and the libraries' loggers that insist on handlers of their own."""
    for name in ("", "gunicorn.error", "gunicorn.access", "uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level)
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    # asyncio says at debug level which selector it uses, at every start.
    logging.getLogger("asyncio").setLevel(max(level, logging.INFO))
    logging.captureWarnings(True)
    log = structlog.get_logger()
    sys.excepthook = lambda kind, error, trace: log.critical("uncaught", exc_info=(kind, error, trace))
    threading.excepthook = lambda args: log.critical(
        "uncaught",
        thread=args.thread and args.thread.name,
        exc_info=(args.exc_type, args.exc_value, args.exc_traceback),
    )


def _common(console: bool) -> list[Processor]:
    if not console:
        return [_short_start_errors]
    clock = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
    return [clock, structlog.processors.add_log_level, _short_start_errors]


def _renderers(console: bool) -> Sequence[Processor]:
    if console:
        return [_Console()]
    return [structlog.processors.format_exc_info, _Json()]


class _Console:
    """For people. A `try_it` is a command to copy: it stands unquoted on a line of its own below the record."""

    def __init__(self) -> None:
        self._renderer = structlog.dev.ConsoleRenderer(
            colors=True, pad_event_to=16, exception_formatter=_write_traceback
        )

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        hint = event.pop("try_it", None)
        for name, value in event.items():
            if isinstance(value, str) and not value.isprintable():
                event[name] = _Quoted(value)
        line = str(self._renderer(logger, method, event))
        return f"{line}\n\n{hint}\n" if hint else line


class _Quoted:
    """A text that a terminal must not see as it is; structlog prints what is no text by its `repr`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return repr(self._text)


def _write_traceback(stream: TextIO, exc_info: ExcInfo) -> None:
    """Without the values of variables, which structlog may show. Indented, so that no line looks like a record."""
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    for line in text.getvalue().strip("\n").split("\n"):
        shown = line if line.isprintable() else line.encode("unicode_escape").decode()
        stream.write(f"\n    {shown}")


def _drop_colours(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Uvicorn sends its messages twice, the second time with escape codes."""
    event.pop("color_message", None)
    return event


def _short_start_errors(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Our own errors explain themselves; a traceback beside them would only bury the sentence."""
    info = event.get("exc_info")
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, StartError) or (isinstance(error, OnnicornError) and error.__cause__ is None):
        event["exc_info"] = None
        event["reason"] = str(error)
    return event


class _Json:
    """Time, level and event first; one step, since every request takes it."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        return self.line(method, event.pop("event"), event).decode()

    def line(self, level: str, event: Any, fields: EventDict) -> bytes:
        line = {"timestamp": self._now(), "level": level, "event": event, **fields, "pid": os.getpid()}
        try:
            text = orjson.dumps(line, default=str)
        except TypeError:  # a text that is no UTF-8, such as a file's name may be
            text = json.dumps(line, default=str).encode()
        return text if text.isascii() and b"\x7f" not in text else _escaped(text)

    def _now(self) -> str:
        """RFC 3339 with microseconds; all but those is made once a second."""
        second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second, self._text = second, datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._text}.{nanoseconds // 1000:06}Z"


def _escaped(line: bytes) -> bytes:
    """JSON's own syntax has none of these, so they stand inside of texts, where they may be written so."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", line.decode()).encode()


def _is_news(record: logging.LogRecord) -> bool:
    """Uvicorn's words on a start that was refused are not."""
    return AlreadyLogged.__name__ not in record.getMessage() and not (
        record.exc_info and isinstance(record.exc_info[1], AlreadyLogged)
    )


def _lean(level: int, lines: LineWriter) -> type[Any]:
    """structlog's logger, with a short way for what every request writes: a fact without an exception."""
    base: Any = structlog.make_filtering_bound_logger(level)
    renderer = _Json()

    class Lean(base):
        def info(self, event: str, *args: object, **fields: Any) -> Any:
            if args or self._context or "exc_info" in fields:
                return super().info(event, *args, **fields)
            return lines.write_line(renderer.line("info", event, fields))

        def warning(self, event: str, *args: object, **fields: Any) -> Any:
            if args or self._context or "exc_info" in fields:
                return super().warning(event, *args, **fields)
            return lines.write_line(renderer.line("warning", event, fields))

    return Lean if level <= logging.INFO else cast(type[Any], base)


class _Lines(io.TextIOBase):
    """A stream whose lines become records."""

    def __init__(self, record: Callable[[str], Any]) -> None:
        self._record = record
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self._record(line)
        return len(text)

    def flush(self) -> None:
        pass
