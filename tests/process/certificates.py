"""Certificates made for one test run by the openssl command."""

import shutil
import ssl
import subprocess
from pathlib import Path

# Python 3.13 verifies strictly: each certificate says whose it is, who signed it and what it is for.
_CONFIGURATION = """
[req]
distinguished_name = name
prompt = no
[name]
CN = onnicorn-test
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:localhost, IP:127.0.0.1
"""
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-config", "openssl.cnf")


class Authority:
    """Signs certificates, in a folder of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir()
        self._folder = folder
        (folder / "openssl.cnf").write_text(_CONFIGURATION)
        subject = ("-subj", f"/CN={name}")
        _openssl(
            folder, "req", "-x509", *_NEW_KEY, *subject, "-extensions", "authority", "-days", "1",
            "-keyout", "authority.key", "-out", "authority.pem",
        )  # fmt: skip
        self.certificate = folder / "authority.pem"

    def sign(self, name: str) -> tuple[Path, Path]:
        """A certificate for localhost and its key."""
        _openssl(
            self._folder, "req", "-new", *_NEW_KEY, "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.csr",
        )  # fmt: skip
        _openssl(
            self._folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "authority.pem", "-CAkey", "authority.key",
            "-CAcreateserial", "-days", "1", "-extfile", "openssl.cnf", "-extensions", "leaf", "-out", f"{name}.pem",
        )  # fmt: skip
        return self._folder / f"{name}.pem", self._folder / f"{name}.key"

    def context(self, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
        """A client's that trusts this authority, and that shows a certificate if it has one."""
        context = ssl.create_default_context(cafile=self.certificate)
        if certificate:
            context.load_cert_chain(certificate, key)
        return context


def _openssl(folder: Path, *arguments: str) -> None:
    command = shutil.which("openssl")
    assert command, "these tests make certificates by the openssl command: install it"
    done = subprocess.run([command, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
