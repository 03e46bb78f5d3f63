"""`onnicorn fetch`: models from object storage, for init containers."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
import structlog

from service.fetch.address import Address
from service.fetch.failures import TRY_AGAIN_LATER, FetchFailed, FetchInterrupted
from service.fetch.run import fetch as run
from service.plan import some

_ANONYMOUS: Final[dict[str, dict[str, Any]]] = {"s3": {"anon": True}, "gs": {"token": "anon"}, "az": {"anon": True}}


@click.command(
    epilog="""\b
Examples:
  onnicorn fetch s3://bucket/models models
  onnicorn fetch --anonymous gs://bucket/models /srv/models

Exit code 1 where trying again would not help, and 75 where it would."""
)
@click.argument("url", help="s3://bucket/prefix, gs://..., az://..., https://... or a path.")
@click.argument(
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="A directory; made if it is not there.",
)
@click.option("--endpoint-url", help="Of an S3 that is not Amazon's; AWS_ENDPOINT_URL says the same.")
@click.option("--anonymous", is_flag=True, help="Look for no credentials: the bucket is public.")
@click.option("--insecure-http", is_flag=True, help="Allow http://, which anybody on the way can read and change.")
@click.option("--parallel", type=click.IntRange(1, 64), default=4, show_default=True, help="Pieces read at a time.")
def fetch(
    url: str, folder: Path, endpoint_url: str | None, anonymous: bool, insecure_http: bool, parallel: int
) -> None:
    """Make DIR have what lies at URL. Only what has changed is fetched.

    Credentials are found as the store's own library finds them. Nothing is deleted from DIR but what an earlier fetch
    has brought from there, which lies as it came, and is not at URL any more.
    """
    _log_to_stderr()
    address = Address.parse(url, allow_http=insecure_http)
    options = _options(address, endpoint_url, anonymous, insecure_http)
    try:
        with _ended_by_sigterm():
            done = run(address, folder, options, parallel)
    except FetchInterrupted as error:
        click.echo(f"onnicorn: {error}", err=True)
        raise SystemExit(TRY_AGAIN_LATER) from None
    removed = f", {some(done.removed, 'file')} removed" if done.removed else ""
    click.echo(
        f"{folder}: {some(done.objects, 'file')}, {done.fetched} of them new or changed{removed}, "
        f"{done.bytes:,} bytes fetched"
    )


def _options(address: Address, endpoint_url: str | None, anonymous: bool, allow_http: bool) -> dict[str, Any]:
    if endpoint_url and address.protocol != "s3":
        raise FetchFailed(f"--endpoint-url is for s3:// only, not for {address.shown}")
    options: dict[str, Any] = dict(_ANONYMOUS.get(address.protocol, {})) if anonymous else {}
    if endpoint_url:
        Address.parse(endpoint_url, allow_http)
        options["endpoint_url"] = endpoint_url
    if address.is_web:
        options["allow_http"] = allow_http
    return options


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """At once, whatever the threads are doing: what has come is kept. Process 1 would not be ended by it otherwise."""

    def end(*_: object) -> None:
        os.write(2, b"onnicorn: ended by SIGTERM; run it again, it goes on from here\n")
        os._exit(TRY_AGAIN_LATER)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _log_to_stderr() -> None:
    """Other commands keep quiet unless something is wrong; this one takes minutes, and whoever waits wants to know."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
