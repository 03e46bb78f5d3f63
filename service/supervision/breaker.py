"""When to give up: workers that die again and again must not be started for ever."""

from typing import Final

from service.supervision.exits import Reason

# So many deaths before the service has started are no accident.
DEATHS: Final = 3
# How long a service that has started may be without any ready worker, in seconds, while successors die.
SECONDS: Final = 45.0

_HINTS: Final = {
    Reason.KILLED: "memory is most likely too small: raise the container's limit, or lower ONNICORN_RUNTIME__WORKERS",
    Reason.CRASHED: "a model most likely breaks the runtime: serve the models one by one to find it",
    Reason.LOAD_TIMEOUT: "ONNICORN_LIFECYCLE__LOAD_SECONDS sets how long that may take",
}


class GiveUp(Exception):
    """The service must end, with this reason if somebody else has not given it already."""


class Breaker:
    """Is told of deaths and of readiness; raises GiveUp. All times are on one clock, in seconds."""

    def __init__(self, now: float) -> None:
        self._ready_at = now
        self._deaths = 0
        self._last = Reason.FAILED

    def look(self, *, started: bool, ready: bool, now: float) -> None:
        """About once a second: is any worker ready?"""
        if not started:
            return
        if ready:
            self._ready_at, self._deaths = now, 0
        elif self._deaths and now - self._ready_at >= SECONDS:
            raise GiveUp(
                f"no worker has been ready for {now - self._ready_at:.0f} s and {self._deaths} have died while they "
                f"started; the last one {self._words()}"
            )

    def left(self, *, was_ready: bool, now: float) -> None:
        """A worker has ended in order; it may have taken long to, and nobody else may have been there."""
        if was_ready:
            self._ready_at, self._deaths = now, 0

    def died(self, reason: Reason, *, started: bool, was_ready: bool, now: float) -> None:
        """A worker has ended, and not in order. One that was ready until then says nothing about its successors."""
        if started and was_ready:
            self._ready_at, self._deaths = now, 0
            return
        self._deaths, self._last = self._deaths + 1, reason
        if started:
            return
        if reason is Reason.BOOT_FAILED:
            raise GiveUp  # the worker has said why
        if reason is Reason.LOAD_TIMEOUT:
            raise GiveUp(f"a worker has not loaded its models before the service had started; {_HINTS[reason]}")
        if self._deaths >= DEATHS:
            raise GiveUp(
                f"{self._deaths} workers have died before the service had started; the last one {self._words()}"
            )

    def _words(self) -> str:
        hint = _HINTS.get(self._last, "the worker_exited records say more")
        return f"{self._last.value.replace('_', ' ')}; {hint}"
