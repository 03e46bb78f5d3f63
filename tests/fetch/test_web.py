"""`onnicorn fetch http(s)://...`: a file, or those that a SHA256SUMS names; and plain paths."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import ClientTimeout

import service.fetch.web
from service.fetch.transfer import PIECE
from tests.fetch.conftest import Fetch, files
from tests.fetch.stores import Watched, Web, served

LISTED = {"model.onnx": b"graph", "golden/a b.json": b"{}"}


def sums(listed: dict[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in listed.items()).encode()


SUMS = sums(LISTED)
FILES = {f"/cat/{path}": content for path, content in LISTED.items()} | {"/cat/SHA256SUMS": SUMS, "/one.onnx": b"one"}


@pytest.fixture
def web() -> Web:
    return Web(FILES)


@pytest.fixture
def watched(web: Web) -> Watched:
    return Watched(web)


@pytest.fixture
def url(watched: Watched) -> Iterator[str]:
    with served(watched) as address:
        yield address


def test_one_file_comes(url: str, fetch: Fetch, tmp_path: Path) -> None:
    result = fetch("--insecure-http", f"{url}/one.onnx?signature=secret", tmp_path)
    assert (result.exit_code, files(tmp_path)) == (0, {"one.onnx": b"one"}), result.output
    assert "secret" not in result.output
    assert b"secret" not in (tmp_path / ".fetch" / "record.json").read_bytes()


def test_a_folder_is_what_its_checksums_list(url: str, fetch: Fetch, watched: Watched, tmp_path: Path) -> None:
    assert fetch("--insecure-http", f"{url}/cat/", tmp_path).exit_code == 0
    assert files(tmp_path) == LISTED | {"SHA256SUMS": SUMS}
    watched.asked.clear()
    assert "0 of them new or changed" in fetch("--insecure-http", f"{url}/cat/", tmp_path).stdout
    assert [asked for asked in watched.asked if asked.startswith("GET") and "SUMS" not in asked] == []


def test_a_list_that_lists_itself_is_fetched_once(url: str, fetch: Fetch, web: Web, tmp_path: Path) -> None:
    web.files["/cat/SHA256SUMS"] = sums({"model.onnx": b"graph", "SHA256SUMS": b""})
    result = fetch("--insecure-http", f"{url}/cat/", tmp_path)
    assert f"{tmp_path}: 2 files, 2 of them new or changed" in result.stdout, result.stderr


def test_one_file_is_held_against_the_checksums_beside_it(url: str, fetch: Fetch, web: Web, tmp_path: Path) -> None:
    web.files["/cat/model.onnx"] = b"damaged"
    result = fetch("--insecure-http", f"{url}/cat/model.onnx", tmp_path)
    assert (result.exit_code, files(tmp_path)) == (1, {})
    assert "has SHA-256" in result.stderr


@pytest.mark.parametrize("status", ["503 Service Unavailable", "429 Too Many Requests"])
def test_a_server_that_does_not_say_whether_there_are_checksums_is_asked_again(
    url: str, fetch: Fetch, web: Web, watched: Watched, tmp_path: Path, status: str
) -> None:
    web.files["/cat/model.onnx"] = b"damaged"
    answers = iter([status, status, status])
    watched.before = lambda asked: next(answers, None) if "SHA256SUMS" in asked else None
    result = fetch("--insecure-http", f"{url}/cat/model.onnx", tmp_path)
    assert (result.exit_code, files(tmp_path)) == (1, {})
    assert "has SHA-256" in result.stderr


def test_checksums_that_may_not_be_read_are_no_secret(url: str, fetch: Fetch, watched: Watched, tmp_path: Path) -> None:
    """A URL that is signed for one file says nothing of the one beside it."""
    watched.before = lambda asked: "403 Forbidden" if "SHA256SUMS" in asked else None
    result = fetch("--insecure-http", f"{url}/cat/model.onnx?sig=x", tmp_path)
    assert (result.exit_code, files(tmp_path)) == (0, {"model.onnx": b"graph"})
    said = [json.loads(line) for line in result.stderr.splitlines()]
    assert [each["source"] for each in said if each["event"] == "fetch_not_verified"] == [f"{url}/cat/SHA256SUMS"]


@pytest.mark.parametrize("status", ["503 Service Unavailable", "429 Too Many Requests"])
def test_a_server_that_is_busy_is_asked_again_and_no_password_is_said(
    url: str, fetch: Fetch, watched: Watched, tmp_path: Path, status: str
) -> None:
    answers = iter([status, status])
    watched.before = lambda asked: next(answers, None)
    result = fetch("--insecure-http", f"{url.replace('//', '//me:topsecret@')}/one.onnx?sig=zzz", tmp_path)
    assert (result.exit_code, files(tmp_path)) == (0, {"one.onnx": b"one"}), result.output
    assert "fetch_trying_again" in result.stderr
    assert not [secret for secret in ("topsecret", "zzz") if secret in result.output]


def test_a_folder_without_checksums_cannot_be_fetched(url: str, fetch: Fetch, tmp_path: Path) -> None:
    result = fetch("--insecure-http", f"{url}/dog/", tmp_path)
    assert result.exit_code == 1
    assert (
        result.stderr == f"onnicorn: there is nothing at {url}/dog/SHA256SUMS: a folder of the web is what it lists\n"
    )


def test_a_folder_removes_what_it_does_not_list_any_more_and_not_what_another_url_has_brought(
    url: str, fetch: Fetch, web: Web, tmp_path: Path
) -> None:
    web.files["/cat/deep/extra.onnx"] = b"extra"
    for path in ("cat/deep/extra.onnx", "cat/", "cat/?tenant=1"):
        assert fetch("--insecure-http", f"{url}/{path}", tmp_path).exit_code == 0
    assert files(tmp_path) == LISTED | {"SHA256SUMS": SUMS, "extra.onnx": b"extra"}
    left = {"model.onnx": b"graph"}
    web.files["/cat/SHA256SUMS"] = sums(left)
    assert fetch("--insecure-http", f"{url}/cat/?tenant=2", tmp_path).exit_code == 0
    assert "golden/a b.json" in files(tmp_path), "another query"
    assert "1 file removed" in fetch("--insecure-http", f"{url}/cat/?tenant=1", tmp_path).stdout
    assert files(tmp_path) == left | {"SHA256SUMS": sums(left), "extra.onnx": b"extra"}


def test_a_folder_needs_no_place_for_temporary_files(
    url: str, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert fetch("--insecure-http", f"{url}/cat/", tmp_path / "models").exit_code == 0
    assert files(tmp_path / "models") == LISTED | {"SHA256SUMS": SUMS}


def test_checksums_that_are_none_are_named_by_their_url(url: str, fetch: Fetch, web: Web, tmp_path: Path) -> None:
    web.files["/cat/SHA256SUMS"] = b"<html>\n"
    result = fetch("--insecure-http", f"{url}/cat/", tmp_path)
    assert (result.exit_code, files(tmp_path)) == (1, {})
    assert result.stderr.startswith(f"onnicorn: {url}/cat/SHA256SUMS: line 1 is '<html>': ")


def test_a_signed_folder_is_a_folder_and_its_names_are_quoted(url: str, fetch: Fetch, web: Web, tmp_path: Path) -> None:
    listed = {"1#2?.onnx": b"odd"}
    web.files = {"/odd/1#2?.onnx": b"odd", "/odd/SHA256SUMS": sums(listed)}
    assert fetch("--insecure-http", f"{url}/odd/?sig=x/y", tmp_path).exit_code == 0
    assert files(tmp_path) == listed | {"SHA256SUMS": sums(listed)}


@pytest.mark.parametrize("name", ["../../etc/x", "/etc/x", "a/../../x"])
def test_checksums_cannot_name_what_lies_outside(url: str, fetch: Fetch, web: Web, tmp_path: Path, name: str) -> None:
    web.files["/cat/SHA256SUMS"] = f"{'0' * 64}  {name}\n".encode()
    result = fetch("--insecure-http", f"{url}/cat/", tmp_path)
    assert (result.exit_code, files(tmp_path)) == (1, {})
    assert "expected a file in" in result.stderr


def test_what_is_not_encrypted_must_be_asked_for(url: str, fetch: Fetch, tmp_path: Path) -> None:
    result = fetch(f"{url}/one.onnx", tmp_path)
    assert (result.exit_code, files(tmp_path)) == (1, {})
    assert result.stderr == (
        f"onnicorn: {url}/one.onnx is not encrypted: use https://, or say --insecure-http if you mean it\n"
    )


def test_an_empty_list_is_no_list(url: str, fetch: Fetch, web: Web, tmp_path: Path) -> None:
    web.files["/cat/SHA256SUMS"] = b""
    assert "SHA256SUMS: line 1 is ''" in fetch("--insecure-http", f"{url}/cat/", tmp_path).stderr


def test_a_server_without_ranges_can_send_small_files_only(url: str, fetch: Fetch, web: Web, tmp_path: Path) -> None:
    web.knows_ranges = False
    web.files["/large.onnx"] = bytes(PIECE + 1)
    assert fetch("--insecure-http", f"{url}/one.onnx", tmp_path).exit_code == 0
    result = fetch("--insecure-http", f"{url}/large.onnx", tmp_path)
    assert (result.exit_code, files(tmp_path)) == (1, {"one.onnx": b"one"})
    assert "the server does not know range requests" in result.stderr


def test_a_proxy_is_asked_where_there_is_one(url: str, fetch: Fetch, watched: Watched, tmp_path: Path) -> None:
    result = fetch("--insecure-http", "http://models.invalid/one.onnx", tmp_path, http_proxy=url)
    assert (result.exit_code, files(tmp_path)) == (0, {"one.onnx": b"one"}), result.output
    assert "GET /one.onnx bytes=0-2" in watched.asked


def test_only_silence_is_too_long() -> None:
    assert service.fetch.web.Web(allow_http=False).client_kwargs["timeout"] == ClientTimeout(
        total=None, sock_connect=30, sock_read=30
    )


def test_a_server_without_ranges_is_not_listened_to_the_end(url: str, fetch: Fetch, web: Web, tmp_path: Path) -> None:
    web.knows_ranges = False
    web.files["/large.onnx"] = bytes(16 * PIECE)
    assert fetch("--insecure-http", "--parallel", "1", f"{url}/large.onnx", tmp_path).exit_code == 1
    assert web.sent < 8 * PIECE


def test_what_has_no_version_is_fetched_each_time(url: str, fetch: Fetch, web: Web, tmp_path: Path) -> None:
    web.has_etags = False
    for content in (b"one", b"two"):
        web.files["/one.onnx"] = content
        assert "1 of them new or changed" in fetch("--insecure-http", f"{url}/one.onnx", tmp_path).stdout
        assert files(tmp_path) == {"one.onnx": content}


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_file_that_may_not_be_read_is_one_line(
    url: str, fetch: Fetch, watched: Watched, tmp_path: Path, status: str
) -> None:
    watched.before = lambda asked: status
    result = fetch("--insecure-http", f"{url}/one.onnx", tmp_path)
    assert result.exit_code == 1
    assert f"{url}/one.onnx: these credentials may not read it" in result.stderr


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_path_is_as_good_as_a_bucket(fetch: Fetch, tmp_path: Path, scheme: str) -> None:
    source, target = tmp_path / "a b", tmp_path / "target"
    for path, content in LISTED.items():
        (source / "cat" / "1" / path).parent.mkdir(parents=True, exist_ok=True)
        (source / "cat" / "1" / path).write_bytes(content)
    expected = {f"cat/1/{path}": content for path, content in LISTED.items()}
    assert fetch(f"{scheme}{source}", target).exit_code == 0
    assert files(target) == expected
    assert "0 of them new or changed" in fetch(f"{scheme}{source}", target).stdout
    (source / "cat" / "1" / "model.onnx").write_bytes(b"other")
    assert "1 of them new or changed" in fetch(f"{scheme}{source}", target).stdout
    assert files(target) == expected | {"cat/1/model.onnx": b"other"}


def test_what_was_fetched_can_be_fetched_from(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "model.onnx").write_bytes(b"graph")
    for source, target in (("a", "b"), ("b", "c")):
        result = fetch(tmp_path / source, tmp_path / target)
        assert (result.exit_code, files(tmp_path / target)) == (0, {"model.onnx": b"graph"}), result.output


@pytest.mark.parametrize("url", ["ftp://host/file", "s3://", "https://", "s3:///x", "http://[/x"])
def test_another_kind_of_url_is_refused(fetch: Fetch, tmp_path: Path, url: str) -> None:
    result = fetch(url, tmp_path / "new")
    assert (result.exit_code, (tmp_path / "new").exists()) == (1, False)
    assert result.stderr.count("\n") == 1


def test_an_endpoint_that_is_not_encrypted_must_be_asked_for(fetch: Fetch, tmp_path: Path) -> None:
    result = fetch("--endpoint-url", "http://me:pw@host/x", "s3://bucket/models", tmp_path)
    assert (result.exit_code, result.stderr) == (
        1,
        "onnicorn: http://host/x is not encrypted: use https://, or say --insecure-http if you mean it\n",
    )


def test_an_endpoint_is_for_s3(fetch: Fetch, tmp_path: Path) -> None:
    result = fetch("--endpoint-url", "http://x", "https://host/file", tmp_path)
    assert result.exit_code == 1
    assert "--endpoint-url is for s3:// only" in result.stderr


def test_a_store_whose_library_is_missing_says_which(
    fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    result = fetch("gs://bucket/models", tmp_path)
    assert result.exit_code == 1
    assert "gs://bucket/models needs the extra 'gs': pip install 'onnicorn[gs]'" in result.stderr
