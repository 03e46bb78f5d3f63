"""The Gunicorn master: what it does before the first fork, around each fork, and at its end."""

import signal
import socket
from contextlib import suppress
from time import monotonic
from types import FrameType
from typing import Any, Final

import structlog

from service import memory
from service.cgroup import Cgroup
from service.engine.cache import Hold
from service.engine.manifest import Manifest
from service.errors import StartError
from service.loading import cache_of, fitted
from service.plan import Plan
from service.settings import Settings
from service.supervision import arbiter, child, directory, files, last_words, listener, ops, promises, tls
from service.supervision.exits import Ended
from service.supervision.keeper import Keeper
from service.supervision.preparation import Preparation
from service.supervision.seat import seat
from service.telemetry import identity
from service.telemetry.lines import LineWriter
from service.wishes import Wish

log = structlog.get_logger()


# How soon ops is started again, in seconds: should it fail at once, then not again and again.
_OPS_PAUSE: Final = 1.0


class Master:
    """Gunicorn's hooks, as methods of the object that they share."""

    def __init__(self, settings: Settings, plan: Plan, promised: dict[str, Any], lines: LineWriter) -> None:
        """`promised` are the Gunicorn settings that the plan rests on, and that no command line may change."""
        self._settings = settings
        self._plan = plan
        self._promised = promised
        self._lines = lines
        self._ops_pid = 0
        self._ops_not_before = 0.0
        self._preparation = Preparation(settings, seat)
        self._ops_listener: socket.socket | None = None
        self._holds: list[Hold] = []
        self._limits = settings.limits
        self._keeper = Keeper(seat.board, settings.lifecycle, Cgroup.of_this_process())

    def on_starting(self, server: Any) -> None:
        """Everything that can fail, before there is anything to respawn. Ends the process if it does."""
        for number in (signal.SIGTERM, signal.SIGINT):
            # Gunicorn's own handlers come after this hook, and PID 1 ignores a TERM that nobody handles.
            signal.signal(number, _leave)
        # The models are being read; until Gunicorn handles this signal it would end us.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            self._start(server)
        except StartError as error:
            log.critical(error.code, reason=str(error))
            self.on_exit(server)
            raise SystemExit(1) from None
        except BaseException:
            self.on_exit(server)
            raise

    def when_ready(self, server: Any) -> None:
        """The first worker is not forked yet."""
        arbiter.take_over(server, seat.board, self)

    def may_fork(self) -> bool:
        return self._keeper.may_fork()

    def look(self, api_listeners: list[Any]) -> None:
        """About once a second. Raises GiveUp."""
        self._keep_ops(api_listeners)
        self._keeper.look()

    def reload(self) -> None:
        try:
            seat.wishes.ask(Wish())
        except OSError as error:
            log.error("reload_impossible", reason=f"the wish cannot be written: {error.strerror}")

    def worker_ended(self, ended: Ended) -> None:
        """Raises GiveUp."""
        identity.bury(f"worker-{ended.slot}")
        last_words.report(seat.last_words_of(ended.slot), ended.slot, ended.pid)
        self._keeper.worker_ended(ended)

    def nworkers_changed(self, server: Any, new: int, old: int | None) -> None:
        seat.board.service.workers = new

    def pre_fork(self, server: Any, worker: Any) -> None:
        worker.slot = seat.board.occupy()
        worker.born, worker.asked = monotonic(), None
        worker.drain_seconds = self._settings.lifecycle.drain_seconds
        worker.finish_seconds = self._settings.lifecycle.finish_seconds
        worker.limits = self._limits

    def post_fork(self, server: Any, worker: Any) -> None:
        # Not before the fork: the master would take the slot as well, and both would write one file.
        identity.become(f"worker-{worker.slot}")
        seat.take(worker.slot)
        self._lines.write_in_background()
        if self._ops_listener:
            self._ops_listener.close()

    def worker_exit(self, server: Any, worker: Any) -> None:
        self._lines.stop()

    def on_exit(self, server: Any) -> None:
        self._abandon()
        if seat.directory:
            directory.remove(seat.directory)

    def _start(self, server: Any) -> None:
        promises.refuse_contradictions(server.cfg, self._promised)
        memory.bound_heaps()
        connections = files.allow(self._limits.connections)
        self._limits = self._limits.model_copy(update={"connections": connections})
        tls.check(server.cfg)
        with listener.held(self._settings.http.bind, "ONNICORN_HTTP__BIND"):
            ops_listener = listener.open_listener(self._settings.ops.bind, "ONNICORN_OPS__BIND")
        self._ops_listener = ops_listener
        self._ops_pid = self._fork_ops([])
        manifest = self._preparation.run()
        self._commit(manifest)
        self._fit(server, manifest)

    def _fork_ops(self, api_listeners: list[Any]) -> int:
        """`api_listeners` would stay bound as long as ops lives, if it kept what it inherits."""
        listener = self._ops_listener
        assert listener

        self._ops_not_before = monotonic() + _OPS_PAUSE

        def work() -> None:
            self._lines.write_in_background()  # a slow reader of our output must not hold up a probe
            for api_listener in api_listeners:
                api_listener.close()
            ops.run(self._settings, seat, listener)

        return child.fork("ops", work)

    def _keep_ops(self, api_listeners: list[Any]) -> None:
        """Gunicorn reaps every child, so whether ops lives can only be asked. Nothing starts while the master stops."""
        if child.is_alive(self._ops_pid) or seat.board.service.terminating or monotonic() < self._ops_not_before:
            return
        log.error("ops_died", hint="probes and scrapes wait until it is back")
        self._ops_pid = self._fork_ops(api_listeners)

    def _commit(self, manifest: Manifest) -> None:
        # Held by the master and, through the fork, by every worker: no other service prunes what we map.
        for cached in (cached for entry in manifest.entries for cached in entry.cached):
            with suppress(OSError):  # one that is gone already is loaded plainly by each worker, with a warning
                self._holds.append(Hold(cached))
        cache_of(self._settings).prune()
        seat.board.service.text = ""
        seat.board.service.commit(manifest.generation, len(manifest.entries))

    def _fit(self, server: Any, manifest: Manifest) -> None:
        """Now that the models' weight is known: as many workers as memory allows. Raises DoesNotFit."""
        plan = fitted(self._plan, self._settings, manifest.entries)
        seat.body_bytes = plan.body_bytes
        if "unsent_bytes" not in self._settings.limits.model_fields_set:
            unsent = min(self._limits.unsent_bytes, plan.body_bytes)
            self._limits = self._limits.model_copy(update={"unsent_bytes": unsent})
        log.info("plan", workers=plan.workers, intra_op_threads=plan.intra_op_threads, why="; ".join(plan.reasons))
        if plan.workers != self._plan.workers:
            # The setting is what Gunicorn would go back to, the attribute what it works by.
            server.cfg.set("workers", plan.workers)
            server.num_workers = plan.workers
            changed = manifest.model_copy(update={"intra_op_threads": plan.intra_op_threads})
            changed.write(seat.manifest_of(manifest.generation))

    def _abandon(self) -> None:
        """End the children that are not Gunicorn's workers."""
        if self._ops_listener:
            self._ops_listener.close()
        self._preparation.end()
        if self._ops_pid:
            child.kill(self._ops_pid)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
