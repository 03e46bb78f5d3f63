"""Every knob: its default, its variable, and what is said of a wrong one."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.errors import SettingsError
from service.knobs import Group
from service.settings import Settings, variables

HOME = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"

DEFAULTS: dict[str, dict[str, Any]] = {
    "http": {
        "bind": "127.0.0.1:8000",
        "root_path": "",
        "metrics": True,
        "pages": True,
        "admin": False,
        "max_body_bytes": 67_108_864,
        "compress_min_bytes": 1024,
        "cors_origins": (),
        "keep_alive_seconds": 75,
    },
    "ops": {"bind": "127.0.0.1:8002"},
    "repository": {
        "path": Path("models"),
        "name": None,
        "tolerate_failures": False,
        "transforms": True,
        "watch_seconds": 0,
    },
    "cache": {"dir": Path(HOME, "onnicorn"), "keep_days": 7},
    "runtime": {
        "workers": None,
        "intra_op_threads": None,
        "profile": "throughput",
        "providers": ("CPUExecutionProvider",),
        "custom_operators": (),
    },
    "batching": {"max_rows": 32, "linger_ms": 0},
    "admission": {
        "max_wait_ms": 2000,
        "max_waiting": 10_000,
        "max_rows": 1_000_000,
        "max_bytes": 512 << 20,
        "default_timeout_ms": 0,
        "overload_status": 503,
        "priority_levels": 0,
    },
    "limits": {
        "header_bytes": 64 << 10,
        "headers": 128,
        "header_seconds": 10,
        "uri_bytes": 8 << 10,
        "body_seconds": 10,
        "body_bytes_per_second": 1024,
        "json_depth": 100,
        "tensors": 1024,
        "elements": 64 << 20,
        "values": 1 << 20,
        "string_bytes": 16 << 20,
        "answer_bytes": 256 << 20,
        "unsent_bytes": 512 << 20,
        "connections": 10_000,
    },
    "access": {"keys": None},
    "lifecycle": {
        "drain_seconds": 5,
        "finish_seconds": 30,
        "heartbeat_seconds": 30,
        "run_seconds": 60,
        "load_seconds": 300,
        "recycle_at_memory": 0.9,
    },
    "run": {"dir": Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())},
    "log": {"format": "auto", "level": "info"},
}
# Another value than the default for each variable, as text and as what it becomes.
OTHERS: dict[str, tuple[str, Any]] = {
    "ONNICORN_HTTP__BIND": ("0.0.0.0:80", "0.0.0.0:80"),
    "ONNICORN_HTTP__ROOT_PATH": ("/models/v1", "/models/v1"),
    "ONNICORN_HTTP__METRICS": ("off", False),
    "ONNICORN_HTTP__PAGES": ("off", False),
    "ONNICORN_HTTP__ADMIN": ("1", True),
    "ONNICORN_HTTP__MAX_BODY_BYTES": ("1024", 1024),
    "ONNICORN_HTTP__COMPRESS_MIN_BYTES": ("0", 0),
    "ONNICORN_HTTP__CORS_ORIGINS": ("https://a.example, https://b.example", ("https://a.example", "https://b.example")),
    "ONNICORN_HTTP__KEEP_ALIVE_SECONDS": ("1", 1),
    "ONNICORN_OPS__BIND": ("[::1]:9", "[::1]:9"),
    "ONNICORN_REPOSITORY__PATH": ("/srv/models", Path("/srv/models")),
    "ONNICORN_REPOSITORY__NAME": ("cat-1.0_b", "cat-1.0_b"),
    "ONNICORN_REPOSITORY__TOLERATE_FAILURES": ("true", True),
    "ONNICORN_REPOSITORY__TRANSFORMS": ("false", False),
    "ONNICORN_REPOSITORY__WATCH_SECONDS": ("2.5", 2.5),
    "ONNICORN_CACHE__DIR": ("/var/cache/onnicorn", Path("/var/cache/onnicorn")),
    "ONNICORN_CACHE__KEEP_DAYS": ("0.5", 0.5),
    "ONNICORN_RUNTIME__WORKERS": ("128", 128),
    "ONNICORN_RUNTIME__INTRA_OP_THREADS": ("256", 256),
    "ONNICORN_RUNTIME__PROFILE": ("latency", "latency"),
    "ONNICORN_RUNTIME__PROVIDERS": ('["A", "B"]', ("A", "B")),
    "ONNICORN_RUNTIME__CUSTOM_OPERATORS": ("/opt/a.so,/opt/b.so", ("/opt/a.so", "/opt/b.so")),
    "ONNICORN_BATCHING__MAX_ROWS": ("1", 1),
    "ONNICORN_BATCHING__LINGER_MS": ("0.5", 0.5),
    "ONNICORN_ADMISSION__MAX_WAIT_MS": ("20", 20),
    "ONNICORN_ADMISSION__MAX_WAITING": ("0", 0),
    "ONNICORN_ADMISSION__MAX_ROWS": ("64", 64),
    "ONNICORN_ADMISSION__MAX_BYTES": ("1048576", 1 << 20),
    "ONNICORN_ADMISSION__DEFAULT_TIMEOUT_MS": ("1500", 1500),
    "ONNICORN_ADMISSION__OVERLOAD_STATUS": ("429", 429),
    "ONNICORN_ADMISSION__PRIORITY_LEVELS": ("3", 3),
    "ONNICORN_LIMITS__HEADER_BYTES": ("8192", 8192),
    "ONNICORN_LIMITS__HEADERS": ("64", 64),
    "ONNICORN_LIMITS__HEADER_SECONDS": ("2", 2),
    "ONNICORN_LIMITS__URI_BYTES": ("1024", 1024),
    "ONNICORN_LIMITS__BODY_SECONDS": ("2", 2),
    "ONNICORN_LIMITS__BODY_BYTES_PER_SECOND": ("0", 0),
    "ONNICORN_LIMITS__JSON_DEPTH": ("16", 16),
    "ONNICORN_LIMITS__TENSORS": ("8", 8),
    "ONNICORN_LIMITS__ELEMENTS": ("1000", 1000),
    "ONNICORN_LIMITS__VALUES": ("5000", 5000),
    "ONNICORN_LIMITS__STRING_BYTES": ("100", 100),
    "ONNICORN_LIMITS__ANSWER_BYTES": ("100000", 100_000),
    "ONNICORN_LIMITS__UNSENT_BYTES": ("2097152", 2 << 20),
    "ONNICORN_LIMITS__CONNECTIONS": ("50", 50),
    "ONNICORN_ACCESS__KEYS": ("/etc/keys", Path("/etc/keys")),
    "ONNICORN_LIFECYCLE__DRAIN_SECONDS": ("0", 0.0),
    "ONNICORN_LIFECYCLE__FINISH_SECONDS": ("3600", 3600.0),
    "ONNICORN_LIFECYCLE__HEARTBEAT_SECONDS": ("600", 600.0),
    "ONNICORN_LIFECYCLE__RUN_SECONDS": ("3600", 3600.0),
    "ONNICORN_LIFECYCLE__LOAD_SECONDS": ("2", 2),
    "ONNICORN_LIFECYCLE__RECYCLE_AT_MEMORY": ("0", 0.0),
    "ONNICORN_RUN__DIR": ("/run/onnicorn", Path("/run/onnicorn")),
    "ONNICORN_LOG__FORMAT": ("console", "console"),
    "ONNICORN_LOG__LEVEL": ("debug", "debug"),
}


def read(monkeypatch: pytest.MonkeyPatch, **environ: str) -> Settings:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return Settings.from_environment(os.environ)


def refusal(monkeypatch: pytest.MonkeyPatch, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(monkeypatch, **environ)
    return str(caught.value)


def test_an_empty_environment_gives_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch).model_dump() == DEFAULTS


def test_the_variables_are_known() -> None:
    assert list(variables()) == list(OTHERS)


@pytest.mark.parametrize("variable", OTHERS)
def test_a_variable_changes_its_setting_and_no_other(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    group, name, _ = variables()[variable]
    text, value = OTHERS[variable]
    changed = {**DEFAULTS, group: {**DEFAULTS[group], name: value}}
    assert read(monkeypatch, **{variable: text}).model_dump() == changed


@pytest.mark.parametrize("variable", OTHERS)
def test_a_setting_is_described_in_a_sentence(variable: str) -> None:
    description = variables()[variable][2].description
    assert description[0].isupper() or description.startswith("json,")
    assert description.endswith(".")


def test_a_variable_may_be_written_small(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, onnicorn_log__level="error").log.level == "error"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", ("a",)),
        ("a,b", ("a", "b")),
        (" a , b,", ("a", "b")),
        ('["a,b"]', ("a,b",)),
        (",", ()),
        ("[]", ()),
        ("", ()),
    ],
)
def test_a_list_is_written_with_commas_or_as_json(
    text: str, value: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read(monkeypatch, ONNICORN_HTTP__CORS_ORIGINS=text).http.cors_origins == value


@pytest.mark.parametrize("variable", ["ONNICORN_RUNTIME__PROVIDERS", "ONNICORN_HTTP__CORS_ORIGINS"])
def test_a_list_that_is_no_json_is_named_with_its_variable(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(monkeypatch, **{variable: '["a"'}).startswith(f'{variable}=["a": ')


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:8000", "0.0.0.0:0", "localhost:65535", "my-host.example:80", "[::]:8000", "[fe80::1]:1",
        "unix:/run/onnicorn.sock",
    ],
)  # fmt: skip
@pytest.mark.parametrize("variable", ["ONNICORN_HTTP__BIND", "ONNICORN_OPS__BIND"])
def test_an_address_is_taken_as_it_is(variable: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    group, name, _ = variables()[variable]
    assert read(monkeypatch, **{variable: address}).model_dump()[group][name] == address


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("8000", "expected HOST:PORT, [IPV6]:PORT or unix:/PATH"),
        (":8000", "expected HOST:PORT, [IPV6]:PORT or unix:/PATH"),
        ("localhost", "expected HOST:PORT, [IPV6]:PORT or unix:/PATH"),
        ("localhost:", "expected HOST:PORT, [IPV6]:PORT or unix:/PATH"),
        ("localhost:http", "expected HOST:PORT, [IPV6]:PORT or unix:/PATH"),
        ("localhost:-1", "expected HOST:PORT, [IPV6]:PORT or unix:/PATH"),
        ("localhost:65536", "expected HOST:PORT, [IPV6]:PORT or unix:/PATH"),
        ("unix:relative.sock", "expected HOST:PORT, [IPV6]:PORT or unix:/PATH"),
        ("", "expected HOST:PORT, [IPV6]:PORT or unix:/PATH"),
        ("::1:8000", "expected an IPv6 address in brackets: [::1]:8000"),
        ("[::1:8000", "expected an IPv6 address in brackets: [[::1]:8000"),
        ("[[::1]]:8000", "only hex digits permitted in '[' in '[::1]'"),
        ("[cat]:8000", "at least 3 parts expected in 'cat'"),
    ],
)
def test_what_is_no_address_is_refused(address: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(monkeypatch, ONNICORN_OPS__BIND=address) == f"ONNICORN_OPS__BIND={address}: {reason}"


@pytest.mark.parametrize("path", ["models", "/models/", "/", "/a//b", "/a b", "/a?b"])
def test_a_root_path_begins_and_does_not_end_with_a_slash(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(monkeypatch, ONNICORN_HTTP__ROOT_PATH=path) == (
        f"ONNICORN_HTTP__ROOT_PATH={path}: expected a path such as /models, without a slash at its end"
    )


@pytest.mark.parametrize(
    ("variable", "text", "reason"),
    [
        ("ONNICORN_HTTP__METRICS", "perhaps", "input should be a valid boolean, unable to interpret input"),
        ("ONNICORN_HTTP__MAX_BODY_BYTES", "1023", "input should be greater than or equal to 1024"),
        ("ONNICORN_HTTP__MAX_BODY_BYTES", "2147483649", "input should be less than or equal to 2147483648"),
        ("ONNICORN_HTTP__COMPRESS_MIN_BYTES", "-1", "input should be greater than or equal to 0"),
        ("ONNICORN_HTTP__KEEP_ALIVE_SECONDS", "0", "input should be greater than or equal to 1"),
        ("ONNICORN_REPOSITORY__NAME", "a/b", "string should match pattern '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$'"),
        ("ONNICORN_RUNTIME__WORKERS", "0", "input should be greater than or equal to 1"),
        ("ONNICORN_RUNTIME__WORKERS", "129", "input should be less than or equal to 128"),
        ("ONNICORN_RUNTIME__WORKERS", "", "input should be a valid integer, unable to parse string as an integer"),
        ("ONNICORN_RUNTIME__PROVIDERS", "[]", "tuple should have at least 1 item after validation, not 0"),
        ("ONNICORN_RUNTIME__PROFILE", "fast", "input should be 'throughput' or 'latency'"),
        ("ONNICORN_LIFECYCLE__HEARTBEAT_SECONDS", "601", "input should be less than or equal to 600"),
        ("ONNICORN_LIFECYCLE__HEARTBEAT_SECONDS", "0.9", "input should be greater than or equal to 1"),
        ("ONNICORN_LIFECYCLE__RUN_SECONDS", "3601", "input should be less than or equal to 3600"),
        ("ONNICORN_LIFECYCLE__RUN_SECONDS", "0.9", "input should be greater than or equal to 1"),
        ("ONNICORN_LOG__LEVEL", "loud", "input should be 'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(
    variable: str, text: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal(monkeypatch, **{variable: text}) == f"{variable}={text}: {reason}"


SECRET = "onk_aSecretInTheWrongPlace"


@pytest.mark.parametrize("value", [SECRET, f"/etc/{SECRET}"])
def test_a_key_in_place_of_its_file_is_not_repeated(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(monkeypatch, ONNICORN_ACCESS__KEYS=value)
    assert said.startswith("ONNICORN_ACCESS__KEYS: expected the path of a file, got what looks like a key; ")
    assert SECRET not in said


def test_a_key_in_place_of_the_whole_group_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(monkeypatch, ONNICORN_ACCESS=SECRET)
    assert "ONNICORN_ACCESS is not a setting; the nearest is ONNICORN_ACCESS__KEYS" in said
    assert SECRET not in said


def test_where_the_keys_are_is_not_shown_for_it_may_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, ONNICORN_ACCESS__KEYS="/somewhere/else")
    assert settings.access.keys == Path("/somewhere/else")
    assert "else" not in f"{settings!r} {settings} {settings.access!r} {settings.access}"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ONNICORN_HTTP__BNID", "ONNICORN_HTTP__BIND"),
        ("ONNICORN_HTTP_BIND", "ONNICORN_HTTP__BIND"),
        ("onnicorn_worker", "ONNICORN_RUNTIME__WORKERS"),
        ("ONNICORN_LOG__LEVEL__X", "ONNICORN_LOG__LEVEL"),
        ("ONNICORN_OPS", "ONNICORN_OPS__BIND"),
    ],
)
def test_an_unknown_variable_is_named_with_the_nearest(
    name: str, nearest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal(monkeypatch, **{name: "{}"}).startswith(f"{name} is not a setting; the nearest is {nearest}")


def test_what_is_right_holds_beside_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"HTTP__BIND": "8000", "OPS__BIND": "[::1]:9", "HTTP__BOND": "1", "LOG": "x", "RUNTIME__PROVIDERS": ""}
    for name, value in environ.items():
        monkeypatch.setenv(f"ONNICORN_{name}", value)
    settings, wrong = Settings.as_far_as_valid(os.environ)
    assert (settings.http.bind, settings.ops.bind) == ("127.0.0.1:8000", "[::1]:9")
    assert settings.runtime.providers == ("CPUExecutionProvider",)
    assert [sentence.split("=")[0].split(" ")[0] for sentence in wrong] == [
        "ONNICORN_HTTP__BOND",
        "ONNICORN_LOG",
        "ONNICORN_HTTP__BIND",
        "ONNICORN_RUNTIME__PROVIDERS",
    ]


def test_a_repository_that_is_given_goes_before_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNICORN_REPOSITORY__PATH", "/models")
    monkeypatch.setenv("ONNICORN_REPOSITORY__NAME", "cat")
    repository = Settings.from_environment(os.environ, Path("/others")).repository
    assert (repository.path, repository.name) == (Path("/others"), "cat")


def test_everything_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"ONNICORN_HTTP__BNID": "x", "ONNICORN_OPS__BIND": "x", "ONNICORN_ZZZ": "", "ONNICORN_LOG__LEVEL": "x"}
    assert refusal(monkeypatch, **wrong).split("; ") == [
        "ONNICORN_HTTP__BNID is not a setting",
        "the nearest is ONNICORN_HTTP__BIND",
        "ONNICORN_ZZZ is not a setting",
        "the nearest is ONNICORN_RUN__DIR",
        "ONNICORN_OPS__BIND=x: expected HOST:PORT, [IPV6]:PORT or unix:/PATH",
        "ONNICORN_LOG__LEVEL=x: input should be 'debug', 'info', 'warning' or 'error'",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ONNICORN_PORT", "tcp://10.0.0.1:8000"),
        ("ONNICORN_SERVICE_HOST", "10.0.0.1"),
        ("ONNICORN_SERVICE_PORT", "8000"),
        ("ONNICORN_SERVICE_PORT_HTTP_API", "8000"),
        ("ONNICORN_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
        ("ONNICORN_PORT_8000_TCP_PROTO", "tcp"),
        ("ONNICORN_PORT_8000_TCP_PORT", "8000"),
        ("ONNICORN_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("ONNICORN_PORT_53_UDP", "udp://10.0.0.1:53"),
        ("ONNICORN_HTTP_PORT", "tcp://10.0.0.1:8000"),
        ("ONNICORN_OPS_2_SERVICE_HOST", "10.0.0.1"),
        ("ONNICORN_TEST_MODELS", "/srv/models"),
        ("UNICORN_HTTP__BIND", "x"),
    ],
)
def test_variables_of_others_are_left_alone(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, **{name: value}).model_dump() == DEFAULTS


@pytest.mark.parametrize("name", ["ONNICORN_PORT", "ONNICORN_HTTP_PORT", "ONNICORN_OPS_PORT"])
def test_a_port_that_is_no_service_link_is_an_unknown_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes would write tcp://10.0.0.1:9000."""
    assert refusal(monkeypatch, **{name: "9000"}).startswith(f"{name} is not a setting; the nearest is ONNICORN_")


@pytest.mark.parametrize(
    ("platform", "ours", "workers"),
    [
        ("3", None, 3),
        ("128", None, 128),
        ("3", "2", 2),
        ("1000", "2", 2),
        ("0", None, None),
        ("00", None, None),
        ("many", None, None),
        ("", None, None),
    ],
)
def test_a_platforms_number_of_workers_counts_where_ours_is_not_set(
    platform: str, ours: str | None, workers: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"ONNICORN_RUNTIME__WORKERS": ours} if ours else {}
    assert read(monkeypatch, WEB_CONCURRENCY=platform, **own).runtime.workers == workers


@pytest.mark.parametrize("platform", ["129", "1000", "1" * 9999])
def test_a_platforms_number_of_workers_has_the_bounds_of_ours(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = refusal(monkeypatch, ONNICORN_RUNTIME__WORKERS=platform)
    monkeypatch.delenv("ONNICORN_RUNTIME__WORKERS")
    assert refusal(monkeypatch, WEB_CONCURRENCY=platform) == ours.replace(
        "ONNICORN_RUNTIME__WORKERS", "WEB_CONCURRENCY"
    )


@pytest.mark.parametrize(
    ("home", "cache_home", "place"),
    [
        ("/home/cat", "/var/cache", "/var/cache/onnicorn"),
        ("/home/cat", "", "/home/cat/.cache/onnicorn"),
        ("nowhere", "", f"{tempfile.gettempdir()}/onnicorn"),
        ("/home/cat", "relative", f"{tempfile.gettempdir()}/onnicorn"),
    ],
)
def test_prepared_models_are_kept_where_the_system_keeps_such_things(
    home: str, cache_home: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("XDG_CACHE_HOME", cache_home)
    assert Settings().cache.dir == Path(place)


def test_a_file_of_variables_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("ONNICORN_LOG__LEVEL=debug\n")
    monkeypatch.chdir(tmp_path)
    assert read(monkeypatch).model_dump() == DEFAULTS


@pytest.mark.parametrize("group", [None, *DEFAULTS])
def test_settings_are_frozen(group: str | None) -> None:
    settings = Settings()
    frozen: Settings | Group = getattr(settings, group) if group else settings
    with pytest.raises(ValidationError, match="frozen"):
        setattr(frozen, next(iter(type(frozen).model_fields)), None)


@pytest.mark.parametrize("groups", [{"htttp": {}}, {"http": {"bnid": "localhost:1"}}])
def test_a_keyword_that_is_no_setting_is_refused(groups: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Settings(**groups)


def test_a_system_without_any_place_for_files_can_still_be_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a read-only container without a home; the cache is then found to be unusable, with a warning."""

    def nowhere() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    monkeypatch.setenv("HOME", "nowhere")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert Settings().cache.dir == Path("/tmp/onnicorn")
