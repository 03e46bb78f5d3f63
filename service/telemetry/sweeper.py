"""A worker's files lose what nobody is shown any more.

Otherwise they would grow with each new version, and so would the time that a scrape takes to read them.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from service.background import Background
from service.telemetry import identity, metrics
from service.telemetry.versions import Versions

log = structlog.get_logger()

# It is in no hurry, and need not come with the reload, when there is enough else to do.
_INTERVAL: Final = 60.0


class Sweeper(Background):
    """Looks every now and then whether there are other versions, while the block runs."""

    def __init__(self, versions: Callable[[], Versions], interval: float = _INTERVAL) -> None:
        self._versions = versions
        self._interval = interval
        self._swept: Versions | None = None

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.look()
            except Exception:  # such as no file to be had: all stays as it is, until the next time
                log.exception("sweep_failed")

    async def look(self) -> None:
        """What takes long is done in a thread, beside the requests."""
        versions = await asyncio.to_thread(self._versions)
        if versions is self._swept:
            return

        def is_gone(labels: Mapping[str, str]) -> bool:
            return "version" in labels and not versions.show(labels)

        drafts = await asyncio.to_thread(identity.draft, is_gone)
        if self._versions() is not versions:
            return  # what has just been gone may be back
        if drafts:
            metrics.forget(is_gone)
            identity.adopt(drafts)
        self._swept = versions
