"""The web through fsspec, which by itself reads whatever comes, and takes every error for a file that is not there."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import ClientTimeout
from fsspec.implementations.http import HTTPFileSystem

from service.fetch.failures import FetchFailed

# Of silence, however long the whole takes.
_PATIENCE_SECONDS: Final = 30


class Web(HTTPFileSystem):
    """Says what went wrong, reads no more than was asked for, and leaves TLS only where that is allowed."""

    def __init__(self, allow_http: bool) -> None:
        super().__init__(
            skip_instance_cache=True,
            client_kwargs={
                "timeout": ClientTimeout(total=None, sock_connect=_PATIENCE_SECONDS, sock_read=_PATIENCE_SECONDS),
                "trust_env": True,  # a proxy
                "middlewares": () if allow_http else (_encrypted,),
            },
            # A compressed answer has another length, and a piece of it would be a piece of something else.
            headers={"Accept-Encoding": "identity"},
        )

    async def _info(self, url: str, **_: Any) -> dict[str, Any]:
        """Raises what went wrong."""
        try:
            info: dict[str, Any] = await super()._info(url)
        except FileNotFoundError as error:
            raise error.__cause__ or error from None
        return info

    async def _cat_file(self, url: str, start: int, end: int, **_: Any) -> bytes:
        """Those bytes; one more where the server would send more: without ranges it sends all, however much that is."""
        session = await self.set_session()
        headers = self.kwargs["headers"] | {"Range": f"bytes={start}-{end - 1}"}
        most, content = end - start + 1, bytearray()
        async with session.get(self.encode_url(url), headers=headers) as answer:
            answer.raise_for_status()
            while len(content) < most and (some := await answer.content.read(most - len(content))):
                content += some
        return bytes(content)


async def _encrypted(request: Any, send: Callable[[Any], Awaitable[Any]]) -> Any:
    """Each request comes through here, the ones that follow a redirect too."""
    if request.url.scheme != "https":
        raise FetchFailed(
            f"{request.url.host} is where an https:// URL leads to, without encryption: "
            "say --insecure-http if you mean it"
        )
    return await send(request)
