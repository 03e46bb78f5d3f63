"""Every knob of the service, read once, frozen.

A setting `group.name` is the environment variable `ONNICORN_GROUP__NAME`. A variable that is unknown or mistyped stops
the start: a knob that silently does nothing is worse than none.
"""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from service.errors import SettingsError
from service.knobs import (
    Access,
    Admission,
    Batching,
    Cache,
    Http,
    Lifecycle,
    Limits,
    Log,
    Ops,
    Repository,
    Run,
    Runtime,
    temporary_directory,
)

PREFIX: Final = "ONNICORN_"
PLATFORM_WORKERS: Final = "WEB_CONCURRENCY"
"""Gunicorn's own variable, which platforms set."""


class _Environment(EnvSettingsSource):
    """The variables that are settings: what looks like one and is none has a sentence of its own, see `_unknown`.

    Lists are left to the fields themselves, so that a wrong one is reported with its variable.
    """

    def __call__(self) -> dict[str, Any]:
        known = {(group, name) for group, name, _ in variables().values()}
        return {
            group: {name: value for name, value in given.items() if (group, name) in known}
            for group, given in super().__call__().items()
            if isinstance(given, dict)
        }

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        return value


class Settings(BaseSettings):
    """All of it. Build it with `Settings.from_environment`; tests may pass groups as keywords."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__")

    http: Http = Http()
    ops: Ops = Ops()
    repository: Repository = Repository()
    cache: Cache = Cache()
    runtime: Runtime = Runtime()
    batching: Batching = Batching()
    admission: Admission = Admission()
    limits: Limits = Limits()
    access: Access = Access()
    lifecycle: Lifecycle = Lifecycle()
    run: Run = Run()
    log: Log = Log()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment and keywords only: a stray .env file or secrets folder must not change a service."""
        home = InitSettingsSource(settings_cls, {"cache": {"dir": _cache_directory(os.environ)}})
        return init_settings, _Environment(settings_cls), home

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], repository: Path | None = None) -> "Settings":
        """Read the `ONNICORN_*` variables of the process. Raises SettingsError that names every wrong one.

        `environ` is what the names are checked against; the values come from the process's own environment.
        `repository` is in place of the variable's, where somebody has given it otherwise.
        """
        settings, wrong = cls.as_far_as_valid(environ, repository)
        if wrong:
            raise SettingsError("; ".join(wrong))
        return settings

    @classmethod
    def as_far_as_valid(
        cls, environ: Mapping[str, str], repository: Path | None = None
    ) -> "tuple[Settings, list[str]]":
        """The same with the default in place of each wrong value, and a sentence about each."""
        wrong = list(_unknown(environ))
        given: dict[str, Any] = {"repository": {"path": repository}} if repository else {}
        try:
            settings = cls(**given)
        except ValidationError as error:
            wrong += map(_sentence, error.errors())
            for group, defaults in _defaults(error.errors()).items():
                given[group] = defaults | given.get(group, {})
            settings = cls(**given)
        try:
            return settings._with_platform_workers(environ.get(PLATFORM_WORKERS, "")), wrong
        except SettingsError as error:
            return settings, [*wrong, str(error)]

    def _with_platform_workers(self, workers: str) -> "Settings":
        """Gunicorn's own variable for them, which platforms set; ours goes first. Raises SettingsError."""
        if self.runtime.workers is not None or not workers.isdecimal() or not workers.strip("0"):
            return self
        try:
            wanted = Runtime.model_validate({"workers": workers}).workers
        except ValidationError as error:
            raise SettingsError(f"{PLATFORM_WORKERS}={workers}: {_reason(error.errors()[0])}") from None
        return self.model_copy(update={"runtime": self.runtime.model_copy(update={"workers": wanted})})


def _cache_directory(environ: Mapping[str, str]) -> Path:
    """Where the XDG base directory specification wants it; an arbitrary user in a container may have no home."""
    home = environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")  # noqa: PTH111, PTH118
    return (Path(home) if home.startswith("/") else temporary_directory()) / "onnicorn"


def variables() -> dict[str, tuple[str, str, Any]]:
    """Every variable with its group, field and the field's definition, in the order of declaration."""
    return {
        f"{PREFIX}{group}__{name}".upper(): (group, name, field)
        for group, outer in Settings.model_fields.items()
        for name, field in outer.annotation.model_fields.items()  # type: ignore[union-attr]
    }


def default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True, validated_data={})


def bounds(field: FieldInfo) -> tuple[Any, Any]:
    """The least and the greatest value, None where there is no such bound."""
    found = {name: getattr(part, name) for part in field.metadata for name in ("ge", "le") if hasattr(part, name)}
    return found.get("ge"), found.get("le")


def choices(field: FieldInfo) -> tuple[str, ...]:
    """What is to be chosen from, where it is."""
    if field.annotation is bool:
        return "true", "false"
    return tuple(map(str, get_args(field.annotation))) if get_origin(field.annotation) is Literal else ()


# Kubernetes gives every container such variables for each Service; one called `onnicorn` must not break the start.
_SERVICE_LINK: Final = re.compile(
    r"ONNICORN(_[A-Z0-9]+)*_(SERVICE_HOST=.*|SERVICE_PORT(_[A-Z0-9_]+)?=\d+|PORT=\w+://.*|PORT_\d+_[A-Z]+(_[A-Z]+)?=.*)"
)
# Where tests and benchmarks look for large models: theirs, not the service's.
_OTHERS: Final = frozenset({"ONNICORN_TEST_MODELS"})


def _unknown(environ: Mapping[str, str]) -> Iterable[str]:
    known = variables()
    for name in sorted(environ):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in known or upper in _OTHERS:
            continue
        if "__" not in upper and _SERVICE_LINK.fullmatch(f"{upper}={environ[name]}"):
            continue
        nearest = difflib.get_close_matches(upper, known, n=1, cutoff=0)[0]
        yield f"{name} is not a setting; the nearest is {nearest}"


def _defaults(details: Iterable[Any]) -> dict[str, Any]:
    """Those of the fields that are complained about."""
    defaults: dict[str, dict[str, Any]] = {}
    wrong = {tuple(detail["loc"][:2]) for detail in details}
    for group, name, field in variables().values():
        if (group, name) in wrong:
            defaults.setdefault(group, {})[name] = default(field)
    return defaults


def _sentence(detail: Any) -> str:
    variable = PREFIX + "__".join(str(part) for part in detail["loc"][:2]).upper()
    given = "" if detail["loc"][0] == "access" else f"={detail['input']}"  # it may be a key by mistake
    return f"{variable}{given}: {_reason(detail)}"


def _reason(detail: Any) -> str:
    reason: str = detail["msg"].removeprefix("Value error, ")
    return f"{reason[:1].lower()}{reason[1:]}"
