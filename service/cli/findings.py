"""What `onnicorn check` has found: each fact as one line, that it is well, may be better, or stops the start."""

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import click
import structlog

from service.errors import StartError

# The service says of each model that it refuses what `check` says by itself.
_SAID_OTHERWISE: Final = frozenset({"model_refused"})


class Level(StrEnum):
    """`fail` stops the start."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


_COLOURS: Final = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact: what it is about, what is so, and what to do where something shall be done."""

    level: Level
    subject: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        level = click.style(f"{self.level:<4}", fg=_COLOURS[self.level])
        return f"{level}  {self.subject}: {self.message}" + (f"; {self.hint}" if self.hint else "")


class Findings:
    """All of them, in the order found; `show` hears each one at once."""

    def __init__(self, show: Callable[[Finding], None] = lambda finding: None) -> None:
        self.all: list[Finding] = []
        self._show = show

    def add(self, finding: Finding) -> None:
        """Said once, though several steps of a start may come upon it."""
        if finding not in self.all:
            self.all.append(finding)
            self._show(finding)

    def ok(self, subject: str, message: str) -> None:
        self.add(Finding(Level.OK, subject, message))

    def warn(self, subject: str, message: str, hint: str = "") -> None:
        self.add(Finding(Level.WARN, subject, message, hint))

    def fail(self, subject: str, message: str) -> None:
        self.add(Finding(Level.FAIL, subject, message))

    def count(self, level: Level) -> int:
        return sum(finding.level is level for finding in self.all)

    @contextmanager
    def about(self, subject: str) -> Iterator[None]:
        """What would end the start is a finding, and the next step is taken."""
        try:
            yield
        except (StartError, OSError) as error:
            self.fail(subject, str(error))

    @contextmanager
    def hearing(self) -> Iterator["Findings"]:
        """What the service would warn of in its log is a finding, too."""
        before = structlog.get_config()
        structlog.configure(processors=[self._hear])
        try:
            yield self
        finally:
            structlog.configure(**before)

    def _hear(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        if event["event"] not in _SAID_OTHERWISE:
            self.add(_heard(method, dict(event)))
        raise structlog.DropEvent


def _heard(method: str, event: dict[str, Any]) -> Finding:
    name = event.pop("event").replace("_", " ")
    model, version = event.pop("model", ""), event.pop("version", None)
    subject = f"{model}/{version}" if version else model or "service"
    reason, hint = event.pop("reason", ""), event.pop("hint", "") or event.pop("cost", "")
    facts = ", ".join(f"{key} {value}" for key, value in event.items())
    message = ": ".join(part for part in (name, facts, reason) if part)
    return Finding(Level.WARN if method == "warning" else Level.FAIL, subject, message, hint)
