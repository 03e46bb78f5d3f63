"""What Gunicorn is told and may not be told otherwise: its command line and GUNICORN_CMD_ARGS would win."""

import math
import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from gunicorn.config import Config
from gunicorn.errors import ConfigError

from service.errors import Contradiction, SettingsError
from service.plan import Plan
from service.settings import Settings

ARGUMENTS: Final = "GUNICORN_CMD_ARGS"
_WORKER_CLASS: Final = "service.supervision.worker.Worker"


def promises(settings: Settings, plan: Plan) -> dict[str, Any]:
    """The Gunicorn settings that the plan rests on."""
    return {
        "bind": [settings.http.bind],
        "workers": plan.workers,
        "worker_class_str": _WORKER_CLASS,
        # Modules are imported once, in the master: a worker is ready 0.4 s sooner and 27 MB smaller.
        # Safe because onnxruntime's telemetry thread is off and sessions are made after the fork.
        "preload_app": True,
        # The heartbeat of the event loop, not a limit for requests.
        "timeout": math.ceil(settings.lifecycle.heartbeat_seconds),
        # With a queue for each worker, connections would wait for one that is busy, or be lost with one that ends.
        "reuse_port": False,
        # A change of a source file is no reason to replace workers.
        "reload": False,
    }


def refuse_daemon(environ: Mapping[str, str]) -> None:
    """Gunicorn would leave its terminal between this configuration and the first hook: the last moment to say no."""
    given = [*sys.argv[1:], *shlex.split(environ.get(ARGUMENTS, ""))]
    if not {"-D", "--daemon"}.isdisjoint(given):
        raise Contradiction("gunicorn's daemon mode is not supported: let systemd or a container run the service")


def refuse_contradictions(cfg: Any, promised: Mapping[str, Any]) -> None:
    """`cfg` is Gunicorn's configuration. Raises Contradiction, which names each."""
    wrong = [
        f"gunicorn's {name} is {got}, the plan says {value}: "
        "take it out of the command line and GUNICORN_CMD_ARGS and use the ONNICORN_* settings"
        for name, value in promised.items()
        if (got := getattr(cfg, name)) != value
    ]
    if (cfg.uid, cfg.gid) != (os.geteuid(), os.getegid()):
        wrong.append(
            "gunicorn's user and group are not those of this process, to whom the service's files belong: "
            "start the service as the user who shall run it"
        )
    if wrong:
        raise Contradiction("; ".join(wrong))


def configured(promised: Mapping[str, Any]) -> Any:
    """Gunicorn's configuration as a start would read it: ours, and then GUNICORN_CMD_ARGS. Raises SettingsError."""
    cfg = Config()
    parser = cfg.parser()
    parser.error = _refuse  # it would print a usage and exit
    try:
        given = vars(parser.parse_args(cfg.get_cmd_args_from_env()))
        ours = {("worker_class" if name == "worker_class_str" else name): value for name, value in promised.items()}
        theirs = {name: value for name, value in given.items() if value is not None and name != "args"}
        for name, value in (*ours.items(), *theirs.items()):
            cfg.set(name.lower(), value)
    except (ValueError, TypeError, ConfigError) as error:
        _refuse(str(error).lower())
    return cfg


def _refuse(reason: str) -> NoReturn:
    raise SettingsError(f"{ARGUMENTS}={os.environ.get(ARGUMENTS, '')}: {reason}")
