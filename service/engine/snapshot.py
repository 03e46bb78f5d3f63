"""What a transform may read besides its code, kept in the cache as it was when it was checked.

A worker that is started anew reads these copies, whatever has become of the files beside `model.toml`. They lie under
the digests of all of them, so they are shared by whoever has the same, and pruned as prepared models are. Without a
usable cache the files themselves are read, if they are still what was checked.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Final

import structlog

from service.engine.cache import FILES, Cache, CacheUnusable
from service.engine.manifest import Code, Entry, file_digest
from service.engine.places import Stamp, open_regular
from service.errors import RepositoryError

log = structlog.get_logger()

# Raise it when what is written here changes its meaning.
_FORMAT: Final = 1


def snapshot(entry: Entry, store: Cache) -> Path | None:
    """The folder with the copies, made if the cache has none; None where there is no code, or, with a warning, no room.

    Raises RepositoryError for a file that is not what was checked any more.
    """
    code = entry.transform
    if code is None:
        return None
    key = _key_of(code)
    if found := store.find(key, FILES):
        return found
    try:
        with store.draft(key, sum(Stamp.of(file).size for file, _ in code.files)) as draft:
            _copy(code, draft / FILES)
    except CacheUnusable as error:
        cost = "a worker that is started anew is refused once a file beside model.toml has changed"
        log.warning("not_kept", model=entry.name, version=entry.version, reason=str(error), cost=cost)
        return None
    return store.find(key, FILES)


def folder_of(entry: Entry, code: Code) -> Path:
    """Where all that was checked lies. Raises RepositoryError where that is nowhere."""
    if entry.snapshot:
        try:
            _check(code, entry.snapshot)
        except RepositoryError as error:
            log.warning("snapshot_lost", model=entry.name, version=entry.version, reason=str(error))
        else:
            return entry.snapshot
    _check(code, code.folder)
    return code.folder


def _key_of(code: Code) -> str:
    facts = {"format": _FORMAT, "files": {file.name: digest for file, digest in code.files}}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _copy(code: Code, folder: Path) -> None:
    folder.mkdir()
    for file, _ in code.files:
        with open_regular(file) as source, (folder / file.name).open("wb") as target:
            shutil.copyfileobj(source, target)
    _check(code, folder)


def _check(code: Code, folder: Path) -> None:
    for file, digest in code.files:
        if file_digest(folder / file.name) != digest:
            raise RepositoryError(f"{file} has changed since it was checked; restart the service to check it again")
