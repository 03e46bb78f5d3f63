"""Gunicorn's configuration, made from our settings and the plan."""

import os
from functools import cache
from typing import Any

import structlog

from service.board import Board
from service.errors import StartError
from service.knobs import Log
from service.plan import plan_for_this_machine
from service.settings import Settings
from service.supervision import directory
from service.supervision.promises import promises, refuse_daemon
from service.supervision.seat import seat
from service.telemetry import identity, logs
from service.telemetry.lines import LineWriter


@cache  # Gunicorn executes its configuration file again on SIGHUP, in the same process
def gunicorn_settings() -> dict[str, Any]:
    """Every Gunicorn setting that differs from its default. Ends the process with one line if something is wrong."""
    logs.configure(Log())
    try:
        refuse_daemon(os.environ)
        settings = Settings.from_environment(os.environ)
        lines = logs.configure(settings.log)
        seat.share(Board(), directory.create(settings.run.dir))
    except StartError as error:
        structlog.get_logger().critical(error.code, reason=str(error))
        raise SystemExit(1) from None
    assert seat.directory is not None
    identity.keep_metrics_in(seat.directory)
    return _gunicorn_settings(settings, lines)


def _gunicorn_settings(settings: Settings, lines: LineWriter) -> dict[str, Any]:
    # Only now: importing the master imports the metrics, which need the directory for their files.
    from service.supervision.logger import Logger
    from service.supervision.master import Master

    plan = plan_for_this_machine(settings.runtime)
    promised = promises(settings, plan)
    master = Master(settings, plan, promised, lines)
    hooks = (
        "on_starting",
        "when_ready",
        "nworkers_changed",
        "pre_fork",
        "post_fork",
        "worker_exit",
        "on_exit",
    )
    return {
        **promised,
        "worker_class": promised["worker_class_str"],
        "graceful_timeout": settings.lifecycle.graceful_seconds,
        "keepalive": settings.http.keep_alive_seconds,
        # Gunicorn touches a file per worker every second or so; that must never wait for a disk.
        "worker_tmp_dir": str(seat.directory),
        # A thread in the master, and a socket by which anybody with our user id can stop the service.
        "control_socket_disable": True,
        "logger_class": Logger,
        **{hook: getattr(master, hook) for hook in hooks},
    }
