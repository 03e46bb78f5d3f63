"""What lies at an address, and a piece of it. fsspec is the one library for all stores; credentials are its affair."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import PurePosixPath
from typing import Any, Final

import fsspec
import structlog

from service.engine.checksums import FILE, MOST, parse
from service.fetch.address import Address
from service.fetch.failures import FetchFailed, is_forbidden, is_missing, reason
from service.fetch.local import Local

# Where a folder that is fetched to keeps what is the fetch's own.
CORNER: Final = ".fetch"
# What tells two objects apart that have lain at the same key: Google's, S3's, Azure's, then a time.
_VERSIONS: Final = ("generation", "ETag", "etag", "LastModified", "last_modified", "Last-Modified", "mtime")
# Where a URL has not the whole address in it.
_ACCOUNTS: Final = {"az": "; name the account by AZURE_STORAGE_ACCOUNT_NAME, or AZURE_STORAGE_CONNECTION_STRING"}
# And what a store's library calls it, in all of its settings, once it has asked.
_ENDPOINTS: Final = {"s3": "s3.meta.endpoint_url", "gs": "base", "az": "service_client.url"}
# botocore's tries times those of s3fs times ours would be a hundred, and the first two say nothing meanwhile.
_ALWAYS: Final[dict[str, dict[str, Any]]] = {"s3": {"config_kwargs": {"retries": {"total_max_attempts": 1}}}}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Object:
    """`path` is where it belongs, below the folder that is fetched to; `key` is where it lies.

    `version` changes with the content; empty where the store has nothing that does. `is_kept` says that it is wanted
    for itself and not only to verify another.
    """

    path: str
    key: str
    shown: str
    version: str
    size: int
    is_kept: bool = True


class Store:
    """Safe to be used by many threads."""

    def __init__(self, address: Address, options: Mapping[str, Any]) -> None:
        """Raises FetchFailed where the store's library is not installed, or does not know enough."""
        self._address = address
        self._has_warned = False
        try:
            self._files = _files(address, options)
        except ImportError as error:
            raise FetchFailed(
                f"{address.shown} needs the extra {address.extra!r}: pip install 'onnicorn[{address.extra}]' ({error})"
            ) from None
        except ValueError as error:
            hint = _ACCOUNTS.get(address.protocol, "")
            raise FetchFailed(f"{address.shown} cannot be asked: {reason(error)}{hint}") from error

    def objects(self) -> tuple[Object, ...]:
        """All there is, sorted by path. Raises whatever the library raises, and FetchFailed for unusable names."""
        found = tuple(sorted(self._listed() if not self._address.is_web else self._named(), key=lambda each: each.path))
        check_names(found)
        return found

    @property
    def origin(self) -> str:
        """A digest of the whole address; to be asked for when something has been listed.

        Not everything that tells two addresses apart can be shown: endpoint, account, and a query, which may be secret.
        """
        asked = _ENDPOINTS.get(self._address.protocol)
        endpoint = attrgetter(asked)(self._files).partition("?")[0] if asked else ""
        return hashlib.sha256(f"{endpoint}\0{self._address.whole}".encode()).hexdigest()

    def read(self, each: Object, start: int, stop: int) -> bytes:
        """Raises whatever the library raises."""
        if start == stop:
            return b""  # there is no way to ask for that
        data: bytes = self._files.cat_file(each.key, start=start, end=stop)
        return data

    def _listed(self) -> Iterable[Object]:
        top = self._files._strip_protocol(self._address.path)
        infos = self._found()
        for key, info in infos.items():
            if key != top:
                path = key.removeprefix(top).removeprefix("/")
                # What consoles make for an empty folder ends so.
                if path and not path.endswith("/") and not path.startswith(f"{CORNER}/"):
                    yield self._object(path, key, f"{self._address.shown}/{path}", info)
        if top in infos:
            yield self._object(self._address.name, top, self._address.shown, infos[top])
            yield from self._beside()

    def _found(self) -> dict[str, Any]:
        found = self._files.find(self._address.path, detail=True)
        if isinstance(found, list):  # adlfs, of a single file
            return {key: self._files.info(key) for key in found}
        return {key: info for key, info in found.items() if info.get("type") != "directory"}

    def _beside(self) -> Iterable[Object]:
        """The SHA256SUMS of a single file: it says more than the file, so it is not kept."""
        beside = self._address.beside(FILE)
        if self._address.name == FILE:
            return
        try:
            found = self._at(beside, FILE, is_kept=False)
        except Exception as error:
            if is_forbidden(error):
                self._warn(beside)
            elif not is_missing(error):
                raise
        else:
            yield found

    def _warn(self, sums: Address) -> None:
        """Many stores say so of what is not there, and so says a URL that is signed for one file."""
        if not self._has_warned:
            log.warning("fetch_not_verified", source=sums.shown, reason="these credentials may not read it")
        self._has_warned = True

    def _named(self) -> Iterable[Object]:
        """The web has no lists: one file, or those that a SHA256SUMS names."""
        if not self._address.is_folder:
            yield self._at(self._address, self._address.name)
            yield from self._beside()
            return
        sums = self._address.beside(FILE)
        try:
            found = self._at(sums, FILE)
        except Exception as error:
            if is_missing(error):
                raise FetchFailed(f"there is nothing at {sums.shown}: a folder of the web is what it lists") from error
            raise
        yield found
        for path in map(str, parse(self._list(found), sums.shown)):
            yield self._at(self._address.beside(path), path)

    def _list(self, sums: Object) -> bytes:
        if sums.size > MOST:
            raise FetchFailed(f"{sums.shown} has {sums.size:,} bytes: expected {MOST:,} at most")
        return self.read(sums, 0, sums.size)

    def _at(self, address: Address, path: str, is_kept: bool = True) -> Object:
        return self._object(path, address.path, address.shown, self._files.info(address.path), is_kept)

    def _object(self, path: str, key: str, shown: str, info: Mapping[str, Any], is_kept: bool = True) -> Object:
        if info.get("size") is None:
            raise FetchFailed(f"{shown} has no known size: the server must say Content-Length")
        version = next((f"{name} {info[name]}" for name in _VERSIONS if info.get(name) not in (None, "")), "")
        if "ino" in info:
            version += f" {info['ino']}"
        return Object(path, key, shown, version, int(info["size"]), is_kept)


def check_names(objects: Iterable[Object]) -> None:
    """Raises FetchFailed where an object's path would lead out of the folder, or be two things at once."""
    seen: set[str] = set()
    for each in objects:
        parts = each.path.split("/")
        if any(part in ("", ".", "..") or not part.isprintable() or "\\" in part for part in parts):
            raise FetchFailed(f"{each.shown!r} has a name that no file may have: rename the object")
        if parts[0].startswith(CORNER):
            raise FetchFailed(f"{each.shown} has a name that `onnicorn fetch` needs for itself: rename the object")
        seen.add(each.path)
    folders = {str(folder) for path in seen for folder in PurePosixPath(path).parents}
    if both := sorted(folders & seen):
        raise FetchFailed(f"{both[0]!r} is both an object and a folder of objects: rename one of them")


def _files(address: Address, options: Mapping[str, Any]) -> Any:
    if address.is_web:
        from service.fetch.web import Web  # here, since it needs an extra

        return Web(**options)
    if address.protocol == "file":
        return Local()
    # No list may be older than the question.
    always = {"skip_instance_cache": True, "use_listings_cache": False} | _ALWAYS.get(address.protocol, {})
    files = fsspec.filesystem(address.protocol, **always, **options)
    if address.protocol == "s3":
        files.retries = 1
    return files
