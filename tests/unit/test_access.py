"""The file of keys: whom it makes known, and what it must not repeat."""

import hashlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

from service import access
from service.access import NAME, NOBODY, Client, Clients, KeysUnusable, Scope, digest_of, new_key, read_clients

KEY, OTHER = "onk_one", "onk_two"
DIGEST, OTHER_DIGEST = digest_of(KEY.encode()), digest_of(OTHER.encode())
SECRET = "onk_aSecretThatSomebodyPutInTheWrongPlace_12345"
"""What no sentence may repeat, wherever it stands."""


def read(folder: Path, text: str | bytes) -> Clients | None:
    file = folder / "keys.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_clients(file)


def refusal(folder: Path, text: str | bytes) -> str:
    with pytest.raises(KeysUnusable) as caught:
        read(folder, text)
    return str(caught.value).removeprefix("the file that ONNICORN_ACCESS__KEYS names ")


def client(name: str = "checkout", scopes: str = '["infer"]', keys: str = f'["{DIGEST}"]') -> str:
    return f"[clients.{name}]\nscopes = {scopes}\nkeys = {keys}\n"


def test_without_a_file_nobody_needs_a_key() -> None:
    assert read_clients(None) is None


def test_a_client_is_known_by_each_of_its_keys(tmp_path: Path) -> None:
    text = client(scopes='["metadata", "infer"]', keys=f'["{DIGEST}", "{OTHER_DIGEST}"]')
    clients = read(tmp_path, text)
    assert clients == Clients(
        clients={"checkout": Client(scopes=frozenset({Scope.INFER, Scope.METADATA}), keys=(DIGEST, OTHER_DIGEST))}
    )
    assert [clients.of(key.encode()) for key in (KEY, OTHER, "onk_three", "", DIGEST)] == [
        "checkout",
        "checkout",
        None,
        None,
        None,
    ]
    assert clients.scopes("checkout") == {Scope.INFER, Scope.METADATA}


def test_clients_are_told_apart(tmp_path: Path) -> None:
    clients = read(tmp_path, client("a") + client("b", '["admin"]', f'["{OTHER_DIGEST}"]'))
    assert clients
    assert [clients.of(key.encode()) for key in (KEY, OTHER)] == ["a", "b"]


def test_nobody_is_known_by_nothing() -> None:
    assert NOBODY.of(b"") is None


def test_a_digest_is_what_sha256sum_prints() -> None:
    assert digest_of(b"onk_x") == f"sha256:{hashlib.sha256(b'onk_x').hexdigest()}"


def test_a_key_is_long_enough_never_to_be_guessed_and_never_the_same() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {(key[:4], len(key)) for key in keys} == {("onk_", 47)}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is wrong: clients: field required"),
        ("[clients]", "has no client; `onnicorn key CLIENT` prints the lines for one"),
        ("clients = 1", "is wrong: clients: input should be a valid dictionary"),
        (client("''"), f"is wrong: clients: string should match pattern '{NAME}'"),
        ("[clients.a]", "is wrong: clients.a.scopes: field required; clients.a.keys: field required"),
        (client(scopes="[]"), "is wrong: clients.checkout.scopes: frozenset should have at least 1 item"),
        (
            client(scopes='["all"]'),
            "is wrong: clients.checkout.scopes.0: input should be 'infer', 'metadata' or 'admin'",
        ),
        (client(keys="[]"), "is wrong: clients.checkout.keys: tuple should have at least 1 item"),
        (client() + "key = 1", "is wrong: clients.checkout: expected nothing but scopes and keys"),
        (client() + "[client.a]", "is wrong: the top level: expected nothing but clients"),
        ("[clients]\na b", "is no TOML in UTF-8 (at line 2, column 3); `onnicorn key CLIENT` prints how it looks"),
        (b"\xff", "is no TOML in UTF-8; `onnicorn key CLIENT` prints how it looks"),
        (client("a") + client("b"), "has one key twice: see a and b; each client needs a key of its own"),
        (
            client(keys=f'["{DIGEST}", "{DIGEST}"]'),
            "has one key twice: see checkout; each client needs a key of its own",
        ),
    ],
)
def test_what_is_wrong_is_named(text: str | bytes, sentence: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, text).startswith(sentence)


@pytest.mark.parametrize(
    "digest",
    [KEY, "", "sha256:", "sha256:12", DIGEST.removeprefix("sha256:"), DIGEST.upper(), DIGEST + "0", "md5:" + 64 * "0"],
)
def test_a_digest_that_is_none_is_named_by_its_place(digest: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, client(keys=f'["{OTHER_DIGEST}", "{digest}"]')) == (
        "is wrong: clients.checkout.keys.1: expected sha256: and 64 hexadecimal digits, as `onnicorn key` prints them"
    )


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f'"{SECRET}"',
        f'clients = "{SECRET}"',
        f'[clients]\n"{SECRET}" = 1',
        f'[clients."{SECRET} "]',
        f'{SECRET} = "{SECRET}"',
        client(scopes=f'["{SECRET}"]'),
        client(scopes=f'"{SECRET}"'),
        client(keys=f'["{SECRET}"]'),
        client(keys=f'"{SECRET}"'),
        client(keys=f'{{ {SECRET} = "{SECRET}" }}'),
        client() + f'{SECRET} = "{SECRET}"',
    ],
)
def test_a_key_in_the_wrong_place_is_not_repeated(text: str, tmp_path: Path) -> None:
    assert SECRET not in refusal(tmp_path, text)


@pytest.mark.parametrize(("name", "reason"), [("none", "No such file or directory"), ("", "Is a directory")])
def test_a_file_that_cannot_be_read_is_not_named_for_its_name_may_be_a_key(
    name: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(KeysUnusable) as caught:
        read_clients(tmp_path / name)
    assert str(caught.value) == f"the file that ONNICORN_ACCESS__KEYS names cannot be read: {reason}"


def test_who_else_may_read_the_file_is_not_asked(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(client())
    file.chmod(0o444)
    assert read_clients(file)


def test_the_example_of_the_module_is_a_file_that_can_be_read(tmp_path: Path) -> None:
    example = str(access.__doc__).split("\n\n")[1].replace("<64 hexadecimal digits>", DIGEST.removeprefix("sha256:"))
    document: dict[str, Any] = tomllib.loads(example)
    assert read(tmp_path, example) == Clients(**document)
