"""A file of keys, as an operator writes and changes it."""

from collections.abc import Mapping
from pathlib import Path

from service.access import digest_of


def write_keys(file: Path, clients: Mapping[str, tuple[str, str]]) -> Path:
    """Each client with one scope or several, separated by spaces, and one key. The file appears whole."""
    draft = file.with_suffix(".draft")
    draft.write_text("\n".join(_table(name, scopes.split(), key) for name, (scopes, key) in clients.items()))
    return draft.rename(file)


def _table(name: str, scopes: list[str], key: str) -> str:
    listed = ", ".join(f'"{scope}"' for scope in scopes)
    return f'[clients.{name}]\nscopes = [{listed}]\nkeys = ["{digest_of(key.encode())}"]\n'
