"""Every knob of the service, in groups: its default, its bounds, and a sentence about it.

Frozen, validated at the field, and passed on as arguments. `settings.py` reads them.
"""

import json
import math
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from service.access import KEY_PREFIX
from service.addresses import Address, RootPath

_MEBIBYTE: Final = 1 << 20


def _run_directory() -> Path:
    """Memory-backed where there is such a place: metric files and heartbeats must never wait for a disk."""
    shared_memory = Path("/dev/shm")  # noqa: S108 - we make a directory of our own in it
    return shared_memory if shared_memory.is_dir() else temporary_directory()


def temporary_directory() -> Path:
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


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _no_key(path: Path) -> Path:
    if path.name.startswith(KEY_PREFIX):
        raise ValueError(
            "expected the path of a file, got what looks like a key; who can read the environment knows it now: "
            "make another"
        )
    return path


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
    pages: bool = Field(True, description="Serve the pages for people: / to a browser, /docs and /redoc.")
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
    transforms: bool = Field(
        True, description="Run the `transform.py` of models; they are code. Without, a model that has one is refused."
    )
    watch_seconds: float = Field(
        0, ge=0, le=86400, description="How often to look for changes and reload; 0 leaves that to SIGHUP and the API."
    )


class Cache(Group):
    """Prepared models."""

    dir: Path = Field(
        Path("~/.cache/onnicorn"),
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
    custom_operators: Names = Field(
        (), description="Libraries of custom operators that models may ask for: absolute paths, separated by commas."
    )


class Batching(Group):
    """Requests that run together."""

    max_rows: int = Field(32, ge=1, le=65536, description="The most rows that run together; 1 turns batching off.")
    linger_ms: float = Field(
        0, ge=0, le=1000, description="How long a request may wait for company when nothing runs; 0 never waits."
    )


class Admission(Group):
    """What may wait, in each worker."""

    max_wait_ms: float = Field(
        2000,
        ge=1,
        le=86_400_000,
        description="A request that would wait longer for its run, as far as can be told, is refused at once.",
    )
    max_waiting: int = Field(
        10_000,
        ge=0,
        le=1_000_000,
        description="Requests that wait for one model, less urgent ones aside; 0 refuses what cannot run at once.",
    )
    max_rows: int = Field(
        1_000_000,
        ge=1,
        le=2**40,
        description="Rows that wait for one model, those of less urgent requests aside.",
    )
    max_bytes: int = Field(
        512 * _MEBIBYTE,
        ge=1 << 20,
        le=2**40,
        description="Request bodies, read or being read, all together; less where memory is short, unless it is set.",
    )
    default_timeout_ms: float = Field(
        0,
        ge=0,
        le=86_400_000,
        description="The longest timeout, and that of a request that states none; 0 sets neither.",
    )
    overload_status: Annotated[Literal[503, 429], BeforeValidator(_number)] = Field(
        503, description="The status of an answer that says `overloaded`: 503, or 429."
    )
    priority_levels: int = Field(
        0, ge=0, le=100, description="Levels of the parameter `priority`, of which 1 runs first; 0 ignores it."
    )


class Limits(Group):
    """The largest request, the slowest and the most of them."""

    header_bytes: int = Field(64 << 10, ge=1024, le=1 << 20, description="A request's line and headers together.")
    headers: int = Field(128, ge=16, le=10_000, description="The number of a request's headers.")
    header_seconds: float = Field(
        10, ge=1, le=3600, description="How long a head may take, from the connection or from its first byte."
    )
    uri_bytes: int = Field(8 << 10, ge=256, le=64 << 10, description="The request's target.")
    body_seconds: float = Field(
        10, ge=1, le=3600, description="A body that takes longer must come at limits.body_bytes_per_second."
    )
    body_bytes_per_second: int = Field(1024, ge=0, le=1 << 30, description="The slowest that a body may come then.")
    json_depth: int = Field(100, ge=8, le=500, description="How deep a JSON body may be nested.")
    tensors: int = Field(1024, ge=1, le=100_000, description="Inputs, or outputs asked for, of one request.")
    elements: int = Field(64 << 20, ge=1, le=2**40, description="Elements of one input.")
    values: int = Field(
        1 << 20,
        ge=1024,
        le=10_000_000,
        description="Values of a JSON body but for numbers of tensors, and strings of one BYTES input.",
    )
    string_bytes: int = Field(16 * _MEBIBYTE, ge=1, le=2**32, description="One element of a BYTES input, in UTF-8.")
    answer_bytes: int = Field(256 * _MEBIBYTE, ge=1024, le=2**40, description="An answer, before compression.")
    unsent_bytes: int = Field(
        512 * _MEBIBYTE,
        ge=1 << 20,
        le=2**40,
        description="Answers that clients have not taken yet, all together in a worker; beyond it, who has the most to "
        "take is cut off. Unless it is set, no more than admission.max_bytes.",
    )
    connections: int = Field(10_000, ge=1, le=1_000_000, description="Connections that one worker holds.")


class Access(Group):
    """Who may call."""

    # Not shown: it may be a key by mistake.
    keys: Annotated[Path, AfterValidator(_no_key)] | None = Field(
        None,
        repr=False,
        description="A file of API keys, made by `onnicorn key`; unset, nobody needs one. Read again on reload.",
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

    @property
    def graceful_seconds(self) -> int:
        """From SIGTERM to SIGKILL, for all workers together; a worker's own steps end a little earlier."""
        return math.ceil(self.drain_seconds + self.finish_seconds) + 5


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
