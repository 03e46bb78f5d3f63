"""What is made of what the stores' libraries tell. These are the shapes of the answers of gcsfs and adlfs."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import fsspec
import pytest
from fsspec.registry import _registry
from fsspec.spec import AbstractFileSystem

from service.fetch.address import Address
from service.fetch.failures import FetchFailed
from service.fetch.store import Object, Store

ACCOUNT = {"connection_string": "AccountName=b;AccountKey=eA==;BlobEndpoint=https://b.example/"}
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
Infos = dict[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """fsspec's own, as it was before."""
    before = dict(_registry)
    yield
    _registry.clear()
    _registry.update(before)


def put(name: str, infos: Infos, finds_names: bool = False) -> None:
    """This is what lies there. `finds_names` says that of a file not even a detailed list has details, as in adlfs."""

    class Files(AbstractFileSystem):
        protocol = name

        def find(self, path: str, detail: bool) -> Infos | list[str]:
            path = self._strip_protocol(path)
            if finds_names and path in infos:
                return [path]
            return {key: info for key, info in infos.items() if f"{key}/".startswith(f"{path}/")}

        def info(self, path: str) -> dict[str, Any]:
            try:
                return infos[self._strip_protocol(path)]
            except KeyError:
                raise FileNotFoundError(path) from None

    fsspec.register_implementation(name, Files, clobber=True)


def google(name: str, size: int) -> dict[str, Any]:
    """An object as the JSON API describes it, with what gcsfs adds."""
    return {
        "kind": "storage#object",
        "name": name,
        "bucket": "b",
        "generation": "1795",
        "metageneration": "1",
        "size": size,
        "etag": "CAE=",
        "md5Hash": "1B2M2Y8AsgTpgAmY7PhCfg==",
        "updated": "2026-11-21T12:00:00Z",
        "mtime": NOON,
        "type": "file",
    }


def azure(name: str, size: int | None, kind: str = "file") -> dict[str, Any]:
    """The properties that adlfs forwards."""
    return {
        "metadata": {},
        "creation_time": NOON,
        "last_modified": NOON,
        "etag": '"0x8D"',
        "name": name,
        "size": size,
        "type": kind,
    }


def test_google_says_a_generation() -> None:
    put("gs", {name: google(name, size) for name, size in (("b/models/cat/", 0), ("b/models/cat/model.onnx", 5))})
    assert Store(Address.parse("gs://b/models"), {}).objects() == (
        Object("cat/model.onnx", "b/models/cat/model.onnx", "gs://b/models/cat/model.onnx", "generation 1795", 5),
    )


def test_azure_says_an_etag_and_has_folders() -> None:
    infos = {"c/models/cat": azure("c/models/cat", None, "directory"), "c/models/cat/x": azure("c/models/cat/x", 5)}
    put("az", infos)
    assert Store(Address.parse("az://c/models"), {}).objects() == (
        Object("cat/x", "c/models/cat/x", "az://c/models/cat/x", 'etag "0x8D"', 5),
    )


def test_azure_finds_a_single_file_by_its_name_only() -> None:
    put("az", {name: azure(name, 5) for name in ("c/model.onnx", "c/SHA256SUMS")}, finds_names=True)
    assert Store(Address.parse("az://c/model.onnx"), {}).objects() == (
        Object("SHA256SUMS", "az://c/SHA256SUMS", "az://c/SHA256SUMS", 'etag "0x8D"', 5, is_kept=False),
        Object("model.onnx", "c/model.onnx", "az://c/model.onnx", 'etag "0x8D"', 5),
    )


@pytest.mark.parametrize(
    ("account", "url"), [({"account_name": "a"}, "https://a.blob.core.windows.net/"), (ACCOUNT, "https://b.example/")]
)
def test_an_account_of_azure_is_part_of_its_origin(account: dict[str, str], url: str) -> None:
    pytest.importorskip("adlfs")
    store = Store(Address.parse("az://c/p"), account | {"anon": True})
    assert store.origin == origin(f"{url}\0az://c/p")


def test_where_google_is_asked_is_part_of_its_origin() -> None:
    pytest.importorskip("gcsfs")
    assert Store(Address.parse("gs://b/p"), {"token": "anon"}).origin == origin(
        "https://storage.googleapis.com/storage/v1/\0gs://b/p"
    )


def origin(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()


def test_azure_without_an_account_says_how_to_name_it() -> None:
    class Nameless(AbstractFileSystem):
        def __init__(self, **_: object) -> None:
            raise ValueError("Must provide either a connection_string or account_name with credentials!!")

    fsspec.register_implementation("az", Nameless, clobber=True)
    with pytest.raises(
        FetchFailed, match=r"az://c/p cannot be asked: .*; name the account by AZURE_STORAGE_ACCOUNT_NAME"
    ):
        Store(Address.parse("az://c/p"), {})
