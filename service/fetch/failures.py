"""Whose fault the error of a store's library is: five libraries, each with a tree of its own."""

import errno
import re
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from service.errors import StartError

# BSD's sysexits.h: a temporary failure.
TRY_AGAIN_LATER: Final = 75
# By name, since none of these libraries need be installed.
_NO_CREDENTIALS: Final = {
    "NoCredentialsError",  # botocore
    "PartialCredentialsError",
    "ProfileNotFound",
    "DefaultCredentialsError",  # google.auth
    "RefreshError",
    "ClientAuthenticationError",  # azure.core
    "CredentialUnavailableError",
}
_NOT_THERE: Final = {404, 410}
_NOT_ALLOWED: Final = {401, 403, 407}
_TRY_AGAIN: Final = {408, 425, 429}
_NOT_IN_RANGE: Final = 416
_NOT_A_NAME: Final = {"ParamValidationError"}  # botocore
# Who asks, in a URL: the name and the password in front of the host.
_WHO: Final = re.compile(r"//[^/\s]*@")
_HOPELESS: Final = {errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR}


class FetchFailed(StartError):
    """Somebody must change something: to try again does not help."""

    code = "fetch_failed"


class FetchInterrupted(StartError):
    """It may succeed the next time, and goes on where it was."""

    code = "fetch_interrupted"


def refusal(error: Exception, shown: str) -> FetchFailed | None:
    """The sentence for an error that trying again does not help, or None."""
    statuses = set(_statuses(error))
    if _is(error, _NO_CREDENTIALS):
        return FetchFailed(f"{shown}: no usable credentials were found (--anonymous needs none): {_one_line(error)}")
    if is_forbidden(error):
        return FetchFailed(f"{shown}: these credentials may not read it: {_one_line(error)}")
    if is_missing(error):
        return FetchFailed(f"there is nothing at {shown}")
    if isinstance(error, TimeoutError):  # S3 says one with a 400
        return None
    if any(400 <= status < 500 for status in statuses - _TRY_AGAIN) or _is(error, _NOT_A_NAME):
        return FetchFailed(f"{shown}: {_one_line(error)}")
    if isinstance(error, ValueError | TypeError) or (isinstance(error, OSError) and error.errno in _HOPELESS):
        return FetchFailed(f"{shown}: {_one_line(error)}")
    return None


def has_changed(error: Exception) -> bool:
    """What was listed is not there any more, or not as long."""
    return is_missing(error) or _NOT_IN_RANGE in _statuses(error)


def is_missing(error: Exception) -> bool:
    """The store has answered that there is no such object."""
    # fsspec says of whatever goes wrong on the web that the file was not found; what went wrong is the cause.
    return bool(_NOT_THERE & set(_statuses(error))) or (
        isinstance(error, FileNotFoundError) and error.__cause__ is None
    )


def is_forbidden(error: Exception) -> bool:
    """The store has answered that whoever asks may not know."""
    return bool(_NOT_ALLOWED & set(_statuses(error))) or isinstance(error, PermissionError)


@contextmanager
def must_be(done: str, path: Path) -> Iterator[None]:
    """An OSError in the block means that `path`, or the file that it names, cannot be "read" or "written"."""
    try:
        yield
    except OSError as error:
        raise FetchFailed(f"{error.filename or path} cannot be {done}: {error.strerror}") from None


def reason(error: Exception) -> str:
    """One line for the log."""
    return f"{type(error).__name__}: {_one_line(error)}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _is(error: Exception, names: Set[str]) -> bool:
    return any(kind.__name__ in names for each in _chain(error) for kind in type(each).__mro__)


def _statuses(error: Exception) -> Iterator[int]:
    """aiohttp calls it `status`, azure `status_code`, gcsfs `code`; botocore keeps it in the answer."""
    for each in _chain(error):
        for name in ("status", "status_code", "code"):
            value = getattr(each, name, None)
            if isinstance(value, int) and 400 <= value < 600:
                yield value
                break  # aiohttp warns whoever asks for its `code`, too
        answer = getattr(each, "response", None)
        if isinstance(answer, dict):
            status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if isinstance(status, int):
                yield status


def _one_line(error: Exception) -> str:
    """The message of a library may have a URL in it: passwords are taken out, and signatures cut off."""
    text = _WHO.sub("//", " ".join(str(error).split())).partition("?")[0]
    return text[:300] or type(error).__name__
