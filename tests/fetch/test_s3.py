"""`onnicorn fetch s3://...` against a real S3 API: whole, verified, and only what has changed."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from tests.fetch.conftest import Bucket, Fetch, files

SMALL = {
    "cat/model.toml": b"",
    "cat/1/model.onnx": b"weights",
    "cat/1/golden/one.json": b"{}",
    "dog/3/model.onnx": b"dog",
}


def upload(bucket: Bucket, objects: dict[str, bytes], prefix: str = "models/") -> None:
    for path, content in objects.items():
        bucket.upload(f"{prefix}{path}", content)


def sums(objects: dict[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in objects.items()).encode()


def test_everything_below_a_prefix_comes(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)
    upload(bucket, {"models-of-others/1/model.onnx": b"not ours"}, "")
    result = fetch("s3://bucket/models", tmp_path / "new" / "models")
    assert (result.exit_code, files(tmp_path / "new" / "models")) == (0, SMALL), result.stderr
    assert result.stdout == f"{tmp_path}/new/models: 4 files, 4 of them new or changed, 12 bytes fetched\n"


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/"])
def test_a_whole_bucket_comes(bucket: Bucket, fetch: Fetch, tmp_path: Path, url: str) -> None:
    upload(bucket, SMALL, "")
    assert fetch(url, tmp_path).exit_code == 0
    assert files(tmp_path) == SMALL


def test_the_endpoint_can_be_an_option(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)
    assert (
        fetch(
            "s3://bucket/models", tmp_path, "--insecure-http", "--endpoint-url", bucket.url, AWS_ENDPOINT_URL=None
        ).exit_code
        == 0
    )
    assert files(tmp_path) == SMALL


def test_one_object_comes_by_its_own_name(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)
    assert fetch("s3://bucket/models/cat/1/model.onnx", tmp_path).exit_code == 0
    assert files(tmp_path) == {"model.onnx": b"weights"}


def test_names_need_no_care(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    odd = {"a b/1/ä%20*?[x]#+&.onnx": b"odd"}
    upload(bucket, odd)
    assert fetch("s3://bucket/models", tmp_path).exit_code == 0
    assert files(tmp_path) == odd


def test_a_folder_that_a_console_has_made_and_an_empty_object_are_no_trouble(
    bucket: Bucket, fetch: Fetch, tmp_path: Path
) -> None:
    upload(bucket, {"": b"", "cat/": b"", "cat/model.toml": b""})
    assert fetch("s3://bucket/models", tmp_path).exit_code == 0
    assert files(tmp_path) == {"cat/model.toml": b""}


def test_a_second_run_reads_nothing(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)
    fetch("s3://bucket/models", tmp_path)
    inodes = {path: (tmp_path / path).stat().st_ino for path in SMALL}
    result = fetch("s3://bucket/models", tmp_path)
    assert result.stdout == f"{tmp_path}: 4 files, 0 of them new or changed, 0 bytes fetched\n"
    assert bucket.server.read() == []
    assert {path: (tmp_path / path).stat().st_ino for path in SMALL} == inodes


def test_only_what_has_changed_there_is_read_again(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)
    fetch("s3://bucket/models", tmp_path)
    changed = {"cat/1/model.onnx": b"better!", "cat/2/model.onnx": b"newer"}
    upload(bucket, changed)
    result = fetch("s3://bucket/models", tmp_path)
    assert "2 of them new or changed" in result.stdout, result.output
    assert sorted(bucket.server.read()) == [
        f"GET /bucket/models/{path} bytes=0-{len(content) - 1}" for path, content in changed.items()
    ]
    assert files(tmp_path) == SMALL | changed


@pytest.mark.parametrize("change", ["edited", "gone"])
def test_what_has_changed_here_is_read_again(bucket: Bucket, fetch: Fetch, tmp_path: Path, change: str) -> None:
    upload(bucket, SMALL)
    fetch("s3://bucket/models", tmp_path)
    file = tmp_path / "dog" / "3" / "model.onnx"
    if change == "gone":
        file.unlink()
    else:
        file.write_bytes(b"fox")
        os.utime(file, ns=(0, 0))
    assert "1 of them new or changed" in fetch("s3://bucket/models", tmp_path).stdout
    assert files(tmp_path) == SMALL


def test_another_source_is_read_in_full(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)
    upload(bucket, SMALL, "others/")
    fetch("s3://bucket/models", tmp_path)
    assert "4 of them new or changed" in fetch("s3://bucket/others", tmp_path).stdout


def test_nothing_that_lay_there_is_deleted(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)
    fetch("s3://bucket/models", tmp_path)
    mine = {"cat/1/golden/mine.json": b"{}", "cat/1/notes/x": b"x", "owl/1/model.onnx": b"owl"}
    for path, content in mine.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    bucket.client.delete_object(Bucket="bucket", Key="models/dog/3/model.onnx")
    upload(bucket, {"cat/1/golden/one.json": b"{1}"})
    (tmp_path / "dog" / "3" / "notes").write_bytes(b"x")
    assert fetch("s3://bucket/models", tmp_path).exit_code == 0
    kept = {path: content for path, content in SMALL.items() if path != "dog/3/model.onnx"}
    assert files(tmp_path) == kept | mine | {"cat/1/golden/one.json": b"{1}", "dog/3/notes": b"x"}


def test_the_same_url_at_another_endpoint_removes_nothing(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)
    fetch("s3://bucket/models", tmp_path)
    for key in ("models/dog/3/model.onnx", "models/cat/model.toml"):
        bucket.client.delete_object(Bucket="bucket", Key=key)
    another = {"AWS_ENDPOINT_URL": bucket.url.replace("127.0.0.1", "localhost"), "no_proxy": "127.0.0.1,localhost"}
    result = fetch("s3://bucket/models", tmp_path, **another)
    assert result.stdout == f"{tmp_path}: 2 files, 0 of them new or changed, 0 bytes fetched\n", result.output
    assert files(tmp_path) == SMALL
    assert "2 files removed" in fetch("s3://bucket/models", tmp_path).stdout


def test_a_version_that_is_withdrawn_goes(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)
    fetch("s3://bucket/models", tmp_path)
    bucket.client.delete_object(Bucket="bucket", Key="models/dog/3/model.onnx")
    result = fetch("s3://bucket/models", tmp_path)
    assert result.stdout == f"{tmp_path}: 3 files, 0 of them new or changed, 1 file removed, 0 bytes fetched\n"
    assert not (tmp_path / "dog").exists()
    assert fetch("s3://bucket/models", tmp_path).stdout.endswith("3 files, 0 of them new or changed, 0 bytes fetched\n")


def test_what_a_list_at_the_top_does_not_name_any_more_goes(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    """Or the service would refuse the whole for what is not listed."""
    upload(bucket, SMALL | {"SHA256SUMS": sums(SMALL)})
    fetch("s3://bucket/models", tmp_path)
    bucket.client.delete_object(Bucket="bucket", Key="models/cat/model.toml")
    left = {path: content for path, content in SMALL.items() if path != "cat/model.toml"}
    upload(bucket, {"SHA256SUMS": sums(left)})
    assert fetch("s3://bucket/models", tmp_path).exit_code == 0
    assert files(tmp_path) == left | {"SHA256SUMS": sums(left)}


def test_checksums_that_hold_are_no_trouble(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    version = {"model.onnx": b"weights", "golden/one.json": b"{}"}
    upload(bucket, version | {"SHA256SUMS": sums(version)}, "models/cat/1/")
    assert fetch("s3://bucket/models", tmp_path).exit_code == 0
    assert fetch("s3://bucket/models", tmp_path).exit_code == 0
    assert files(tmp_path / "cat" / "1") == version | {"SHA256SUMS": sums(version)}


def test_a_list_that_was_begun_before_its_digests_were_made_is_no_trouble(
    bucket: Bucket, fetch: Fetch, tmp_path: Path
) -> None:
    version = {"model.onnx": b"weights"}
    listed = sums(version | {"SHA256SUMS": b""})
    upload(bucket, version | {"SHA256SUMS": listed}, "models/cat/1/")
    result = fetch("s3://bucket/models", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert files(tmp_path / "cat" / "1") == version | {"SHA256SUMS": listed}


def test_a_version_that_is_uploaded_again_with_one_file_less_has_one_less_here(
    bucket: Bucket, fetch: Fetch, tmp_path: Path
) -> None:
    version = {"model.onnx": b"weights", "golden/one.json": b"{}", "golden/five.json": b"{5}"}
    upload(bucket, version | {"SHA256SUMS": sums(version)}, "models/cat/1/")
    fetch("s3://bucket/models", tmp_path)
    (tmp_path / "cat" / "1" / "notes").write_bytes(b"mine")
    bucket.client.delete_object(Bucket="bucket", Key="models/cat/1/golden/five.json")
    del version["golden/five.json"]
    upload(bucket, {"SHA256SUMS": sums(version)}, "models/cat/1/")
    assert fetch("s3://bucket/models", tmp_path).exit_code == 0
    assert files(tmp_path / "cat" / "1") == version | {"SHA256SUMS": sums(version), "notes": b"mine"}


def test_what_was_fetched_is_counted_whole(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    listed = sums({"model.onnx": b"weights"})
    upload(bucket, {"model.onnx": b"weights", "SHA256SUMS": listed}, "models/cat/1/")
    result = fetch("s3://bucket/models", tmp_path)
    assert result.stdout == f"{tmp_path}: 2 files, 2 of them new or changed, {len(listed) + 7} bytes fetched\n"


def test_a_file_here_that_cannot_be_read_is_one_line(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    version = {"model.onnx": b"weights"}
    upload(bucket, version | {"SHA256SUMS": sums(version)}, "models/cat/1/")
    fetch("s3://bucket/models", tmp_path)
    (tmp_path / ".fetch" / "record.json").unlink()
    (tmp_path / ".fetch" / "record.json").mkdir()
    result = fetch("s3://bucket/models", tmp_path)
    assert result.exit_code == 1
    assert f"{tmp_path}/.fetch/record.json cannot be read: Is a directory" in result.stderr


def test_a_wrong_checksum_changes_nothing_here(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)
    fetch("s3://bucket/models", tmp_path)
    version = {"model.onnx": b"new weights"}
    upload(bucket, version | {"SHA256SUMS": sums({"model.onnx": b"others"})}, "models/fox/2/")
    came, listed = (hashlib.sha256(content).hexdigest()[:12] for content in (b"new weights", b"others"))
    for _ in range(2):  # and what came is not taken for good the next time
        result = fetch("s3://bucket/models", tmp_path)
        assert (result.exit_code, result.stdout, files(tmp_path)) == (1, "", SMALL)
        assert result.stderr.splitlines()[-1] == (
            f"onnicorn: s3://bucket/models/fox/2/model.onnx has SHA-256 {came}..., s3://bucket/models/fox/2/SHA256SUMS "
            f"says {listed}...: nothing was changed here; upload the two again"
        )
    upload(bucket, {"SHA256SUMS": sums(version)}, "models/fox/2/")
    assert fetch("s3://bucket/models", tmp_path).exit_code == 0


def test_what_was_damaged_here_is_fetched_again(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    version = {"model.onnx": b"weights"}
    upload(bucket, version | {"SHA256SUMS": sums(version)}, "models/cat/1/")
    fetch("s3://bucket/models", tmp_path)
    file = tmp_path / "cat" / "1" / "model.onnx"
    before = file.stat()
    file.write_bytes(b"weighty")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    result = fetch("s3://bucket/models", tmp_path)
    assert result.exit_code == 75
    assert result.stderr.splitlines()[-1].startswith(f"onnicorn: {file} has SHA-256 ")
    assert result.stderr.endswith(": it was damaged here; run it again, it is fetched anew\n")
    assert fetch("s3://bucket/models", tmp_path).exit_code == 0
    assert file.read_bytes() == b"weights"


def test_everything_that_was_damaged_is_fetched_by_the_next_run(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    version = {"model.onnx": b"weights", "model.data": b"data"}
    upload(bucket, version | {"SHA256SUMS": sums(version)}, "models/cat/1/")
    fetch("s3://bucket/models", tmp_path)
    for name, content in version.items():
        file = tmp_path / "cat" / "1" / name
        before = file.stat()
        file.write_bytes(content[::-1])
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert fetch("s3://bucket/models", tmp_path).exit_code == 75
    assert "2 of them new or changed" in fetch("s3://bucket/models", tmp_path).stdout


def test_a_list_that_is_not_whole_stops_before_anything_is_read(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    listed = sums({"model.onnx": b"w", "model.data": b"d"})
    upload(bucket, {"model.onnx": b"w", "SHA256SUMS": listed}, "models/cat/1/")
    result = fetch("s3://bucket/models", tmp_path)
    assert (result.exit_code, files(tmp_path)) == (1, {})
    assert "SHA256SUMS lists 'cat/1/model.data', which is not there: upload it" in result.stderr
    assert bucket.server.read() == [f"GET /bucket/models/cat/1/SHA256SUMS bytes=0-{len(listed) - 1}"]


def test_what_is_not_listed_is_not_taken(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, {"model.onnx": b"w", "model.data": b"d", "SHA256SUMS": sums({"model.onnx": b"w"})}, "models/cat/1/")
    result = fetch("s3://bucket/models", tmp_path)
    assert (result.exit_code, files(tmp_path)) == (1, {})
    assert "models/cat/1/model.data is not listed in s3://bucket/models/cat/1/SHA256SUMS" in result.stderr


def test_checksums_that_are_none_are_named_by_their_url(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, {"model.onnx": b"w", "SHA256SUMS": b"?\n"}, "models/cat/1/")
    result = fetch("s3://bucket/models", tmp_path)
    assert (result.exit_code, files(tmp_path)) == (1, {})
    assert "onnicorn: s3://bucket/models/cat/1/SHA256SUMS: line 1 is '?': " in result.stderr


def test_one_object_is_held_against_the_checksums_beside_it(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    listed = {"model.onnx": b"weights", "other.onnx": b"other"}
    upload(bucket, listed | {"SHA256SUMS": sums(listed)})
    assert fetch("s3://bucket/models/model.onnx", tmp_path).exit_code == 0
    assert files(tmp_path) == {"model.onnx": b"weights"}
    upload(bucket, {"model.onnx": b"damaged"})
    assert fetch("s3://bucket/models/model.onnx", tmp_path).exit_code == 1
    assert files(tmp_path) == {"model.onnx": b"weights"}


def test_an_object_that_changes_while_it_is_read_is_not_taken(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)

    def change(asked: str) -> None:
        if asked.startswith("GET /bucket/models/dog/3/model.onnx"):
            bucket.server.before = lambda asked: None
            upload(bucket, {"cat/1/model.onnx": b"replace"})

    bucket.server.before = change
    result = fetch("s3://bucket/models", tmp_path)
    assert (result.exit_code, result.stdout, files(tmp_path)) == (75, "", {})
    assert result.stderr.splitlines()[-1] == (
        "onnicorn: s3://bucket/models has changed while it was fetched: run it again"
    )
    assert fetch("s3://bucket/models", tmp_path).exit_code == 0
    assert files(tmp_path) == SMALL | {"cat/1/model.onnx": b"replace"}


def test_an_object_that_vanishes_while_it_is_read_has_changed(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)

    def delete(asked: str) -> None:
        if asked.startswith("GET /bucket/models/dog/3/model.onnx"):
            bucket.server.before = lambda asked: None
            bucket.client.delete_object(Bucket="bucket", Key="models/dog/3/model.onnx")

    bucket.server.before = delete
    result = fetch("s3://bucket/models", tmp_path)
    assert (result.exit_code, files(tmp_path)) == (75, {})
    assert "dog/3/model.onnx has changed while it was fetched: run it again" in result.stderr


def test_a_name_that_no_bucket_has_is_one_line(fetch: Fetch, tmp_path: Path) -> None:
    result = fetch("s3://<your-bucket>/models", tmp_path)
    assert result.exit_code == 1
    assert "onnicorn: s3://<your-bucket>/models: Parameter validation failed: Invalid bucket name" in result.stderr


@pytest.mark.parametrize("url", ["s3://no-such-bucket/models", "s3://bucket/nothing", "s3://bucket"])
def test_nothing_there_is_one_line(bucket: Bucket, fetch: Fetch, tmp_path: Path, url: str) -> None:
    result = fetch(url, tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == f"onnicorn: there is nothing at {url}"


def test_no_permission_is_one_line(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)
    bucket.server.before = lambda asked: "403 Forbidden"
    result = fetch("s3://bucket/models", tmp_path)
    assert (result.exit_code, files(tmp_path)) == (1, {})
    [line] = result.stderr.splitlines()
    assert line.startswith("onnicorn: s3://bucket/models: these credentials may not read it: ")


def test_no_credentials_is_one_line(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    nobody = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"))
    nowhere = {"AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_CONFIG_FILE": "/nowhere"}
    result = fetch("s3://bucket/models", tmp_path, **nobody, **nowhere)
    assert result.exit_code == 1
    assert "s3://bucket/models: no usable credentials were found (--anonymous needs none)" in result.stderr


def test_a_public_bucket_needs_none(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    bucket.client.put_bucket_acl(Bucket="bucket", ACL="public-read")
    bucket.client.put_object(Bucket="bucket", Key="models/model.onnx", Body=b"weights", ACL="public-read")
    nobody = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    assert fetch("s3://bucket/models", tmp_path, "--anonymous", **nobody).exit_code == 0
    assert files(tmp_path) == {"model.onnx": b"weights"}


def test_a_store_that_fails_now_and_then_is_asked_again(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)
    failures = iter([True, True])
    bucket.server.before = lambda asked: "503 Slow Down" if "dog" in asked and next(failures, False) else None
    assert fetch("s3://bucket/models", tmp_path).exit_code == 0
    assert files(tmp_path) == SMALL


def test_nobody_tries_again_but_us(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)
    answers = iter(["500 Internal Server Error", "503 Slow Down"])
    bucket.server.before = lambda asked: next(answers, None) if "dog" in asked else None
    result = fetch("s3://bucket/models", tmp_path)
    assert (result.exit_code, files(tmp_path)) == (0, SMALL)
    assert len([asked for asked in bucket.server.asked if "dog" in asked]) == 3
    assert result.stderr.count("fetch_trying_again") == 2


@pytest.mark.parametrize("key", ["models/cat/../../../x", "models//x", "models/a\\..\\b", "models/.fetch"])
def test_a_key_that_leads_out_of_the_folder_is_refused(bucket: Bucket, fetch: Fetch, tmp_path: Path, key: str) -> None:
    bucket.upload(key, b"evil")
    result = fetch("s3://bucket/models", tmp_path / "in" / "models")
    assert (result.exit_code, files(tmp_path)) == (1, {})
    assert "rename the object" in result.stderr


def test_a_link_is_not_followed_out_of_the_folder(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)
    folder, outside = tmp_path / "models", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "cat").symlink_to(outside)
    result = fetch("s3://bucket/models", folder)
    assert (result.exit_code, files(outside)) == (1, {})
    assert f"{folder}/cat is no folder, and there is one to be fetched for its place: move it away" in result.stderr
    assert bucket.server.read() == []


def test_a_folder_that_cannot_be_written_is_one_line(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)
    (tmp_path / "file").touch()
    result = fetch("s3://bucket/models", tmp_path / "file" / "models")
    assert result.exit_code == 1
    assert "cannot be written: Not a directory" in result.stderr


def test_what_is_logged_is_one_json_line_each(bucket: Bucket, fetch: Fetch, tmp_path: Path) -> None:
    upload(bucket, SMALL)
    [line] = [json.loads(line) for line in fetch("s3://bucket/models", tmp_path).stderr.splitlines()]
    assert (line["event"], line["source"], line["objects"], line["changed"]) == (
        "fetch_begins",
        "s3://bucket/models",
        4,
        4,
    )
