"""HAProxy with the project's own configuration; only the addresses are this rehearsal's."""

import re
from collections.abc import Iterable
from pathlib import Path

from rehearsal.copies import Slot
from rehearsal.process import Failed


def configuration(shipped: str, port: int, slots: Iterable[Slot]) -> str:
    """Raises Failed unless there is one address to listen on, and servers to replace."""
    text, binds = re.subn(r"(?m)^(\s*bind) \S+", rf"\1 127.0.0.1:{port}", shipped)
    servers = re.findall(r"(?m)^\s*server .*\n?", text)
    if binds != 1 or not servers:
        raise Failed("the HAProxy configuration has changed: expected one `bind` line and some `server` lines")
    ours = "".join(f"    server {slot.name} 127.0.0.1:{slot.api} port {slot.ops}\n" for slot in slots)
    before, _, after = text.partition(servers[0])
    for server in servers[1:]:
        after = after.replace(server, "")
    return before + ours + after


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}") from None
