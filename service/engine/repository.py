"""A directory of models: which versions lie in it, and which of them are wanted.

    <repository>/<name>/model.toml             optional
    <repository>/<name>/<version>/model.onnx   version: a positive integer
    <repository>/<name>/<version>/golden/      optional

A single .onnx file, or a directory with a model.onnx in it (KServe's mount), is a repository of one model, version 1.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from service.engine.declaration import FILE as DECLARATION_FILE
from service.engine.declaration import Declaration
from service.engine.places import Root, unreadable
from service.engine.sources import Sources
from service.errors import RepositoryError
from service.quoting import printable

log = structlog.get_logger()

MODEL_FILE: Final = "model.onnx"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# Under /v2/models/ these would be paths of our own.
_RESERVED: Final = frozenset({"stats"})
# Folders that lie in a repository without being models, and in a model's directory without being versions.
_NOT_MODELS: Final = frozenset({"__pycache__", "lost+found"})
_NOT_VERSIONS: Final = frozenset({"golden", "__pycache__"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that is wanted and not loaded yet. `golden` is None or a directory that may not exist.

    `folder` is where its `model.toml` lies, or would lie; None where the repository is one file. None of its files may
    lie outside of `root`.
    """

    name: str
    version: int
    file: Path
    golden: Path | None
    declaration: Declaration
    root: Root
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A model, or one version of it, that is left out, and why."""

    name: str
    version: int | None
    reason: str

    def __post_init__(self) -> None:
        """A file's name may be no UTF-8, or several lines; what is written about it must not be."""
        for field in ("name", "reason"):
            object.__setattr__(self, field, printable(getattr(self, field)))


def scan(path: Path, name: str | None = None) -> list[Candidate | Refusal]:
    """Every wanted version below `path`, sorted by name and version; what is unusable comes as a Refusal.

    `name` names the model where `path` is a single one. Raises RepositoryError where `path` is no repository.
    """
    path = path.absolute()
    if path.is_file():
        return [Candidate(_model_name(name or path.stem), 1, path, None, Declaration(), Root.of_file(path))]
    if not path.is_dir():
        raise RepositoryError(
            f"the model repository {path} does not exist: set ONNICORN_REPOSITORY__PATH to a directory of models, "
            "a directory with a model.onnx, or one .onnx file"
        )
    root = Root(path)
    try:
        if (path / MODEL_FILE).exists():
            return [_candidate(_model_name(name or path.name), 1, path, _declaration(path, root), root, path)]
        if any((folder / MODEL_FILE).is_file() for folder in _version_folders(path).values()):
            return list(_model(path, name or path.name, root))
        return [found for folder in _model_folders(path) for found in _model(folder, folder.name, root)]
    except OSError as error:
        raise unreadable(path, error) from None


def _model_folders(path: Path) -> list[Path]:
    """Hidden folders are no models: Kubernetes keeps `..data` beside what it mounts."""
    folders = [folder for folder in sorted(path.iterdir()) if folder.is_dir()]
    for file in path.glob("*.onnx"):
        log.warning("file_ignored", file=str(file), reason=f"expected {path}/<name>/<version>/{MODEL_FILE}")
    return [folder for folder in folders if not folder.name.startswith(".") and folder.name not in _NOT_MODELS]


def _model(folder: Path, name: str, root: Root) -> Iterator[Candidate | Refusal]:
    """The wanted versions of one model."""
    try:
        name = _model_name(name)
        root.check(folder)
        declaration = _declaration(folder, root)
        if (folder / "config.pbtxt").exists():
            log.info(
                "file_ignored",
                file=str(folder / "config.pbtxt"),
                reason="model.toml declares what is needed; `onnicorn check` compares",
            )
        wanted = _wanted(folder, declaration)
    except RepositoryError as error:
        yield Refusal(name, None, str(error))
        return
    except OSError as error:
        yield Refusal(name, None, str(unreadable(folder, error)))
        return
    for version, place in wanted.items():
        try:
            yield _candidate(name, version, place, declaration, root, folder)
        except RepositoryError as error:
            yield Refusal(name, version, str(error))


def _candidate(name: str, version: int, place: Path, declaration: Declaration, root: Root, folder: Path) -> Candidate:
    root.check(place)
    file = _model_file(place)
    root.check(file)
    return Candidate(name, version, file, place / "golden", declaration, root, folder)


def _declaration(folder: Path, root: Root) -> Declaration:
    """What the folder's `model.toml` declares; one that a SHA256SUMS lists must be there."""
    sources = Sources(folder, root)
    sources.check_listed(DECLARATION_FILE)
    return Declaration.read(folder, sources.read)


def _wanted(folder: Path, declaration: Declaration) -> dict[int, Path]:
    """The folders of the versions that `model.toml` asks for. Raises RepositoryError for one that is not there."""
    found = _version_folders(folder, warn=True)
    if not found:
        hint = f"; move {MODEL_FILE} there" if (folder / MODEL_FILE).is_file() else ""
        raise RepositoryError(f"{folder} has no version folder: expected {folder}/1/{MODEL_FILE}{hint}")
    if declaration.versions == "all":
        wanted = sorted(found)
    elif declaration.versions == "latest":
        wanted = [max(found)]
    else:
        wanted = sorted(declaration.versions)
    if declaration.default_version and declaration.default_version not in wanted:
        raise RepositoryError(
            f"{folder}/model.toml: default_version {declaration.default_version} is not among the versions "
            f"that are served: {', '.join(map(str, wanted))}"
        )
    if missing := [str(version) for version in wanted if version not in found]:
        raise RepositoryError(
            f"{folder}/model.toml asks for versions {', '.join(missing)}, which are not there: "
            f"found {', '.join(map(str, sorted(found)))}"
        )
    return {version: found[version] for version in wanted}


def _version_folders(folder: Path, warn: bool = False) -> dict[int, Path]:
    """Folders whose name is a positive integer, as it is usually written."""
    versions = {}
    for place in sorted(folder.iterdir()):
        if not place.is_dir() or place.name.startswith(".") or place.name in _NOT_VERSIONS:
            continue
        if re.fullmatch(r"[1-9][0-9]{0,17}", place.name):
            versions[int(place.name)] = place
        elif warn:
            log.warning("folder_ignored", folder=str(place), reason="a version is a positive integer, such as 1")
    return versions


def _model_file(place: Path) -> Path:
    file = place / MODEL_FILE
    if file.is_file():
        return file
    if file.exists():
        raise RepositoryError(f"{file} is not a regular file: copy the model there")
    others = ", ".join(sorted(other.name for other in place.glob("*.onnx")))
    hint = f"rename {others}" if others else "copy the model there"
    raise RepositoryError(f"{file} does not exist: {hint}")


def _model_name(name: str) -> str:
    if _NAME.fullmatch(name) and name not in _RESERVED:
        return name
    raise RepositoryError(
        f"{name!r} cannot be a model's name: expected letters, digits, '.', '_' and '-', and not 'stats'; "
        "rename the folder or file, or set ONNICORN_REPOSITORY__NAME for a single model"
    )
