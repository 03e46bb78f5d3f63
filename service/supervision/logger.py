"""Gunicorn's own records, in the shape of all others."""

from typing import Any

from gunicorn.glogging import Logger as _GunicornLogger


class Logger(_GunicornLogger):
    """Leaves the handlers alone that `telemetry/logs.py` has given to Gunicorn's loggers."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self.loglevel = self.error_log.level

    def reopen_files(self) -> None:
        """There are none."""
