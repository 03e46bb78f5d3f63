"""Code that is not ours, which may raise anything at all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import OnnicornError, RepositoryError


@contextmanager
def foreign(failure: Callable[[BaseException], OnnicornError]) -> Iterator[None]:
    """Whatever is raised within becomes a failure of ours; what a model is refused for stays.

    Also what is no Exception, such as the panic of an extension in Rust, or `sys.exit`. Ctrl-C is somebody else's.
    """
    try:
        yield
    except (RepositoryError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise failure(error) from error


def one_line(error: BaseException) -> str:
    """What somebody else's exception says, as a part of a sentence."""
    return " ".join(f"{type(error).__name__}: {error}".split())
