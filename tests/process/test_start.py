"""What keeps the service from starting, and what does not."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import tiny
from tests.oip import assert_problem
from tests.process.conftest import exit_code, free_addresses, launched, running
from tests.process.double import ONES, TWOS, doubled, golden_file, golden_sample, serve_double
from tests.process.test_signals import gated, verdict

BOOT = "Booting worker"
"""What Gunicorn logs for each worker that it forks."""

Case = Callable[[Path, str], tuple[dict[str, str], list[str]]]
"""`case(folder, taken)` returns a wrong environment and what the message must mention. Somebody listens at `taken`."""


def a_missing_repository(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    path = str(folder / "nowhere")
    return {"ONNICORN_REPOSITORY__PATH": path}, [path, "does not exist", "ONNICORN_REPOSITORY__PATH"]


def a_broken_model(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    file = folder / "models" / "broken" / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no model at all")
    return {}, ["'broken'", str(file), "export it again"]


def a_golden_sample_that_fails(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    file = golden_file(folder / "models")
    file.write_text(golden_sample(2, 2, 2, 3))
    return {}, ["'double'", str(file), "'y'", "differs by up to 1", "tolerance"]


def an_unknown_provider(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    return {"ONNICORN_RUNTIME__PROVIDERS": "AbacusExecutionProvider"}, [
        "AbacusExecutionProvider",
        "CPUExecutionProvider",
        "ONNICORN_RUNTIME__PROVIDERS",
    ]


def an_api_port_in_use(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    return {"ONNICORN_HTTP__BIND": taken}, [taken, "in use", "ONNICORN_HTTP__BIND"]


def an_ops_port_in_use(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    return {"ONNICORN_OPS__BIND": taken}, [taken, "in use", "ONNICORN_OPS__BIND"]


def one_port_for_both(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    address, _ = free_addresses()
    both = {"ONNICORN_HTTP__BIND": address, "ONNICORN_OPS__BIND": address}
    return both, [address, "in use", "ONNICORN_OPS__BIND"]


def a_mistyped_variable(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    return {"ONNICORN_RUNTIME__WORKER": "2"}, ["ONNICORN_RUNTIME__WORKER ", "ONNICORN_RUNTIME__WORKERS"]


def a_bad_value(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    return {"ONNICORN_RUNTIME__WORKERS": "many"}, ["ONNICORN_RUNTIME__WORKERS=many", "integer"]


def a_value_out_of_bounds(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    return {"ONNICORN_RUNTIME__WORKERS": "0"}, ["ONNICORN_RUNTIME__WORKERS=0", "greater than or equal to 1"]


def a_command_line_that_contradicts(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    return {"GUNICORN_CMD_ARGS": "--workers 7"}, ["workers", "7", "2", "GUNICORN_CMD_ARGS", "ONNICORN_*"]


def a_user_who_may_not_read_the_services_files(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    return {"GUNICORN_CMD_ARGS": f"--user {os.geteuid() + 1}"}, ["user", "start the service as"]


def a_run_directory_that_is_not_there(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    path = str(folder / "nowhere")
    return {"ONNICORN_RUN__DIR": path}, [path, "ONNICORN_RUN__DIR", "writable"]


def a_run_directory_that_cannot_be_written(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    """Not by permission bits, which mean nothing to root."""
    return {"ONNICORN_RUN__DIR": "/proc"}, ["/proc", "ONNICORN_RUN__DIR", "writable"]


def a_certificate_that_is_not_there(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    path = str(folder / "nowhere.pem")
    return {"GUNICORN_CMD_ARGS": f"--certfile {path}"}, ["--certfile", path, "No such file"]


def a_key_that_cannot_be_read(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    """A directory: permission bits mean nothing to root."""
    certificate = folder / "certificate.pem"
    certificate.touch()
    return {"GUNICORN_CMD_ARGS": f"--certfile {certificate} --keyfile {folder}"}, [
        "--keyfile",
        str(folder),
        "directory",
    ]


def a_certificate_that_is_none(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    certificate = folder / "certificate.pem"
    certificate.write_text("no certificate at all")
    return {"GUNICORN_CMD_ARGS": f"--certfile {certificate}"}, [f"--certfile {certificate}", "key", "PEM"]


def a_key_without_a_certificate(folder: Path, taken: str) -> tuple[dict[str, str], list[str]]:
    return {"GUNICORN_CMD_ARGS": "--keyfile key.pem"}, ["--keyfile key.pem", "--certfile"]


BAD_STARTS: list[Case] = [
    a_missing_repository,
    a_broken_model,
    a_golden_sample_that_fails,
    an_unknown_provider,
    an_api_port_in_use,
    an_ops_port_in_use,
    one_port_for_both,
    a_mistyped_variable,
    a_bad_value,
    a_value_out_of_bounds,
    a_command_line_that_contradicts,
    a_user_who_may_not_read_the_services_files,
    a_run_directory_that_is_not_there,
    a_run_directory_that_cannot_be_written,
    a_certificate_that_is_not_there,
    a_key_that_cannot_be_read,
    a_certificate_that_is_none,
    a_key_without_a_certificate,
]


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield f"127.0.0.1:{other.getsockname()[1]}"


@pytest.mark.parametrize("case", BAD_STARTS, ids=lambda case: case.__name__.replace("_", " "))
def test_a_bad_start_ends_by_itself_with_one_line_that_says_what_to_change(
    case: Case, taken: str, tmp_path: Path
) -> None:
    repository = serve_double(tmp_path)
    environment, mentioned = case(tmp_path, taken)
    with launched(repository, tmp_path, **environment) as service:
        code = exit_code(service)
        left = service.alive()
    critical = [record for record in service.records() if record["level"] == "critical"]
    assert code > 0
    assert len(critical) == 1, service.printed()
    assert [words for words in mentioned if words not in critical[0]["reason"]] == [], critical
    assert service.stderr.read_text() == ""
    assert [words for words in ("Traceback", BOOT) if words in service.printed()] == []
    assert left == []
    assert list(service.run.iterdir()) == []


def test_a_good_start_logs_nothing_critical_and_boots_each_worker(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path) as service:
        assert doubled(service) == TWOS
    assert [record for record in service.records() if record["level"] not in ("debug", "info")] == []
    assert service.printed().count(BOOT) == 2


def test_a_failure_that_is_tolerated_leaves_out_one_model_and_says_why(tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    a_broken_model(tmp_path, "")
    with running(repository, tmp_path, ONNICORN_REPOSITORY__TOLERATE_FAILURES="true") as service:
        index = service.post("/v2/repository/index", {}).json()
        broken = service.post("/v2/models/broken/infer", ONES)
        ready = service.get("/v2/models/broken/ready")
        assert doubled(service) == TWOS
        assert service.probe("/readyz").status_code == 200
    reason = index[0]["reason"]
    assert index == [
        {"name": "broken", "version": "1", "state": "UNAVAILABLE", "reason": reason},
        {"name": "double", "version": "1", "state": "READY", "reason": ""},
    ]
    assert "is not an ONNX model" in reason
    assert_problem(broken, 503, "model_not_ready", "broken")
    assert broken.headers["Retry-After"].isdecimal()
    assert ready.status_code == 503
    refused = [record for record in service.records() if record["event"] == "model_refused"]
    assert [(record["level"], record["model"], record["reason"]) for record in refused] == [
        ("warning", "broken", reason)
    ]


def test_an_empty_repository_starts_and_is_never_ready(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with running(tmp_path / "models", tmp_path) as service:
        answers = {path: service.probe(path) for path in ("/startupz", "/livez", "/readyz")}
        health = {path: service.get(f"/v2/health/{path}") for path in ("live", "ready")}
        models = service.get("/v2/models").json()
    assert {path: answer.status_code for path, answer in answers.items()} == {
        "/startupz": 200,
        "/livez": 200,
        "/readyz": 503,
    }
    assert {path: answer.status_code for path, answer in health.items()} == {"live": 200, "ready": 503}
    reasons = ["the repository has no model"]
    assert (answers["/readyz"].json()["ready"], answers["/readyz"].json()["reasons"]) == (False, reasons)
    assert health["ready"].json() == {"ready": False, "generation": 1, "reasons": reasons}
    assert models == {"models": []}


def test_the_variables_of_a_kubernetes_service_of_our_name_do_no_harm(tmp_path: Path) -> None:
    injected = {
        "ONNICORN_SERVICE_HOST": "10.0.0.11",
        "ONNICORN_SERVICE_PORT": "80",
        "ONNICORN_SERVICE_PORT_HTTP": "80",
        "ONNICORN_PORT": "tcp://10.0.0.11:80",
        "ONNICORN_PORT_80_TCP": "tcp://10.0.0.11:80",
        "ONNICORN_PORT_80_TCP_PROTO": "tcp",
        "ONNICORN_PORT_80_TCP_PORT": "80",
        "ONNICORN_PORT_80_TCP_ADDR": "10.0.0.11",
        "ONNICORN_OPS_PORT_8002_TCP_ADDR": "10.0.0.12",
    }
    with running(serve_double(tmp_path), tmp_path, **injected) as service:
        assert doubled(service) == TWOS


@pytest.mark.parametrize(
    ("by_platform", "by_hand"), [("1", None), ("3", "1")], ids=["alone", "but a setting by hand wins"]
)
def test_the_platform_may_say_how_many_workers_there_are(by_platform: str, by_hand: str | None, tmp_path: Path) -> None:
    environment = {"WEB_CONCURRENCY": by_platform, "ONNICORN_RUNTIME__WORKERS": by_hand}
    with running(serve_double(tmp_path), tmp_path, **environment) as service:
        assert list(service.workers()) == [0]


def a_single_file(folder: Path) -> Path:
    return tiny.write(tiny.double(), folder, "anything").rename(folder / "double.onnx")


def a_flat_directory(folder: Path) -> Path:
    """As KServe mounts it."""
    tiny.write(tiny.double(), folder, "anything").rename(folder / "model.onnx")
    return folder


@pytest.mark.parametrize(
    ("lay", "name", "expected"),
    [(a_single_file, None, "double"), (a_flat_directory, "renamed", "renamed")],
    ids=["a single file", "a flat directory with a name"],
)
def test_one_model_alone_is_a_repository(
    lay: Callable[[Path], Path], name: str | None, expected: str, tmp_path: Path
) -> None:
    repository = lay(tmp_path / "mounted")
    with running(repository, tmp_path, ONNICORN_REPOSITORY__NAME=name) as service:
        assert service.get("/v2/models").json() == {"models": [expected]}
        assert doubled(service, expected) == TWOS


def test_unix_sockets_can_be_bound_even_over_one_that_a_killed_service_left_behind(tmp_path: Path) -> None:
    api, ops = tmp_path / "api.sock", tmp_path / "ops.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(api))
    environment = {"ONNICORN_HTTP__BIND": f"unix:{api}", "ONNICORN_OPS__BIND": f"unix:{ops}"}
    with running(serve_double(tmp_path), tmp_path, **environment) as service:
        assert doubled(service) == TWOS
        assert service.probe("/readyz").status_code == 200
    assert not api.exists()


def test_ipv6_addresses_can_be_bound(tmp_path: Path) -> None:
    try:
        api, ops = free_addresses("::1")
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    environment = {"ONNICORN_HTTP__BIND": api, "ONNICORN_OPS__BIND": ops}
    with running(serve_double(tmp_path), tmp_path, **environment) as service:
        assert doubled(service) == TWOS
        assert service.probe("/readyz").status_code == 200


def test_a_root_path_is_served_whether_the_proxy_strips_it_or_not(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path, ONNICORN_HTTP__ROOT_PATH="/team/models") as service:
        assert doubled(service, prefix="/team/models") == TWOS
        assert doubled(service) == TWOS
        assert service.get("/team/models/openapi.json").json()["servers"][0]["url"] == "/team/models"
        assert_problem(service.get("/team/v2"), 404, "not_found", "/team/v2")
    routes = {record["route"] for record in service.requests() if record["method"] == "POST"}
    assert routes == {"/v2/models/{model_name}/infer"}


def test_a_service_cannot_be_made_a_daemon(tmp_path: Path) -> None:
    """Its run directory is named by the parent that has ended, so that the next start on the host removes it."""
    with launched(serve_double(tmp_path), tmp_path, GUNICORN_CMD_ARGS="--daemon") as service:
        code = exit_code(service)
        critical = [record for record in service.records() if record["level"] == "critical"]
        assert (code > 0, len(critical), service.alive()) == (True, 1, []), service.printed()
        assert "daemon" in critical[0]["reason"]


def test_two_containers_of_one_pod_keep_apart_in_its_shared_memory(tmp_path: Path) -> None:
    """Each master is process 1 of its own container, and /dev/shm belongs to the pod."""
    contained = ("unshare", "--pid", "--fork", "--mount-proc")
    if not shutil.which("unshare") or subprocess.run([*contained, "true"], capture_output=True).returncode:
        pytest.skip("process namespaces cannot be made here")
    repository, run = serve_double(tmp_path), tmp_path / "run"
    run.mkdir()
    with launched(repository, tmp_path / "one", *contained, ONNICORN_RUN__DIR=str(run)) as one:
        one.wait_until(one.is_started, "started")
        (directory,) = run.iterdir()
        with launched(repository, tmp_path / "other", *contained, ONNICORN_RUN__DIR=str(run)) as other:
            other.wait_until(other.is_started, "started")
            assert directory.exists()


def test_a_worker_whose_model_file_has_changed_does_not_take_the_service_with_it(tmp_path: Path) -> None:
    """A successor serves what was checked and prepared, whatever has become of the file meanwhile."""
    repository = serve_double(tmp_path)
    with running(repository, tmp_path) as service:
        (repository / "double" / "1" / "model.onnx").write_bytes(b"half a copy")
        killed = service.workers()[0]
        os.kill(killed, signal.SIGKILL)
        service.wait_until(lambda: service.workers().get(0, killed) != killed, "served by a successor")
        assert [doubled(service) for _ in range(8)] == [TWOS] * 8


def test_a_sample_that_has_changed_since_the_preparation_stops_no_worker(tmp_path: Path) -> None:
    """What was checked is what is served; the next reload looks at the new sample."""
    with gated(tmp_path) as (service, gate):
        with gate.holding_one(service):
            pass
        service.wait_until(lambda: "0 of 1" in str(verdict(service, "/startupz")), "past the preparation")
        with gate.holding_one(service, golden_sample(2, 2, 2, 3)):
            pass
        service.wait_until(service.is_started, "started")
        assert doubled(service) == TWOS
        (warning,) = [record for record in service.records() if record["event"] == "golden_changed"]
    assert (warning["model"], warning["version"], warning["checked"], warning["left"]) == ("double", 1, 1, 0)
