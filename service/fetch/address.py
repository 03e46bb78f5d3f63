"""A URL to fetch from, and what may be shown of it: queries and passwords are secrets of whoever signed it."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from service.fetch.failures import FetchFailed

# The scheme's name in fsspec, and the extra of this package that has the library.
_STORES: Final = {
    "s3": ("s3", "s3"),
    "gs": ("gs", "gs"),
    "az": ("az", "az"),
    "https": ("https", "https"),
    "http": ("http", "https"),
    "file": ("file", ""),
    "": ("file", ""),
}
# With nobody's name in front of it.
_HOST: Final = re.compile(r"(\[[^@]*\]|[^:@]*)(:\d+)?")
_TAKEN: Final = "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, https://HOST/FILE or a path"


@dataclass(frozen=True, slots=True)
class Address:
    """`path` is what fsspec wants to have; `shown` is without secrets, and what the record of a folder keeps."""

    protocol: str
    extra: str
    path: str
    shown: str

    @classmethod
    def parse(cls, url: str, allow_http: bool = False) -> "Address":
        """Raises FetchFailed for a URL of another kind."""
        if url and "://" not in url:
            path = str(Path(url).absolute())  # the same one wherever the next fetch is started
            return cls("file", "", path, path)
        url = url.strip()
        scheme, host, path, _, _ = _split(url)
        url = f"{scheme}{url[len(scheme) :]}"  # in small letters, as fsspec wants it
        is_web = scheme in ("https", "http")
        _refuse_odd_passwords(url, host, is_web)
        if scheme not in _STORES or not (host if scheme != "file" else path):
            raise FetchFailed(f"{_shown(url)} cannot be fetched: expected {_TAKEN}")
        if scheme == "http" and not allow_http:
            raise FetchFailed(f"{_shown(url)} is not encrypted: use https://, or say --insecure-http if you mean it")
        if scheme == "file":
            return cls.parse(unquote(path))
        return cls(*_STORES[scheme], url if is_web else url.rstrip("/"), _shown(url))

    @property
    def is_web(self) -> bool:
        """No list can be had there."""
        return self.protocol in ("http", "https")

    @property
    def whole(self) -> str:
        """All of it but who asks."""
        return f"{self.shown}?{_split(self.path).query}" if self.is_web else self.path

    @property
    def is_folder(self) -> bool:
        """What a URL of the web can say only by its end."""
        return _split(self.path).path.endswith("/")

    @property
    def name(self) -> str:
        """Of the one file that is meant, where one is."""
        path = _split(self.path).path if self.is_web else self.path
        return unquote(path.rpartition("/")[2]) if self.is_web else path.rpartition("/")[2]

    def beside(self, name: str) -> "Address":
        """Another file in the same folder; what signed this one's URL goes along."""
        return Address(self.protocol, self.extra, _beside(self.path, name, self.is_web), _beside(self.shown, name))


def _beside(url: str, name: str, is_web: bool = False) -> str:
    if not is_web:
        return f"{url.rpartition('/')[0]}/{name}"
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rpartition('/')[0]}/{quote(os.fsencode(name))}"))


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # it would say the password
        raise FetchFailed("the URL cannot be understood: expected SCHEME://HOST/PATH") from None


def _refuse_odd_passwords(url: str, host: str, is_web: bool) -> None:
    """A slash in one ends the host, and a bucket has none: what comes behind would be shown."""
    _, _, rest = url.partition("//")
    is_clear = ":" not in host or (is_web and _HOST.fullmatch(host))
    if not is_clear and "@" in (rest.removeprefix(host) if is_web else rest):
        raise FetchFailed(
            "the URL has ':' and '@' where no password can be: https:// alone takes one, '@' and '/' as %40 and %2F"
        )


def _shown(url: str) -> str:
    scheme, host, path, _, _ = _split(url)
    path = path if scheme in ("http", "https") else path.rstrip("/")
    return urlunsplit((scheme, host.rpartition("@")[2], path, "", ""))
