"""A server that answers each request as it is told, and remembers what it was asked."""

import json
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from service.bench.endpoint import Endpoint


@dataclass(frozen=True)
class Asked:
    """A request. Names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Answer = Callable[[Asked], bytes]


@dataclass
class Peer:
    """Where it listens, and all requests so far."""

    endpoint: Endpoint
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def serving(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[Peer]:
    """An answer of no bytes closes the connection; so does one that says so."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while head := b"".join(takewhile(lambda line: line not in (b"", b"\r\n"), self.rfile)):
                request = read(head, self.rfile.read)
                peer.asked.append(request)
                answered = answer(request)
                self.wfile.write(answered)
                if not answered or b"connection: close" in answered.lower():
                    return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 64

        def get_request(self) -> Any:
            connection, address = super().get_request()
            if context:  # a handshake that fails is the handler's
                connection = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            return connection, address

        def handle_error(self, *_: object) -> None:
            """Callers leave in the middle."""

    with Server(("127.0.0.1", 0), Handler) as server:
        peer = Peer(Endpoint("127.0.0.1", server.server_address[1], is_tls=context is not None))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield peer
        finally:
            server.shutdown()
            thread.join()


def read(head: bytes, body: Callable[[int], bytes]) -> Asked:
    first, *lines = head.decode().splitlines()
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    method, path, _ = first.split(" ")
    return Asked(method, path, headers, body(int(headers.get("content-length", "0"))))


def answer(status: int, content: object = None, *fields: str) -> bytes:
    body = json.dumps(content).encode()
    head = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def metadata(**inputs: tuple[str, list[int]]) -> Any:
    """A model's: `metadata(x=("FP32", [-1, 4]))`."""
    tensors = [{"name": name, "datatype": kind, "shape": shape} for name, (kind, shape) in inputs.items()]
    return {"name": "cat", "versions": ["1"], "platform": "onnx_onnxv1", "inputs": tensors, "outputs": []}


def model(infer: Answer, **inputs: tuple[str, list[int]]) -> Answer:
    """A service of one model, `cat`, whose inferences `infer` answers."""

    def answered(request: Asked) -> bytes:
        if request.method == "POST":
            return infer(request)
        if request.path == "/v2/models/cat":
            return answer(200, metadata(**inputs))
        if request.path == "/v2/models":
            return answer(200, {"models": ["cat"]})
        return answer(404, {"error": f"there is no {request.path}"})

    return answered
