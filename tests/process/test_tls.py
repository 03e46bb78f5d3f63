"""TLS by Gunicorn's own settings: the API port speaks it, keeps connections, asks for certificates and drains."""

import shlex
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.process.certificates import Authority
from tests.process.conftest import Service, StartService, connect, exit_code, running
from tests.process.double import BODY, INFER, TWOS, serve_double
from tests.process.test_drain import assert_last_answer, is_draining
from tests.process.wire import Wire, request, wire

REQUIRED = str(int(ssl.CERT_REQUIRED))
LIVE = request("GET", "/v2/health/live", None, "Connection: close")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom both sides trust."""
    return Authority(tmp_path_factory.mktemp("tls") / "trusted", "trusted")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom nobody trusts."""
    return Authority(tmp_path_factory.mktemp("tls") / "stranger", "stranger")


def arguments(authority: Authority, *more: str) -> dict[str, str]:
    """What a service is started with that speaks TLS."""
    certificate, key = authority.sign("server")
    return {"GUNICORN_CMD_ARGS": shlex.join(("--certfile", str(certificate), "--keyfile", str(key), *more))}


@pytest.fixture(scope="module")
def service(start_service: StartService, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A service that speaks TLS and asks nobody for a certificate."""
    return start_service(serve_double(tmp_path_factory.mktemp("double")), **arguments(authority))


@pytest.fixture(scope="module")
def mutual(start_service: StartService, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A service that answers only clients whose certificate the authority has signed."""
    more = ("--ca-certs", str(authority.certificate), "--cert-reqs", REQUIRED)
    return start_service(serve_double(tmp_path_factory.mktemp("double")), **arguments(authority, *more))


@contextmanager
def secure(service: Service, context: ssl.SSLContext) -> Iterator[Wire]:
    """One connection over TLS."""
    with (
        closing(context.wrap_socket(connect(service.api), server_hostname="localhost")) as connection,
        connection.makefile("rwb") as stream,
    ):
        yield Wire(stream)


def assert_doubles(connection: Wire) -> None:
    connection.send(request("POST", INFER, BODY))
    answer = connection.answer()
    assert (answer.status_code, answer.json()["outputs"][0]["data"]) == (200, TWOS)


def test_requests_are_answered_and_the_connection_is_kept(service: Service, authority: Authority) -> None:
    with secure(service, authority.context()) as connection:
        for _ in range(3):
            assert_doubles(connection)
        connection.send(request("POST", INFER, BODY) * 3)
        assert [connection.answer().status_code for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_that_are_in_use_are_spoken(
    version: ssl.TLSVersion, service: Service, authority: Authority
) -> None:
    context = authority.context()
    context.minimum_version = context.maximum_version = version
    with secure(service, context) as connection:
        assert_doubles(connection)


def test_a_body_of_many_tls_records_arrives_whole(service: Service, authority: Authority) -> None:
    rows = 20_000
    values = b",".join([b"1"] * 4 * rows)
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[%d,4],"data":[%b]}]}' % (rows, values)
    with secure(service, authority.context()) as connection:
        connection.send(request("POST", INFER, body))
        answer = connection.answer()
        assert (answer.status_code, set(answer.json()["outputs"][0]["data"])) == (200, {2.0})
        assert_doubles(connection)


def test_probes_and_scrapes_stay_plain(service: Service) -> None:
    assert service.probe("/readyz").status_code == 200


@pytest.mark.parametrize(
    "sent",
    [LIVE, b"", b"\x16\x03\x01", b"\x16\x03\x01\x00\x05hello", bytes(1000)],
    ids=["HTTP", "nothing", "half a record", "no handshake", "zeros"],
)
def test_what_is_no_tls_gets_no_answer_and_does_no_harm(sent: bytes, service: Service, authority: Authority) -> None:
    with closing(connect(service.api)) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert b"HTTP" not in read_to_the_end(connection)
    with secure(service, authority.context()) as secured:
        assert_doubles(secured)
    assert [record for record in service.records() if record["level"] in ("error", "critical")] == []


def read_to_the_end(connection: socket.socket) -> bytes:
    """A reset ends it as well."""
    with connection.makefile("rb") as stream:
        try:
            return stream.read()
        except ConnectionResetError:
            return b""


def test_a_client_that_trusts_somebody_else_leaves(service: Service, authority: Authority, stranger: Authority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError), secure(service, stranger.context()):
        pytest.fail("it has trusted the service")
    with secure(service, authority.context()) as connection:
        assert_doubles(connection)


def test_a_client_with_a_certificate_is_answered(mutual: Service, authority: Authority) -> None:
    with secure(mutual, authority.context(*authority.sign("client"))) as connection:
        assert_doubles(connection)
        assert_doubles(connection)
    assert said_to(mutual, authority.context(*authority.sign("another"))).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("shown", ["none", "a stranger's"])
def test_a_client_without_one_that_is_trusted_is_refused(
    version: ssl.TLSVersion, shown: str, mutual: Service, authority: Authority, stranger: Authority
) -> None:
    context = authority.context(*(stranger.sign("client") if shown != "none" else ()))
    context.minimum_version = context.maximum_version = version
    assert said_to(mutual, context) == b""
    assert mutual.probe("/readyz").status_code == 200


def said_to(service: Service, context: ssl.SSLContext) -> bytes:
    """All that the service answers. With TLS 1.3 a client is done with the handshake before it can be refused."""
    try:
        with secure(service, context) as connection:
            connection.send(LIVE)
            return connection.rest()
    except (ssl.SSLError, ConnectionError):
        return b""


def test_the_drain_answers_who_is_connected_and_ends_each_connection_in_order(
    authority: Authority, tmp_path: Path
) -> None:
    context = authority.context()
    whole = request("POST", INFER, BODY)
    environment = arguments(authority) | {"ONNICORN_LIFECYCLE__DRAIN_SECONDS": "2"}
    with (
        running(serve_double(tmp_path), tmp_path, **environment) as service,
        secure(service, context) as idle,
        secure(service, context) as half,
    ):
        assert_doubles(idle)
        half.send(whole[:30])
        service.process.terminate()
        service.wait_until(lambda: is_draining(service), "draining")
        with secure(service, context) as new:
            for connection, rest in ((idle, whole), (half, whole[30:]), (new, whole)):
                connection.send(rest)
                assert_last_answer(connection)
        assert exit_code(service) == 0


def test_who_is_silent_on_tls_or_has_not_begun_with_it_does_not_hold_up_the_end(
    authority: Authority, tmp_path: Path
) -> None:
    with (
        running(serve_double(tmp_path), tmp_path, **arguments(authority)) as service,
        secure(service, authority.context()) as silent,
        wire(service.api) as mute,
    ):
        assert_doubles(silent)
        service.process.terminate()
        assert silent.rest() == b""
        assert mute.rest() == b""
        assert exit_code(service) == 0
