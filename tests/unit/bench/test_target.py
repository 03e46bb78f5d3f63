"""The model behind a URL: how it is named, and what is said where it cannot be measured."""

import ssl
from pathlib import Path

import pytest

from service.bench.endpoint import Endpoint
from service.bench.failures import BenchFailed
from service.bench.load import closed
from service.bench.program import free_ports
from service.bench.request import post
from service.bench.target import Target
from service.tensors import Datatype, TensorSpec
from tests.process.certificates import Authority
from tests.unit.bench.peer import Answer, answer, model, serving

HERE = Endpoint("127.0.0.1", 8000)
WRONG = (answer(401, {"error": "an API key is needed"}), answer(403, {"error": "not with this key"}))


@pytest.mark.parametrize(
    ("url", "endpoint", "path", "name"),
    [
        ("http://127.0.0.1:8000/v2/models/cat", HERE, "/v2/models/cat", "cat"),
        ("http://127.0.0.1:8000/v2/models/cat/", HERE, "/v2/models/cat", "cat"),
        ("http://127.0.0.1:8000/v2/models/cat/infer", HERE, "/v2/models/cat", "cat"),
        ("http://127.0.0.1:8000/v2/models/cat/versions/3", HERE, "/v2/models/cat/versions/3", "cat/3"),
        ("http://127.0.0.1:8000/ml/v2/models/cat/versions/3/infer", HERE, "/ml/v2/models/cat/versions/3", "cat/3"),
        ("http://cats.example/v2/models/cat", Endpoint("cats.example", 80), "/v2/models/cat", "cat"),
        ("https://cats.example/v2/models/cat", Endpoint("cats.example", 443, True), "/v2/models/cat", "cat"),
        ("http://[::1]:8000/v2/models/cat", Endpoint("::1", 8000), "/v2/models/cat", "cat"),
    ],
)
def test_a_url_names_a_service_and_a_model(url: str, endpoint: Endpoint, path: str, name: str) -> None:
    target = Target.parse(url, {})
    assert (target.endpoint, target.path, target.name) == (endpoint, path, name)


def test_headers_go_with_the_one_that_names_the_host() -> None:
    target = Target.parse("http://u:p@cats.example:80/v2/models/cat", {"authorization": "Bearer x"})
    assert target.headers == {"host": "cats.example:80", "authorization": "Bearer x"}


@pytest.mark.parametrize(
    "url",
    [
        "cats",
        "cats:80",
        "ftp://127.0.0.1/v2/models/cat",
        "http:///v2/models/cat",
        "http://[cats/",
        "http://a/b c",
        "http://a/\u00e9",
    ],
)
def test_what_is_no_url_is_a_sentence(url: str) -> None:
    with pytest.raises(BenchFailed, match="expected a URL as http://"):
        Target.parse(url, {})


def test_a_port_that_cannot_be_is_a_sentence() -> None:
    with pytest.raises(BenchFailed, match="out of range"):
        Target.parse("http://127.0.0.1:123456/v2/models/cat", {})


def test_the_signature_is_the_one_of_the_metadata() -> None:
    with serving(model(lambda _: b"", x=("FP32", [-1, 4]), y=("BYTES", [2]))) as peer:
        signature = Target(peer.endpoint, "cat").signature()
    assert signature.inputs == (TensorSpec("x", Datatype.FP32, (-1, 4)), TensorSpec("y", Datatype.BYTES, (2,)))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("{0}", "the URL names no model; the service has 'cat': try {0}/v2/models/cat"),
        ("{0}/", "the URL names no model; the service has 'cat': try {0}/v2/models/cat"),
        ("{0}/v2", "the URL names no model; the service has 'cat': try {0}/v2/models/cat"),
        ("{0}/v2/models/", "the URL names no model; the service has 'cat': try {0}/v2/models/cat"),
        (
            "{0}/v2/models/owl/versions/2",
            "{0}/v2/models/owl/versions/2 is not there (404: there is no /v2/models/owl/versions/2); "
            "the service has 'cat': try {0}/v2/models/cat",
        ),
    ],
)
def test_a_model_that_is_not_named_or_not_there_is_told_with_those_that_are(url: str, sentence: str) -> None:
    with serving(model(lambda _: b"", x=("FP32", [4]))) as peer:
        here = f"http://{peer.endpoint}"
        with pytest.raises(BenchFailed) as failed:
            Target.parse(url.format(here), {}).signature()
    assert str(failed.value) == sentence.format(here)


@pytest.mark.parametrize(
    ("answered", "sentence"),
    [
        (WRONG[0], "was answered with 401: an API key is needed; give a key that may infer and read metadata with "),
        (WRONG[1], "was answered with 403: not with this key; give a key that may infer and read metadata with "),
        (answer(503, {"error": "the service is ending"}), "was answered with 503: the service is ending"),
        (answer(200, {"hello": "world"}), "does not answer as the Open Inference Protocol's model metadata"),
        (answer(200, "hello"), "does not answer as the Open Inference Protocol's model metadata"),
        (b"SSH-2.0-hello\r\n\r\n", "does not answer as HTTP"),
        (b"", "does not answer as HTTP"),
    ],
)
def test_another_answer_is_a_sentence(answered: bytes, sentence: str) -> None:
    def always(_: object) -> bytes:
        return answered

    with serving(always) as peer, pytest.raises(BenchFailed) as failed:
        Target(peer.endpoint, "cat").signature()
    assert sentence in str(failed.value)


def test_nobody_there_is_a_sentence() -> None:
    (port,) = free_ports(1)
    with pytest.raises(BenchFailed) as failed:
        Target(Endpoint("127.0.0.1", port), "cat").signature()
    assert str(failed.value) == (
        f"nothing answers at 127.0.0.1:{port}: Connection refused; is the service there, and running? "
        "`onnicorn serve` starts one"
    )


def test_a_name_that_cannot_be_is_a_sentence() -> None:
    with pytest.raises(BenchFailed, match=r"^cats\.\.example:80 is no address: "):
        Target.parse("http://cats..example/v2/models/cat", {}).signature()


def cats() -> Answer:
    return model(lambda _: answer(200), x=("FP32", [4]))


def test_tls_is_spoken_where_the_certificate_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path / "tls", "trusted")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("server"))
    with serving(cats(), context) as peer:
        target = Target(peer.endpoint, "cat")
        with pytest.raises(BenchFailed, match=r"TLS fails: .*; SSL_CERT_FILE names a file"):
            target.signature()
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        assert [spec.name for spec in target.signature().inputs] == ["x"]
        load = closed(peer.endpoint, [post("/v2/models/cat/infer", b"{}")], concurrency=2, seconds=0.1)
    assert load.statuses == {200: load.requests}
