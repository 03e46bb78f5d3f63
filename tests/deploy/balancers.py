"""HAProxy and nginx with the shipped files, in front of whoever is wanted."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.deploy.programs import adapted, output, program, serving
from tests.process.conftest import ROOT, free_addresses

Instance = tuple[str, str]
"""The addresses of its API and of its ops port."""
Balancer = Callable[[list[Instance], Path], AbstractContextManager[str]]
"""Two instances and a folder to write to; it yields the address to call."""


@contextmanager
def haproxy(instances: list[Instance], folder: Path) -> Iterator[str]:
    binary, (address, _) = program("haproxy", "haproxy"), free_addresses()
    (one, one_ops), (two, two_ops) = instances
    changes = {
        "bind 127.0.0.1:8080": f"bind {address}",
        "server one 127.0.0.1:8000": f"server one {one} port {_port(one_ops)}",
        "server two 127.0.0.2:8000": f"server two {two} port {_port(two_ops)}",
    }
    file = folder / "haproxy.cfg"
    file.write_text(adapted((ROOT / "deploy" / "haproxy" / "haproxy.cfg").read_text(), changes))
    output(binary, "-c", "-f", str(file))
    with serving(address, folder, binary, "-db", "-f", str(file)):
        yield address


@contextmanager
def nginx(instances: list[Instance], folder: Path) -> Iterator[str]:
    binary, (address, _) = program("nginx", "nginx"), free_addresses()
    (one, _), (two, _) = instances
    # Where a distribution's package puts these is root's.
    places = "".join(f"    {name}_temp_path {folder / name};\n" for name in _TEMPORARY)
    changes = {
        "listen 127.0.0.1:8080": f"listen {address}",
        "server 127.0.0.1:8000": f"server {one}",
        "server 127.0.0.2:8000": f"server {two}",
        r"~127\.0\.0\.1:8000$": f"~{re.escape(one)}$",
        "http {\n": f"http {{\n{places}",
    }
    file = folder / "nginx.conf"
    file.write_text(adapted((ROOT / "deploy" / "nginx" / "nginx.conf").read_text(), changes))
    options = ("-p", str(folder), "-c", str(file), "-e", "stderr", "-g", f"pid {folder / 'pid'}; daemon off;")
    output(binary, "-t", *options)
    with serving(address, folder, binary, *options):
        yield address


_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def _port(address: str) -> str:
    return address.rpartition(":")[2]
