"""A bucket on a real S3 API, and the command that fetches from it."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import structlog
from botocore.config import Config
from click.testing import CliRunner, Result

from service.cli import main
from tests.fetch.stores import BUCKET, Watched, s3, served

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
Fetch = Callable[..., Result]


@dataclass(frozen=True)
class Bucket:
    """`put` uploads, `server` tells what was asked."""

    url: str
    server: Watched
    client: Any

    def put(self, **objects: bytes) -> None:
        """A double underscore is a slash."""
        for key, content in objects.items():
            self.upload(key.replace("__", "/"), content)

    def upload(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def environment(self) -> dict[str, str]:
        return CREDENTIALS | {"AWS_ENDPOINT_URL": self.url, "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="session")
def s3_server() -> Iterator[tuple[str, Watched]]:
    server = s3()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with served(server) as url:
        yield url, server


@pytest.fixture
def bucket(s3_server: tuple[str, Watched]) -> Iterator[Bucket]:
    """An empty one."""
    url, server = s3_server
    client = boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id="tester",
        aws_secret_access_key="secret",
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    client.create_bucket(Bucket=BUCKET)
    server.before = lambda asked: None
    yield Bucket(url, server, client)
    server.before = lambda asked: None
    for each in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=each["Key"])
    client.delete_bucket(Bucket=BUCKET)
    client.close()
    server.asked.clear()


@pytest.fixture
def fetch(request: pytest.FixtureRequest) -> Iterator[Fetch]:
    """`fetch("s3://bucket/models", folder)`: the result, never an exception."""

    def run(*arguments: str | Path, **variables: str | None) -> Result:
        environment: dict[str, str | None] = {"no_proxy": "127.0.0.1"}
        if "bucket" in request.fixturenames:
            bucket: Bucket = request.getfixturevalue("bucket")
            bucket.server.asked.clear()
            environment |= bucket.environment()
        result = CliRunner().invoke(main, ["fetch", *map(str, arguments)], env=environment | variables)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    yield run
    structlog.reset_defaults()


def files(folder: Path) -> dict[str, bytes]:
    """All that a reader sees there."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".fetch" not in path.parts
    }
