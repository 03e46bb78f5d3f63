"""The certificate that Gunicorn was given: each worker would fail on a wrong one by itself, with a traceback."""

import ssl
from pathlib import Path
from typing import Any, Final

from uvicorn.config import create_ssl_context

from service.errors import StartError

_FILES: Final = {"certfile": "--certfile", "keyfile": "--keyfile", "ca_certs": "--ca-certs"}
# Opens nothing. Without one OpenSSL would ask for an encrypted key's password at the terminal.
_NO_PASSWORD: Final = "none"  # noqa: S105


class CertificateUnusable(StartError):
    """TLS was asked for, but not with files that make it possible."""

    code = "certificate_unusable"


def check(cfg: Any) -> None:
    """`cfg` is Gunicorn's configuration. Raises CertificateUnusable, which names the options."""
    if not cfg.is_ssl:
        return
    given = {option: getattr(cfg, name) for name, option in _FILES.items() if getattr(cfg, name)}
    if not cfg.certfile:
        raise CertificateUnusable(f"gunicorn's --keyfile {cfg.keyfile} was given without its --certfile")
    for option, file in given.items():
        _read(option, file)
    try:
        # As the workers do, but for the version, whose default Python has deprecated.
        version = ssl.PROTOCOL_TLS_SERVER
        create_ssl_context(cfg.certfile, cfg.keyfile, _NO_PASSWORD, version, cfg.cert_reqs, cfg.ca_certs, cfg.ciphers)
    except (ssl.SSLError, ValueError) as error:
        options = ", ".join(f"{option} {file}" for option, file in given.items())
        raise CertificateUnusable(
            f"gunicorn's {options}: expected a certificate and its unencrypted key in PEM form; {error}"
        ) from None


def _read(option: str, file: str) -> None:
    try:
        Path(file).read_bytes()
    except OSError as error:
        raise CertificateUnusable(f"gunicorn's {option} {file} cannot be read: {error.strerror}") from None
