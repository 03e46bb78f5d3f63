"""Servers to fetch from: moto's S3 and a web server with ranges. They tell what they were asked, and can be held up."""

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]
BUCKET = "bucket"
_CHUNK = 1 << 16


class Watched:
    """An application, what it was asked for (`GET /bucket/key bytes=0-9`), and what happens before it answers."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self.asked: list[str] = []
        self.before: Callable[[str], str | None] = lambda asked: None
        """Returns None, or a status to answer with instead."""

    def __call__(self, environ: Environ, start: Any) -> Iterable[bytes]:
        asked = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {environ.get('HTTP_RANGE', '')}".strip()
        self.asked.append(asked)
        if status := self.before(asked):
            start(status, [("Content-Length", "0")])
            return []
        return self._application(environ, start)

    def read(self) -> list[str]:
        """The objects that were read, wholly or a piece of them."""
        return [asked for asked in self.asked if asked.startswith("GET /") and asked.count("/") > 1]


class Web:
    """Files by their paths, with ETags and ranges; `knows_ranges` and `has_etags` take them away."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.knows_ranges = True
        self.has_etags = True
        self.sent = 0
        """Bytes that somebody took."""

    def __call__(self, environ: Environ, start: Any) -> Iterable[bytes]:
        content = self.files.get(environ["PATH_INFO"])
        if content is None:
            start("404 Not Found", [("Content-Length", "0")])
            return []
        status, part = "200 OK", content
        if self.knows_ranges and (asked := environ.get("HTTP_RANGE")):
            first, last = asked.removeprefix("bytes=").split("-")
            status, part = "206 Partial Content", content[int(first) : int(last) + 1]
        etag = [("ETag", f'"{hashlib.md5(content).hexdigest()}"')] if self.has_etags else []
        start(status, [("Content-Length", str(len(part))), *etag])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else self._sent(part)

    def _sent(self, content: bytes) -> Iterator[bytes]:
        for start in range(0, len(content), _CHUNK):
            self.sent += len(content[start : start + _CHUNK])
            yield content[start : start + _CHUNK]


@contextmanager
def served(application: Application, certificate: tuple[Path, Path] | None = None) -> Iterator[str]:
    """Its address, `http://127.0.0.1:PORT`, while the block runs; with a certificate and its key it is `https`."""
    pair = (str(certificate[0]), str(certificate[1])) if certificate else None
    server = make_server("127.0.0.1", 0, application, threaded=True, ssl_context=pair)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def s3() -> Watched:
    return Watched(DomainDispatcherApplication(create_backend_app))
