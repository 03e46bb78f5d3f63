"""How many files, and so how many connections, a process may have open."""

import resource
from typing import Final

import structlog

log = structlog.get_logger()

# What a process needs for models, logs, metrics, threads and connections that are on their way out.
_SPARE: Final = 256


def raise_limit() -> int:
    """The soft limit becomes the hard one, for this process and its children; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def connections_within(asked: int, files: int) -> int:
    """As many connections as were asked for, or as a process with so many files can hold."""
    if files == resource.RLIM_INFINITY:
        return asked
    return min(asked, max(files - _SPARE, files // 2, 1))


def allow(asked: int) -> int:
    """Raise the limit; says once for all workers if it is still too low for the connections that each shall hold."""
    files = raise_limit()
    held = connections_within(asked, files)
    if held < asked:
        log.warning(
            "connections_limited",
            connections=held,
            asked=asked,
            files=files,
            hint="raise the hard limit of open files (ulimit -Hn, LimitNOFILE), or lower ONNICORN_LIMITS__CONNECTIONS",
        )
    return held
