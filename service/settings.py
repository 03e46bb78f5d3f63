"""Every knob of the service, read once, frozen.

A setting `group.name` is the environment variable `ONNICORN_GROUP__NAME`. A variable that is unknown or mistyped stops
the start: a knob that silently does nothing is worse than none.
"""

import difflib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from service.addresses import Address, RootPath
from service.errors import SettingsError

PREFIX: Final = "ONNICORN_"
_MEBIBYTE: Final = 1 << 20


def _run_directory() -> Path:
    """Memory-backed where there is such a place: metric files and heartbeats must never wait for a disk."""
    shared_memory = Path("/dev/shm")  # noqa: S108 - we make a directory of our own in it
    return shared_memory if shared_memory.is_dir() else _temporary_directory()


def _cache_directory() -> Path:
    """Where the XDG base directory specification wants it; an arbitrary user in a container may have no home."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")  # noqa: PTH111, PTH118
    return (Path(home) if home.startswith("/") else _temporary_directory()) / "onnicorn"


def _temporary_directory() -> Path:
    """Also where there is none that can be written: whoever tries to then says so, in our words."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return Path("/tmp")  # noqa: S108


def _separated(value: Any) -> Any:
    """`a,b` or, as JSON, `["a", "b"]`."""
    if not isinstance(value, str):
        return value
    if value.startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


Names = Annotated[tuple[str, ...], BeforeValidator(_separated)]


class Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Http(Group):
    """The API port."""

    bind: Address = Field("127.0.0.1:8000", description="Where the API listens: HOST:PORT, [IPV6]:PORT or unix:/PATH.")
    root_path: RootPath = Field(
        "", description="The path prefix that an ingress puts before ours, whether it strips it or not."
    )
    metrics: bool = Field(True, description="Serve /metrics on the API port too.")
    admin: bool = Field(False, description="Let callers of the API port load and unload models.")
    max_body_bytes: int = Field(
        64 * _MEBIBYTE, ge=1024, le=2 << 30, description="The largest request body, before and after decompression."
    )
    compress_min_bytes: int = Field(
        1024,
        ge=0,
        description="Answers below this size are compressed only for a client that names one single coding.",
    )
    cors_origins: Names = Field(
        (), description="Origins that browsers may call from, separated by commas; * for all, none by default."
    )
    keep_alive_seconds: int = Field(
        75, ge=1, le=3600, description="How long an idle connection stays open; longer than the balancer's own limit."
    )


class Ops(Group):
    """The port for probes and metrics."""

    bind: Address = Field("127.0.0.1:8002", description="Where probes and metrics listen.")


class Repository(Group):
    """The models."""

    path: Path = Field(
        Path("models"), description="A model repository, a directory with a model.onnx, or one .onnx file."
    )
    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
        description="The name of the model where the path is one model; the file's or folder's name otherwise.",
    )
    tolerate_failures: bool = Field(
        False, description="Start, and reload, with the models that load, even when others do not."
    )
    watch_seconds: float = Field(
        0, ge=0, le=86400, description="How often to look for changes and reload; 0 leaves that to SIGHUP and the API."
    )


class Cache(Group):
    """Prepared models."""

    dir: Path = Field(
        default_factory=_cache_directory,
        description="Where prepared models are kept, on disk: 2.5 times the models' size. May be shared and read-only.",
    )
    keep_days: float = Field(7, ge=0, le=3650, description="An entry that nobody has used for so long is removed.")


class Runtime(Group):
    """Processes and threads."""

    workers: int | None = Field(None, ge=1, le=128, description="Worker processes; from the plan when unset.")
    intra_op_threads: int | None = Field(
        None, ge=1, le=256, description="Threads inside one operator, per worker; from the plan when unset."
    )
    profile: Literal["throughput", "latency"] = Field(
        "throughput", description="One worker per CPU with one thread each, or one worker with all threads."
    )
    providers: Names = Field(
        ("CPUExecutionProvider",),
        min_length=1,
        description="ONNX Runtime's execution providers, separated by commas, the preferred first.",
    )


class Batching(Group):
    """Requests that run together."""

    max_rows: int = Field(32, ge=1, le=65536, description="The most rows that run together; 1 turns batching off.")
    linger_ms: float = Field(
        0, ge=0, le=1000, description="How long a request may wait for company when nothing runs; 0 never waits."
    )


class Lifecycle(Group):
    """Health and end."""

    drain_seconds: float = Field(
        5, ge=0, le=600, description="How long all is answered after SIGTERM, while readiness says 503."
    )
    finish_seconds: float = Field(
        30, ge=0, le=3600, description="How long requests that were admitted may go on after that."
    )
    heartbeat_seconds: float = Field(
        30, ge=1, le=600, description="A worker whose event loop is silent for so long counts as dead."
    )
    run_seconds: float = Field(
        60, ge=1, le=3600, description="A run in a thread that takes so long is ended, or else its worker is replaced."
    )
    load_seconds: float = Field(
        300, ge=1, le=86400, description="How long all models together may take to be prepared, or to load in a worker."
    )
    recycle_at_memory: float = Field(
        0.9,
        ge=0,
        le=1,
        description="The share of the container's memory limit at which the largest worker is replaced; 0 for never.",
    )


class Run(Group):
    """Files of the running service."""

    dir: Path = Field(
        default_factory=_run_directory, description="Where metric files and the list of loaded models live."
    )


class Log(Group):
    """Logs."""

    format: Literal["auto", "json", "console"] = Field(
        "auto", description="json, console (for people), or auto: console on a terminal, JSON elsewhere."
    )
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level that is written.")


class _Environment(EnvSettingsSource):
    """Leaves lists to the fields themselves, so that a wrong one is reported with its variable."""

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
        return init_settings, _Environment(settings_cls)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the `ONNICORN_*` variables of the process. Raises SettingsError that names every wrong one.

        `environ` is what the names are checked against; the values come from the process's own environment.
        """
        wrong = list(_unknown(environ))
        try:
            settings = cls()
        except ValidationError as error:
            wrong += [_sentence(detail) for detail in error.errors() if detail["type"] != "extra_forbidden"]
        if wrong:
            raise SettingsError("; ".join(wrong))
        return settings._with_platform_workers(environ.get("WEB_CONCURRENCY", ""))

    def _with_platform_workers(self, workers: str) -> "Settings":
        """Gunicorn's own variable for the number of workers, which platforms set; ours goes first."""
        if self.runtime.workers is not None or not workers.isdecimal() or not int(workers):
            return self
        return self.model_copy(update={"runtime": self.runtime.model_copy(update={"workers": int(workers)})})


def variables() -> dict[str, tuple[str, str, Any]]:
    """Every variable with its group, field and the field's definition, in the order of declaration."""
    return {
        f"{PREFIX}{group}__{name}".upper(): (group, name, field)
        for group, outer in Settings.model_fields.items()
        for name, field in outer.annotation.model_fields.items()  # type: ignore[union-attr]
    }


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


def _sentence(detail: Any) -> str:
    variable = PREFIX + "__".join(str(part) for part in detail["loc"][:2]).upper()
    reason = detail["msg"].removeprefix("Value error, ")
    return f"{variable}={detail['input']}: {reason[:1].lower()}{reason[1:]}"
