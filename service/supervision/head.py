"""What a request's head must be, beyond what the parser asks of it: its size, and what RFC 9112 says must be refused.

The parser refuses two lengths, a length beside chunks, bare line feeds, folded lines, spaces before a colon and control
characters by itself. It takes whatever version, a missing `Host`, and codings of the body that nobody here decodes.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from service.errors import HeadersTooLarge, MalformedRequest, UriTooLong
from service.knobs import Limits

Headers = Sequence[tuple[bytes, bytes]]

_VERSIONS: Final = frozenset({"1.1", "1.0"})
# A name, an address in brackets, or nothing; then perhaps a port (RFC 9110, 7.2; RFC 3986, 3.2.2).
_is_host: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~!$&'()*+,;=%]*)(?::[0-9]*)?").fullmatch
# Behind each name and each value on the wire, and what a request line has besides its target, at the least.
_AROUND: Final = 4
_LINE: Final = 16


class _Nowhere(list[Any]):
    """Where trailers go: those of a request that is being answered would be added to its headers, without end."""

    def append(self, header: Any) -> None:
        pass


NOWHERE: Final = _Nowhere()


def check_parts(target: bytes, headers: Headers, limits: Limits) -> None:
    """A head that may still be coming. Raises UriTooLong, HeadersTooLarge."""
    if len(target) > limits.uri_bytes:
        raise UriTooLong(f"the request's target is longer than {limits.uri_bytes} bytes, the most that is read")
    if len(headers) > limits.headers:
        raise HeadersTooLarge(f"the request has more than {limits.headers} headers, the most that are read")


def check_bytes(size: int, limits: Limits) -> None:
    """Raises HeadersTooLarge."""
    if size > limits.header_bytes:
        raise HeadersTooLarge(
            f"the request's line and headers are larger than {limits.header_bytes} bytes, the most that is read"
        )


def check_around(size: int, limits: Limits) -> None:
    """What comes with a body and is none of it. Raises HeadersTooLarge."""
    if size > limits.header_bytes:
        raise HeadersTooLarge(
            f"what surrounds the body's chunks (sizes, extensions, trailers) is {limits.header_bytes} bytes larger "
            "than the body itself, the most that is read; send larger chunks"
        )


def size_of(target: bytes, headers: Headers) -> int:
    """As many bytes as a head has at least."""
    return _LINE + len(target) + sum(len(name) + len(value) + _AROUND for name, value in headers)


def check_form(version: str, target: bytes, headers: Headers) -> None:
    """Raises MalformedRequest."""
    if version not in _VERSIONS:
        raise MalformedRequest(f"the request is in HTTP/{version}; expected HTTP/1.1 or HTTP/1.0")
    if b"#" in target:
        raise MalformedRequest("the request's target has a fragment (#), which is for the client alone")
    names = [name for name, _ in headers]
    hosts = names.count(b"host")
    if hosts != 1 and (hosts or version == "1.1"):
        raise MalformedRequest(f"the request has {hosts} Host headers; expected one")
    if hosts and not _is_host(headers[names.index(b"host")][1].strip()):
        raise MalformedRequest("the request's Host header is not a host with or without a port")
    if b"transfer-encoding" in names:
        _check_coding(version, headers)


def with_path(target: bytes) -> bytes:
    """A target in absolute form may leave the path out (RFC 9112, 3.2.2; RFC 3986, 6.2.3)."""
    if target.startswith(b"/"):
        return target
    scheme, separator, rest = target.partition(b"://")
    end = re.search(rb"[/?]|$", rest)
    if not separator or end is None or rest[end.start() : end.end()] == b"/":
        return target
    return b"%s://%s/%s" % (scheme, rest[: end.start()], rest[end.start() :])


def _check_coding(version: str, headers: Headers) -> None:
    """In HTTP/1.0 there is none, and whoever sees one there and whoever does not would cut the stream differently."""
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings != [b"chunked"] or version == "1.0":
        raise MalformedRequest("the request's Transfer-Encoding is not one that is read: expected chunked, in HTTP/1.1")
