"""What is measured: a model of a service that runs, found by its URL and asked in plain HTTP."""

import http.client
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import orjson

from service.bench.endpoint import Endpoint
from service.bench.failures import BenchFailed
from service.quoting import shorten
from service.tensors import DATATYPES, FREE, Signature, TensorSpec, quote

_PORTS: Final = {"http": 80, "https": 443}
_PATH: Final = re.compile(r"(?P<prefix>.*)/v2/models/(?P<model>[^/]+)(/versions/(?P<version>[^/]+))?(/infer)?/?")
_ROOT: Final = re.compile(r"(?P<prefix>.*?)(/v2(/models)?)?/?")
_PLAIN: Final = re.compile("[!-~]+")
_PATIENCE_SECONDS: Final = 60
_WANTS_A_KEY: Final = (401, 403)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body."""

    status: int
    body: bytes

    def document(self) -> Any:
        """The JSON that it is; None where it is something else."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    def __str__(self) -> str:
        """The status, and what the service says is wrong."""
        document = self.document()
        said = document.get("error") if isinstance(document, dict) else None
        return f"{self.status}: {said or shorten(self.body.decode(errors='replace'), 200)}"


@dataclass(frozen=True, slots=True)
class Target:
    """`prefix` is what a gateway has put before `/v2`; `headers`, in lower case, go with every request."""

    endpoint: Endpoint
    model: str
    version: str = ""
    prefix: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, url: str, headers: Mapping[str, str]) -> "Target":
        """`http://HOST:PORT/v2/models/NAME`, with `/versions/N` or without. Raises BenchFailed.

        A URL that names no model makes one that has none.
        """
        parts, host = _split(url)
        found = _PATH.fullmatch(parts.path) or _ROOT.fullmatch(parts.path)
        named = found.groupdict() if found else {}
        return cls(
            Endpoint(host, _port(url, parts), parts.scheme == "https"),
            named.get("model") or "",
            named.get("version") or "",
            named.get("prefix") or "",
            {"host": parts.netloc.rpartition("@")[2], **headers},
        )

    @property
    def path(self) -> str:
        version = f"/versions/{self.version}" if self.version else ""
        return f"{self.prefix}/v2/models/{self.model}{version}"

    @property
    def url(self) -> str:
        return f"{'https' if self.endpoint.is_tls else 'http'}://{self.endpoint}{self.path}"

    @property
    def name(self) -> str:
        return f"{self.model}/{self.version}" if self.version else self.model

    def signature(self) -> Signature:
        """From the model's metadata. Raises BenchFailed that says why there is none."""
        if not self.model:
            raise BenchFailed(f"the URL names no model; {self._models()}")
        answer = self.ask("GET", self.path)
        if answer.status == 404:
            raise BenchFailed(f"{self.url} is not there ({answer}); {self._models()}")
        self._must_be_ok(self.path, answer)
        try:
            return Signature(tuple(map(_spec, answer.document()["inputs"])), ())
        except (TypeError, KeyError, ValueError):
            raise BenchFailed(f"{self.url} does not answer as the Open Inference Protocol's model metadata") from None

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Raises BenchFailed where nothing comes."""
        connection = self._connection()
        try:
            connection.request(method, path, body, {**self.headers, **headers})
            answer = connection.getresponse()
            return Answer(answer.status, answer.read())
        except ssl.SSLError as error:
            raise BenchFailed(f"{self.endpoint}: TLS fails: {error.reason or error}{_hint(error)}") from None
        except http.client.HTTPException as error:
            raise BenchFailed(f"{self.endpoint} does not answer as HTTP: {error!r}") from None
        except UnicodeError as error:
            raise BenchFailed(f"{self.endpoint} is no address: {error}") from None
        except OSError as error:
            raise BenchFailed(
                f"nothing answers at {self.endpoint}: {error.strerror or error}; is the service there, and running? "
                "`onnicorn serve` starts one"
            ) from None
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        """Directly, as the load generator goes: no proxy is asked."""
        host, port, _ = self.endpoint
        context = self.endpoint.context()
        if context is None:
            return http.client.HTTPConnection(host, port, timeout=_PATIENCE_SECONDS)
        return http.client.HTTPSConnection(host, port, timeout=_PATIENCE_SECONDS, context=context)

    def _models(self) -> str:
        """A sentence about the models that there are."""
        path = f"{self.prefix}/v2/models"
        answer = self.ask("GET", path)
        self._must_be_ok(path, answer)
        document = answer.document()
        names = document.get("models") if isinstance(document, dict) else None
        if not isinstance(names, list):
            return "and the service does not say which models it has"
        example = replace(self, model=str(names[0]), version="").url if names else ""
        return f"the service has {quote([str(name) for name in names])}" + (f": try {example}" if example else "")

    def _must_be_ok(self, path: str, answer: Answer) -> None:
        if answer.status in _WANTS_A_KEY:
            hint = "give a key that may infer and read metadata with --header 'authorization: Bearer KEY'"
            raise BenchFailed(f"{self.endpoint}{path} was answered with {answer}; {hint}")
        if answer.status != 200:
            raise BenchFailed(f"{self.endpoint}{path} was answered with {answer}")


def _split(url: str) -> tuple[SplitResult, str]:
    """With the host."""
    try:
        parts = urlsplit(url)
        if parts.scheme in _PORTS and parts.hostname and _PLAIN.fullmatch(url):
            return parts, parts.hostname
    except ValueError:
        pass  # brackets that do not hold an address
    expected = "expected a URL as http://127.0.0.1:8000/v2/models/digits, in ASCII and without spaces"
    raise BenchFailed(f"{url}: {expected}") from None


def _port(url: str, parts: SplitResult) -> int:
    try:
        return parts.port or _PORTS[parts.scheme]
    except ValueError as error:
        raise BenchFailed(f"{url}: {error}") from None


def _hint(error: ssl.SSLError) -> str:
    is_unknown = isinstance(error, ssl.SSLCertVerificationError)
    return "; SSL_CERT_FILE names a file of the authorities that are trusted" if is_unknown else ""


def _spec(tensor: Any) -> TensorSpec:
    shape = tuple(int(size) if size > 0 else FREE for size in tensor["shape"])
    return TensorSpec(str(tensor["name"]), DATATYPES[tensor["datatype"]], shape)
