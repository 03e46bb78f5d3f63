"""The coordinator of reloads, in the ops process: all workers change over to a new generation at once, or none does.

    prepare    a process of its own checks what the repository holds now, and writes the manifest of a new generation
    stage      the board names it as the target; every worker loads it beside the one that it serves
    commit     all have: one store on the board, and every request admitted from then on is answered by the new one

Whatever goes wrong before the commit, no model has changed: the target is taken back, and the reason is in the log, in
a metric and in the repository's index. Keys that have changed are then committed alone. The state lies in files and on
the board, so a coordinator that comes after a dead one finds out where it was: it takes back a target that was not
committed, and goes on with the wish.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final

import structlog

from service.access import Clients
from service.engine.cache import Hold
from service.engine.manifest import Entry, Manifest
from service.loading import cache_of, succeed, weights
from service.outcomes import RESULTS, Outcome, Reason, Result
from service.plan import DoesNotFit, check_room
from service.seat import Seat
from service.settings import Settings
from service.supervision import successor
from service.supervision.exits import signal_name
from service.supervision.rollcall import Aborted, Refused, RollCall
from service.telemetry import metrics
from service.wishes import Wish

log = structlog.get_logger()

_LOOK_SECONDS: Final = 0.05
# How long to rest after a failure of our own.
_PAUSE_SECONDS: Final = 1.0


class Coordinator:
    """Fulfils one wish after the other."""

    def __init__(self, settings: Settings, seat: Seat) -> None:
        self._settings = settings
        self._seat = seat
        self._service = seat.board.service
        self._holds: dict[Path, Hold] = {}
        self._is_new = True
        for result in RESULTS:
            metrics.RELOADS.labels(result)  # a rate needs a number to begin with

    async def run(self) -> None:
        """For ever. Nothing that goes wrong here may end the process that answers probes."""
        while not self._service.generation:  # noqa: ASYNC110 - the master prepares the first one, in another process
            await asyncio.sleep(_LOOK_SECONDS)
        self._service.target = self._service.generation
        while True:
            try:
                await self._look()
            except Exception:
                log.exception("coordinator_failed")
                await asyncio.sleep(_PAUSE_SECONDS)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self) -> None:
        if self._is_new:
            self._hold(self._committed().entries)
            self._is_new = False
        if found := self._seat.wishes.after(self._service.reloads):
            await self._fulfil(*found)

    async def _fulfil(self, wish: Wish, position: int) -> None:
        started, before = monotonic(), self._service.generation
        outcome = await self._outcome(wish)
        try:
            self._seat.outcomes.note(position, self._with_standing(outcome, wish))
        finally:
            metrics.RELOADS.labels(outcome.result).inc()
            facts = {"wish": wish.kind, "generation": outcome.generation, "seconds": round(monotonic() - started, 3)}
            if outcome.result == "committed":
                log.info("reloaded", **facts)
            else:
                log.error(f"reload_{outcome.result}", reason=outcome.reason, **facts)
            self._service.reloads = position  # last: whoever waits for it finds all of this
        if self._service.generation != before:
            await asyncio.to_thread(self._clean)

    async def _outcome(self, wish: Wish) -> Outcome:
        try:
            await self._reload(wish)
        except Refused as refusal:
            # Where one model was asked for, what has no name was about it.
            reasons = tuple(reason.of(wish.model) for reason in refusal.reasons)
            return self._call_off("aborted" if isinstance(refusal, Aborted) else "refused", reasons)
        except Exception:
            # To die of it would mean to try it again, for ever: the wish is still there for a successor.
            log.exception("reload_failed", wish=wish.kind, model=wish.model)
            return self._call_off("aborted", (Reason(text="the reload has failed; the log says why"),))
        return Outcome(result="committed", generation=self._service.generation)

    def _call_off(self, result: Result, reasons: tuple[Reason, ...]) -> Outcome:
        self._service.target = self._service.generation
        return Outcome(result=result, generation=self._service.generation, reasons=reasons)

    def _with_standing(self, outcome: Outcome, wish: Wish) -> Outcome:
        """A model is cleared by a reload that has read it again; what concerned none is replaced by each reload."""
        last = self._seat.outcomes.last()
        earlier = [reason for reason in (last.standing if last else ()) if reason.name]
        if outcome.result != "aborted":
            earlier = [reason for reason in earlier if not wish.concerns(reason.name)]
        new = [reason for reason in outcome.reasons if not reason.is_missing and reason not in earlier]
        return outcome.model_copy(update={"standing": (*earlier, *new)})

    async def _reload(self, wish: Wish) -> None:
        """Raises Refused."""
        committed = self._committed()
        manifest = await self._prepare(wish, committed)
        try:
            self._check(manifest, wish, committed)
            await self._change_over(manifest, committed)
        except Refused:
            if manifest.clients != committed.clients:
                await self._change_keys(manifest.clients, committed)
            raise

    async def _change_keys(self, clients: Clients | None, committed: Manifest) -> None:
        """Nothing else: who may call does not wait until the models are as they should be."""
        manifest = committed.model_copy(update={"generation": self._next_number(), "clients": clients})
        try:
            await self._change_over(manifest, committed)
        except Refused as refusal:
            log.error("keys_kept", reason="; ".join(reason.text for reason in refusal.reasons))
        else:
            log.info("keys_changed", generation=manifest.generation)

    async def _change_over(self, manifest: Manifest, committed: Manifest) -> None:
        """Raises Refused."""
        new = [entry for entry in manifest.entries if entry not in committed.entries]
        self._check_room(new)
        self._hold(new)
        manifest.write(self._seat.manifest_of(manifest.generation))
        await self._stage(manifest.generation)
        self._service.commit(manifest.generation, len(manifest.entries))

    def _next_number(self) -> int:
        """What a worker has staged says which reload it belongs to, for ever."""
        self._service.last_number += 1
        return self._service.last_number

    async def _prepare(self, wish: Wish, committed: Manifest) -> Manifest:
        """What the generation would be made of, with the reasons against it. Raises Aborted."""
        number = self._next_number()
        if wish.kind == "unload":
            return succeed(committed, Manifest(generation=number, entries=()), wish)
        return await self._run_preparation(wish, number)

    def _check(self, manifest: Manifest, wish: Wish, committed: Manifest) -> None:
        """Raises Refused where a model was refused, unless that is tolerated."""
        if wish.kind == "unload":
            return
        reasons = [
            Reason(name=refusal.name, version=refusal.version, text=refusal.reason)
            for refusal in manifest.refusals
            if not refusal.name or wish.concerns(refusal.name)
        ]
        if wish.kind == "load" and not reasons and not any(entry.name == wish.model for entry in manifest.entries):
            reasons = [Reason(name=wish.model, text="the repository has no such model", is_missing=True)]
        if wish.kind == "all" and not reasons and committed.entries and not manifest.entries:
            # Far more often a volume that is not mounted than a wish; `unload` is there for that.
            reasons = [Reason(text=f"{self._settings.repository.path} has no model any more")]
        tolerated = self._settings.repository.tolerate_failures and wish.kind == "all"
        if reasons and not (tolerated and all(reason.name for reason in reasons)):
            raise Refused(*reasons)

    async def _run_preparation(self, wish: Wish, number: int) -> Manifest:
        """In a session of its own, so that its end is the end of all that it has started."""
        result = self._seat.manifest_of(number).with_suffix(".prepared")
        command = successor.command(self._seat.manifest_of(self._service.generation), result, wish, number)
        process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
        try:
            await self._until(asyncio.create_task(process.wait()).done, "preparing the models")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            code = await process.wait()
        if code:
            raise Aborted(Reason(text=_how_it_ended(code)))
        try:
            return Manifest.read(result)
        finally:
            result.unlink()

    async def _stage(self, generation: int) -> None:
        """Until every worker has it."""
        self._service.target = generation
        await self._until(RollCall(self._seat.board, generation).is_complete, "loading the models in every worker")

    async def _until(self, is_done: Callable[[], bool], what: str) -> None:
        """Raises Aborted when the service ends meanwhile, or when it takes too long."""
        seconds = self._settings.lifecycle.load_seconds
        deadline = monotonic() + seconds
        while not is_done():
            if self._service.terminating:
                raise Aborted(Reason(text="the service is ending"))
            if monotonic() > deadline:
                raise Aborted(Reason(text=f"{what} took longer than ONNICORN_LIFECYCLE__LOAD_SECONDS={seconds:g}"))
            await asyncio.sleep(_LOOK_SECONDS)
        if self._service.terminating:
            raise Aborted(Reason(text="the service is ending"))

    def _committed(self) -> Manifest:
        return Manifest.read(self._seat.manifest_of(self._service.generation))

    def _check_room(self, new: Iterable[Entry]) -> None:
        """Both generations lie in memory side by side for a moment."""
        try:
            check_room(weights(new), self._service.workers)
        except DoesNotFit as error:
            raise Refused(Reason(text=str(error))) from None

    def _hold(self, entries: Iterable[Entry]) -> None:
        """No other service on this machine prunes what a successor of ours will load."""
        for cached in {cached for entry in entries for cached in entry.cached} - self._holds.keys():
            with suppress(OSError):  # one that is gone already is loaded plainly by each worker, with a warning
                self._holds[cached] = Hold(cached)

    def _clean(self) -> None:
        """What no worker will load again; one that has just started may still read what was committed before."""
        wanted = {cached for entry in self._committed().entries for cached in entry.cached}
        self._holds = {cached: hold for cached, hold in self._holds.items() if cached in wanted}
        cache_of(self._settings).prune()
        kept = {self._seat.manifest_of(number) for number in (self._service.before, self._service.generation)}
        for manifest in set(self._seat.manifests()) - kept:
            manifest.unlink(missing_ok=True)


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"checking the models was ended by {signal_name(code)}; most likely the container's memory is too small"
    return "checking the models has failed; the log says why"
