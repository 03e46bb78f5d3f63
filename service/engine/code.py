"""The code of a model's transform: where it lies, and how it becomes an object.

What was checked is what runs: the manifest carries the very text of a `transform.py`, so that a worker which is started
anew compiles that, whatever has happened to the file. Code of an installed package is one for the whole process, as
libraries of custom operators are: a process that has imported another one than was checked refuses it.
"""

import os
import re
import sys
import weakref
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any, Final, TypeGuard

from service.engine import snapshot
from service.engine.checksums import FILE as SUMS
from service.engine.declaration import FILE as DECLARATION
from service.engine.foreign import foreign, one_line
from service.engine.manifest import Code, Entry, combined, file_digest
from service.engine.sources import Sources
from service.engine.transform import Loaded
from service.errors import RepositoryError
from service.tensors import Signature

FILE: Final = "transform.py"
_MOST: Final = 1 << 20
# Of the modules that files become.
_PREFIX: Final = "transform_of_"
# The class that is meant where a file has several.
_PREFERRED: Final = "Transform"
# What files have become, by name, as long as it lives: of a model that is loaded anew beside itself there are two, the
# later one last.
_LIVING: Final[dict[str, list[ModuleType]]] = {}
# What each module of a package was when this process imported it: as Python's own table, one for the whole process.
_IMPORTED: Final[dict[str, str]] = {}


def find(
    folder: Path | None, declared: str | None, sources: Sources, others: Collection[Path], is_allowed: bool
) -> Code | None:
    """The code of the model whose `model.toml` lies in `folder`; None where it has none. Raises RepositoryError.

    `others` may lie there too and are accounted for already: the model's own files.
    """
    if folder is None:
        return None
    _refuse_elsewhere(folder, others)
    sources.check_listed(FILE)
    file = folder / FILE
    if declared is None and not os.path.lexists(file):
        return None
    if not is_allowed:
        raise RepositoryError(
            f"{file if declared is None else declared} is code, which ONNICORN_REPOSITORY__TRANSFORMS=false forbids: "
            "allow it if you trust whoever fills the repository, or take it out of the model's folder"
        )
    beside = tuple((each, sources.digest(each)) for each in _beside(folder, others))
    if declared is not None:
        return Code(folder=folder, target=declared, digest=file_digest(_origin(declared)), files=beside)
    return Code(folder=folder, target=FILE, digest=sources.digest(file), source=_text(file, sources), files=beside)


def load(entry: Entry, signature: Signature) -> Loaded | None:
    """The transform of a version, made anew; None where it has none. Raises RepositoryError."""
    code = entry.transform
    if code is None:
        return None
    folder = snapshot.folder_of(entry, code)
    module = _imported(code) if ":" in code.target else _executed(code, _module_name(entry, code))
    try:
        owner = _class_in(code, module)
        with foreign(lambda error: RepositoryError(f"{owner.__name__} of the transform: {blame(code, error)}")):
            loaded = Loaded(entry.name, entry.version, signature, _made(code, owner, folder))
    except RepositoryError:
        _forget(module)
        raise
    # Until then: Pydantic, pickle, and others, look there for what a name means.
    weakref.finalize(loaded, _forget, module)
    return loaded


def blame(code: Code, error: BaseException) -> str:
    """What went wrong, and in which line of the transform; for whoever has written it."""
    file = str(code.folder / FILE)
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == file]
    return one_line(error) + (f" (line {lines[-1]} of {FILE})" if lines else "")


def _beside(folder: Path, others: Collection[Path]) -> list[Path]:
    """What a transform may read: the files that lie in its folder itself. Raises RepositoryError for an odd name."""
    ours = {folder / name for name in (FILE, SUMS, DECLARATION)}
    beside = [
        file
        for file in sorted(folder.iterdir())
        if file.is_file() and file not in ours and file not in others and not file.name.startswith(".")
    ]
    for file in beside:
        if "\n" in file.name or not _is_utf8(file.name):
            raise RepositoryError(f"{file}: expected a name in UTF-8, without line breaks: rename the file")
    return beside


def _is_utf8(name: str) -> bool:
    """Python has surrogates in place of bytes that are not."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _text(file: Path, sources: Sources) -> str:
    try:
        return sources.read(file, _MOST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RepositoryError(f"{file} is no UTF-8: {error}") from None


def _origin(target: str) -> Path:
    """The file of an installed module. Its package is imported for that."""
    name = target.partition(":")[0]
    with foreign(
        lambda error: RepositoryError(f"transform in model.toml: {name} cannot be imported: {one_line(error)}")
    ):
        spec = find_spec(name)
    if spec is None or not spec.has_location or spec.origin is None:
        raise RepositoryError(
            f"transform in model.toml: there is no module {name}: install it beside the service, or put a {FILE} there"
        )
    return Path(spec.origin)


def _imported(code: Code) -> ModuleType:
    name = code.target.partition(":")[0]
    digest = _IMPORTED.get(name) or file_digest(_origin(code.target))
    if digest != code.digest:
        raise RepositoryError(
            f"module {name} is not the one that the model was checked with: restart the service, or roll it out anew"
        )
    with foreign(lambda error: RepositoryError(f"{name} cannot be imported: {one_line(error)}")):
        module = import_module(name)
    _IMPORTED[name] = digest
    return module


def _module_name(entry: Entry, code: Code) -> str:
    """The same in all workers, and another where anything is; Python could import it."""
    facts = [entry.name, str(entry.version), code.digest, *(digest for _, digest in code.files)]
    return f"{_PREFIX}{re.sub('[^A-Za-z0-9]', '_', entry.name)}_{combined(facts)[:12]}"


def _executed(code: Code, name: str) -> ModuleType:
    file = code.folder / FILE
    module = ModuleType(name)
    module.__file__ = str(file)
    _LIVING.setdefault(name, []).append(module)
    sys.modules[name] = module
    try:
        with foreign(lambda error: RepositoryError(f"{file} cannot be run: {blame(code, error)}")):
            exec(compile(code.source, str(file), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - its purpose
    except RepositoryError:
        _forget(module)
        raise
    return module


def _forget(module: ModuleType) -> None:
    """What was made of a file goes with its model, and leaves its name to another that lives.

    What was imported stays for all.
    """
    name = module.__name__
    living = _LIVING.get(name, [])
    if module not in living:
        return
    living.remove(module)
    if living:
        sys.modules[name] = living[-1]
    else:
        _LIVING.pop(name, None)
        sys.modules.pop(name, None)


def _class_in(code: Code, module: ModuleType) -> type:
    """The one that is declared; of a file's own the only one, or the one that has the preferred name."""
    _, _, declared = code.target.partition(":")
    if declared:
        owners = [getattr(module, declared, None)]
    else:
        owners = [each for each in vars(module).values() if getattr(each, "__module__", "") == module.__name__]
    found = {each.__name__: each for each in owners if _is_transform(each)}
    if len(found) == 1 or _PREFERRED in found:
        return found.get(_PREFERRED) or next(iter(found.values()))
    where = code.target if declared else code.folder / FILE
    if found:
        raise RepositoryError(
            f"{where} has several transforms, {', '.join(found)}: call the one that is meant Transform"
        )
    wrong = "is no class" if declared else "has no class"
    raise RepositoryError(f"{where} {wrong} with `before` and `after`: the docstring of {Loaded.__module__} shows one")


def _is_transform(owner: object) -> TypeGuard[type]:
    return isinstance(owner, type) and all(callable(getattr(owner, name, None)) for name in ("before", "after"))


def _made(code: Code, owner: type, folder: Path) -> Any:
    what = f"{owner.__name__}({str(folder)!r}) of the transform"
    with foreign(lambda error: RepositoryError(f"{what}: {blame(code, error)}")):
        takes_folder = owner.__init__ is not object.__init__  # type: ignore[misc]
        with _no_byte_code():
            return owner(folder) if takes_folder else owner()


@contextmanager
def _no_byte_code() -> Iterator[None]:
    """What a transform imports from its folder leaves nothing there, also where nothing stands in its way."""
    earlier, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = earlier


def _refuse_elsewhere(folder: Path, others: Collection[Path]) -> None:
    """Nobody would read it there. Raises RepositoryError."""
    for place in sorted({file.parent for file in others} - {folder}):
        if os.path.lexists(place / FILE):
            raise RepositoryError(
                f"{place / FILE} would not be read: all versions of a model have one transform; move it to {folder}"
            )
