"""Where to listen, and below which path: as text that is checked."""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator


def _address(text: str) -> str:
    """`HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`, as Gunicorn reads them."""
    if text.startswith("unix:/"):
        return text
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("expected HOST:PORT, [IPV6]:PORT or unix:/PATH")
    if host.startswith("[") and host.endswith("]"):
        ipaddress.IPv6Address(host[1:-1])
    elif not {":", "[", "]"}.isdisjoint(host):
        raise ValueError(f"expected an IPv6 address in brackets: [{host}]:{port}")
    return text


def _root_path(text: str) -> str:
    if text and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text):
        raise ValueError("expected a path such as /models, without a slash at its end")
    return text


Address = Annotated[str, AfterValidator(_address)]
RootPath = Annotated[str, AfterValidator(_root_path)]
