"""What a start finds around the models: settings, Gunicorn's options, files, keys, addresses."""

import os
from contextlib import ExitStack
from pathlib import Path

from service.access import read_clients
from service.cli.findings import Findings
from service.errors import AddressUnavailable
from service.plan import plan_for_this_machine, some
from service.settings import Settings, variables


def look_at_settings(findings: Findings, repository: Path | None) -> Settings:
    """Those that are right; what is wrong has its default, so that all else can be looked at."""
    settings, wrong = Settings.as_far_as_valid(os.environ, repository)
    for sentence in wrong:
        findings.fail("settings", sentence)
    if not wrong:
        count = sum(name.upper() in variables() for name in os.environ)
        findings.ok("settings", f"{some(count, 'variable')} of {len(variables())} set; `onnicorn settings` lists them")
    return settings


def look_around(findings: Findings, settings: Settings) -> None:
    """The steps of a start that come before the models."""
    _look_at_gunicorn(findings, settings)
    _look_at_folders(findings, settings)
    with findings.about("keys"):
        if clients := read_clients(settings.access.keys):
            findings.ok("keys", f"{some(len(clients.clients), 'client')} may call")
    _look_at_addresses(findings, settings)


def _look_at_gunicorn(findings: Findings, settings: Settings) -> None:
    from service.supervision import promises, tls  # only here: Gunicorn and Uvicorn take their time

    promised = promises.promises(settings, plan_for_this_machine(settings.runtime))
    with findings.about("gunicorn"):
        cfg = promises.configured(promised)
        with findings.about("gunicorn"):
            promises.refuse_daemon(os.environ)
            promises.refuse_contradictions(cfg, promised)
            given = os.environ.get(promises.ARGUMENTS)
            findings.ok("gunicorn", f"{promises.ARGUMENTS}={given}" if given else "no options of its own are set")
        with findings.about("certificates"):
            tls.check(cfg)
            if cfg.is_ssl:
                findings.ok("certificates", f"{cfg.certfile} is served over TLS")


def _look_at_folders(findings: Findings, settings: Settings) -> None:
    from service.engine.cache import CacheUnusable
    from service.loading import cache_of
    from service.supervision import directory, files

    try:
        cache_of(settings).try_out()
        findings.ok("cache", f"{settings.cache.dir} takes prepared models")
    except CacheUnusable as error:
        hint = "set ONNICORN_CACHE__DIR to a writable directory, unless `onnicorn prepare` has filled this one"
        findings.warn("cache", str(error), hint)
    with findings.about("run directory"):
        directory.remove(directory.create(settings.run.dir))
        findings.ok("run directory", f"{settings.run.dir} is writable")
    files.allow(settings.limits.connections)


def _look_at_addresses(findings: Findings, settings: Settings) -> None:
    """Both at once, as a start holds them: they must not be the same."""
    from service.supervision.listener import held

    with ExitStack() as held_ones:
        for name, address in (("http", settings.http.bind), ("ops", settings.ops.bind)):
            try:
                held_ones.enter_context(held(address, f"ONNICORN_{name.upper()}__BIND"))
                findings.ok("address", f"{name} can listen on {address}")
            except AddressUnavailable as error:
                findings.fail("address", str(error))
