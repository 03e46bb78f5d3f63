"""A folder of this machine, or one that is mounted, as whoever reads it sees it: links are what they lead to."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from service.fetch.failures import FetchFailed, FetchInterrupted


class Local(LocalFileSystem):
    """fsspec's own stays before a link to a folder, and is silent about a folder that it may not list."""

    def find(self, path: str, **_: Any) -> dict[str, dict[str, Any]]:
        """Each file below a folder; or the one file. Raises OSError, and FetchFailed for a link that leads nowhere."""
        top = self._strip_protocol(path)
        try:
            return {file: self._seen(file) for file in ([top] if self.isfile(top) else _below(top))}
        except FileNotFoundError as error:
            if not Path(top).exists():
                raise
            raise FetchInterrupted(f"{error.filename} has gone while {top} was listed: run it again") from None

    def _seen(self, file: str) -> dict[str, Any]:
        if Path(file).is_symlink() and not Path(file).exists():
            raise FetchFailed(f"{file} is a link that leads nowhere: remove it, or bring what it leads to")
        info: dict[str, Any] = self.info(file)
        return info


def _below(folder: str) -> Iterator[str]:
    for place, folders, files in os.walk(folder, onerror=_fail, followlinks=True):
        # Where Kubernetes keeps what the links in a mounted ConfigMap lead to: everything would be there twice.
        folders[:] = [name for name in folders if not name.startswith("..")]
        yield from (str(Path(place, name)) for name in files)


def _fail(error: OSError) -> None:
    raise error
