"""Where a service listens."""

import ssl
from typing import NamedTuple


class Endpoint(NamedTuple):
    """A host, a port, and whether TLS is spoken there."""

    host: str
    port: int
    is_tls: bool = False

    def context(self) -> ssl.SSLContext | None:
        """Certificates are checked, against the system's authorities or those in the file that SSL_CERT_FILE names."""
        return ssl.create_default_context() if self.is_tls else None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def loopback(port: int) -> Endpoint:
    return Endpoint("127.0.0.1", port)
