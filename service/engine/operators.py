"""Libraries of custom operators: which of them a model may have loaded.

A library is code. Whoever fills the repository may ask for what the operator of the service has allowed, by its path,
and bring none along.
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import onnxruntime as ort

from service.engine.declaration import SessionOptions
from service.engine.manifest import file_digest
from service.errors import RepositoryError

# What each library was when this process loaded it last: as the system's loader itself, one for the whole process.
_LOADED: Final[dict[Path, str]] = {}
_dlclose = ctypes.CDLL(None).dlclose
_dlclose.argtypes = (ctypes.c_void_p,)


def libraries(options: SessionOptions, allowed: Iterable[str]) -> list[Path]:
    """The real paths of those that a model asks for. Raises RepositoryError for one that is not allowed."""
    real = {os.path.realpath(library) for library in allowed}
    return [_allowed(library, real) for library in options.custom_operators]


def digests(options: SessionOptions, allowed: Iterable[str]) -> tuple[str, ...]:
    """Theirs: with another library it is another model. Raises RepositoryError."""
    return tuple(file_digest(library) for library in libraries(options, allowed))


def register(options: ort.SessionOptions, paths: Iterable[Path]) -> None:
    """Loads them. Raises RepositoryError for one that is no such library, or another than this process has in use."""
    for library in paths:
        digest = file_digest(library)
        if _LOADED.get(library, digest) != digest and _is_in_use(library):
            raise RepositoryError(
                f"{library} has changed, and what it was before is still in use in this process: restart the service, "
                "or roll it out anew"
            )
        try:
            options.register_custom_ops_library(str(library))
        # The binding has no common root for its errors below Exception.
        except Exception as error:
            reason = " ".join(str(error).split())
            raise RepositoryError(f"{library} cannot be loaded as a library of custom operators: {reason}") from error
        _LOADED[library] = digest


def _is_in_use(library: Path) -> bool:
    """Asks the system's loader, which knows libraries by their paths, whatever lies there now."""
    try:
        found = ctypes.CDLL(str(library), os.RTLD_LAZY | os.RTLD_NOLOAD)
    except OSError:
        return False
    _dlclose(found._handle)
    return True


def _allowed(library: str, real: set[str]) -> Path:
    if library.startswith("/") and "\0" not in library and os.path.realpath(library) in real:
        return Path(os.path.realpath(library))
    raise RepositoryError(
        f"model.toml asks for the custom operators in {library!r}, which are not among those that may be loaded: "
        f"{', '.join(sorted(real)) or 'there are none'}; if you trust the library, add its absolute path to "
        "ONNICORN_RUNTIME__CUSTOM_OPERATORS"
    )
