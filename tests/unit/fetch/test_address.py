"""What a URL means, and what may be shown of it."""

from pathlib import Path

import pytest

from service.fetch.address import Address
from service.fetch.failures import FetchFailed

PORTS = ("https://h:8443/m@v1/x", "https://[::1]:8443/m@v1/x", "https://[::1]/m@v1/x")
ODD = (
    *("https://me:pw/pw@host/a", "https://me:p@pw/pw@host/a", "https://me:pw?pw@host/a", "https://me:pw#pw@host/a"),
    *("s3://me:pw@bucket/a", "s3://me:pw/pw@bucket/a", "ftp://me:pw/pw@host/a"),
)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("s3://bucket/a/b", Address("s3", "s3", "s3://bucket/a/b", "s3://bucket/a/b")),
        ("s3://bucket/a/b/", Address("s3", "s3", "s3://bucket/a/b", "s3://bucket/a/b")),
        ("S3://bucket/A", Address("s3", "s3", "s3://bucket/A", "s3://bucket/A")),
        ("s3://bucket/a@b:c", Address("s3", "s3", "s3://bucket/a@b:c", "s3://bucket/a@b:c")),
        ("gs://bucket", Address("gs", "gs", "gs://bucket", "gs://bucket")),
        ("az://container/a", Address("az", "az", "az://container/a", "az://container/a")),
        ("https://host/a/", Address("https", "https", "https://host/a/", "https://host/a/")),
        ("https://me:pw@host/a?sig=x", Address("https", "https", "https://me:pw@host/a?sig=x", "https://host/a")),
        (" \thttps://host/a\n", Address("https", "https", "https://host/a", "https://host/a")),
        *((url, Address("https", "https", url, url)) for url in PORTS),
        ("HTTPS://host/a@b", Address("https", "https", "https://host/a@b", "https://host/a@b")),
        ("file:///a%20b/", Address("file", "", "/a b", "/a b")),
        ("models/", Address("file", "", f"{Path.cwd()}/models", f"{Path.cwd()}/models")),
        ("/", Address("file", "", "/", "/")),
    ],
)
def test_a_url_is_understood(url: str, address: Address) -> None:
    assert Address.parse(url) == address


@pytest.mark.parametrize(
    ("url", "name"),
    [("s3://b/a%20b", "a%20b"), ("https://h/x/a%20b?c/d", "a b"), ("https://h/x/", ""), ("a/b.onnx", "b.onnx")],
)
def test_a_file_has_the_name_that_its_url_ends_with(url: str, name: str) -> None:
    assert Address.parse(url).name == name


@pytest.mark.parametrize(
    "urls",
    [
        ("https://host/a?tenant=1", "https://host/a?tenant=2", "https://host:1/a?tenant=1", "http://host/a?tenant=1"),
        ("s3://b/a", "s3://b/a?b", "s3://b/a#b", "gs://b/a", "/b/a"),
    ],
)
def test_the_whole_tells_addresses_apart(urls: tuple[str, ...]) -> None:
    assert len({Address.parse(url, allow_http=True).whole for url in urls}) == len(urls)


def test_who_asks_is_no_part_of_the_whole() -> None:
    assert Address.parse("https://me:pw@host/a?b").whole == Address.parse("https://host/a?b").whole


@pytest.mark.parametrize(
    ("url", "is_folder"),
    [("https://h/cat/?sig=x", True), ("https://h/cat/", True), ("https://h/cat/model.onnx?sig=ab/", False)],
)
def test_the_path_says_whether_a_url_is_a_folder(url: str, is_folder: bool) -> None:
    assert Address.parse(url).is_folder == is_folder


def test_a_name_means_in_a_url_what_it_means_in_a_list() -> None:
    beside = Address.parse("https://host/a/?sig=x").beside("golden/1#2?%20 ä.json")
    assert beside.path == "https://host/a/golden/1%232%3F%2520%20%C3%A4.json?sig=x"
    assert beside.shown == "https://host/a/golden/1#2?%20 ä.json"


def test_what_signs_a_url_signs_the_one_beside_it() -> None:
    beside = Address.parse("https://host/a/model.onnx?sig=x").beside("SHA256SUMS")
    assert (beside.path, beside.shown) == ("https://host/a/SHA256SUMS?sig=x", "https://host/a/SHA256SUMS")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://me:pw@host/a?sig=x", "http://host/a is not encrypted: use https://, or say --insecure-http"),
        ("", " cannot be fetched: expected s3://BUCKET/PREFIX, "),
        ("ftp://host/a", "ftp://host/a cannot be fetched: expected s3://BUCKET/PREFIX, "),
        ("https://[me:pw@host/a", "the URL cannot be understood: "),
        ("https://me:pw@\N{FULLWIDTH QUESTION MARK}/a", "the URL cannot be understood: "),
        *((url, "the URL has ':' and '@' where no password can be: ") for url in ODD),
    ],
)
def test_a_url_of_another_kind_is_refused_without_its_secrets(url: str, sentence: str) -> None:
    with pytest.raises(FetchFailed) as caught:
        Address.parse(url)
    assert str(caught.value).startswith(sentence)
    assert "pw" not in str(caught.value)
