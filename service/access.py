"""Who may call: the clients, what each of them may do, and the digests of their keys.

    [clients.checkout]
    scopes = ["infer", "metadata"]
    keys = ["sha256:<64 hexadecimal digits>"]    # several while one replaces another

A key is 256 random bits that we made, so its plain SHA-256 tells nobody anything: there is no list of likely keys to
try. Salts and slow hashes are for passwords, which people choose; here they would cost each request milliseconds.

No sentence in this module repeats what a file or a setting holds: it may be a key in the wrong place.
"""

import hashlib
import re
import secrets
import tomllib
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from service.errors import StartError

KEY_PREFIX: Final = "onk_"
"""By which people, and programs that look for leaked secrets, know a key of ours."""

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
"""Of a client: it stands in the lines of the log."""

_ALGORITHM: Final = "sha256:"
_KEY_BYTES: Final = 32
_DIGITS: Final = frozenset("0123456789abcdef")


class KeysUnusable(StartError):
    """The file of API keys cannot be read, or does not say who may call."""

    code = "keys_unusable"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the file that ONNICORN_ACCESS__KEYS names {reason}")


class Scope(StrEnum):
    """What a client may do: run models; read what there is; load and unload models."""

    INFER = "infer"
    METADATA = "metadata"
    ADMIN = "admin"


def _digest(text: str) -> str:
    digits = text.removeprefix(_ALGORITHM)
    if len(digits) != 2 * hashlib.sha256().digest_size or digits == text or not _DIGITS.issuperset(digits):
        raise ValueError(f"expected {_ALGORITHM} and 64 hexadecimal digits, as `onnicorn key` prints them")
    return text


Digest = Annotated[str, AfterValidator(_digest)]
Name = Annotated[str, Field(pattern=NAME)]


class Client(BaseModel):
    """Somebody who calls. Every one of its keys is as good as the others."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    scopes: frozenset[Scope] = Field(min_length=1)
    keys: tuple[Digest, ...] = Field(min_length=1)


class Clients(BaseModel):
    """All who may call, by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    clients: Mapping[Name, Client]

    def of(self, key: bytes) -> str | None:
        """The name of the client whose key this is.

        The look-up takes no constant time and need not: what it compares are digests. All that its time could ever
        tell is a digest, which opens nothing, since nobody can find the key to it.
        """
        return self._names.get(digest_of(key))

    def scopes(self, name: str) -> frozenset[Scope]:
        return self.clients[name].scopes

    @cached_property
    def _names(self) -> dict[str, str]:
        return {key: name for name, client in self.clients.items() for key in client.keys}


NOBODY: Final = Clients(clients={})


def new_key() -> str:
    return KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def digest_of(key: bytes) -> str:
    """As it stands in the file."""
    return _ALGORITHM + hashlib.sha256(key).hexdigest()


def read_clients(file: Path | None) -> Clients | None:
    """None where no file is set: nobody needs a key then. Raises KeysUnusable.

    Nobody asks who else may read it: Kubernetes mounts secrets with modes of its own, and there are no secrets in it.
    """
    if file is None:
        return None
    try:
        clients = Clients.model_validate(tomllib.loads(file.read_text("utf-8")))
    except OSError as error:
        raise KeysUnusable(f"cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise KeysUnusable(f"is wrong: {'; '.join(map(_sentence, error.errors(include_input=False)))}") from None
    except ValueError as error:  # of its words only the place: the others may repeat what they stumble over
        place = "".join(re.findall(r" \(at line \d+, column \d+\)", str(error)))
        raise KeysUnusable(f"is no TOML in UTF-8{place}; `onnicorn key CLIENT` prints how it looks") from None
    _refuse_what_is_ambiguous(clients)
    return clients


def _refuse_what_is_ambiguous(clients: Clients) -> None:
    if not clients.clients:
        raise KeysUnusable("has no client; `onnicorn key CLIENT` prints the lines for one")
    counted = Counter(key for client in clients.clients.values() for key in client.keys)
    if twice := {key for key, count in counted.items() if count > 1}:
        names = [name for name, client in clients.clients.items() if twice.intersection(client.keys)]
        raise KeysUnusable(f"has one key twice: see {' and '.join(names)}; each client needs a key of its own")


def _sentence(detail: Any) -> str:
    """Where it is and what was expected. Only what TOML calls a key is repeated, and of that only what we know."""
    where = ".".join(str(part) for part in detail["loc"] if _is_harmless(part))
    if detail["type"] == "extra_forbidden":
        where = ".".join(str(part) for part in detail["loc"][:-1] if _is_harmless(part)) or "the top level"
        return f"{where}: expected nothing but {'scopes and keys' if 'clients' in where else 'clients'}"
    reason = detail["msg"].removeprefix("Value error, ")
    return f"{where or 'the top level'}: {reason[:1].lower()}{reason[1:]}"


def _is_harmless(part: int | str) -> bool:
    return isinstance(part, int) or (re.fullmatch(NAME, part) is not None and not part.startswith(KEY_PREFIX))
