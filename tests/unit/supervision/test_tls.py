"""The certificate that Gunicorn is given, made by the openssl command."""

import shutil
import subprocess
from pathlib import Path

import pytest
from gunicorn.config import Config

from service.supervision import tls
from service.supervision.tls import CertificateUnusable


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate, its key, the same key encrypted, and another key."""
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("there is no openssl command here")
    folder = tmp_path_factory.mktemp("tls")
    elliptic = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost", "-days", "1")
    for command in (
        ("req", "-x509", "-nodes", *elliptic, "-keyout", "key.pem", "-out", "certificate.pem"),
        ("req", "-x509", "-nodes", *elliptic, "-keyout", "another.pem", "-out", "unused.pem"),
        ("ec", "-aes128", "-passout", "pass:secret", "-in", "key.pem", "-out", "encrypted.pem"),
    ):
        subprocess.run([openssl, *command], cwd=folder, check=True, capture_output=True)
    return folder


def configuration(folder: Path, **options: str) -> Config:
    cfg = Config()
    for option, name in options.items():
        cfg.set(option, str(folder / name))
    return cfg


def test_without_tls_nothing_is_looked_at(tmp_path: Path) -> None:
    tls.check(configuration(tmp_path))


def test_a_certificate_with_its_key_is_fine(made: Path) -> None:
    tls.check(configuration(made, certfile="certificate.pem", keyfile="key.pem", ca_certs="certificate.pem"))


@pytest.mark.parametrize(
    "options",
    [
        {"keyfile": "another.pem"},
        {"keyfile": "encrypted.pem"},
        {"keyfile": "certificate.pem"},
        {},
        {"keyfile": "key.pem", "ca_certs": "key.pem"},
    ],
    ids=["another's key", "an encrypted key", "no key", "no key at all", "no authority"],
)
def test_files_that_do_not_fit_are_refused_and_named(made: Path, options: dict[str, str]) -> None:
    with pytest.raises(CertificateUnusable) as refused:
        tls.check(configuration(made, certfile="certificate.pem", **options))
    assert [name for name in options.values() if str(made / name) not in str(refused.value)] == []
    assert "PEM" in str(refused.value)
