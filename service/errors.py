"""Everything that can go wrong, in the caller's terms.

    OnnicornError
      CallerError                the caller must change the request
        MalformedRequest           the body cannot be understood
        SignatureMismatch          the body is fine, the model wants something else
        ModelNotFound, VersionNotFound
        NotFound, MethodNotAllowed   no such path; the path has no such method
        RequestTooLarge, HeadersTooLarge, UriTooLong, UnsupportedMedia, AnswerTooLarge
        RequestTimeout             head or body came too slowly
        Unauthenticated, Forbidden   nobody known asks; somebody who may not
        ReloadRefused              what the repository holds now cannot be served
      ServiceError               the caller did nothing wrong
        InferenceFailed            the model raised while it ran
        TransformFailed            the code beside it did
        InternalError, Interrupted   we made a mistake; we had to end first
        ModelNotReady, Draining, Overloaded
                                   nothing was run: the same request may be sent again
        DeadlineExceeded           the caller's time was over before there was an answer
        ReloadInProgress           a reload takes longer than a caller can wait
      StartError                 an operator must change something before the service can start
        SettingsError, AddressUnavailable, Contradiction, RepositoryError

No class knows a status number: `web/problems.py` has the one table of them. A message names the thing, what was
expected and what came. Messages of `ServiceError` are public too, so they never carry an exception's text: that is
logged under the same request id. What can go wrong in one place of the start only is defined there, as a StartError.
The first line of a class's docstring is what the README says of its code.
"""

from typing import ClassVar, Self

from service.quoting import printable, quoted


class OnnicornError(Exception):
    """Root of the tree. `code` is the stable slug that clients may branch on."""

    code: ClassVar[str]

    def anew(self) -> Self:
        """The same, without where it has been raised: what keeps an error and raises it again raises this."""
        fresh = type(self).__new__(type(self), *self.args)
        fresh.__dict__.update(self.__dict__)
        return fresh


class CallerError(OnnicornError):
    """The request is at fault; sending it again unchanged will fail again, unless it only came too slowly."""


class MalformedRequest(CallerError):
    """The body cannot be understood."""

    code = "malformed_request"


class SignatureMismatch(CallerError):
    """The body is understood, but the model wants other tensors."""

    code = "signature_mismatch"


class ModelNotFound(CallerError):
    """There is no such model."""

    code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(f"model {quoted(model)} is not served here; GET /v2/models lists the models that are")


class VersionNotFound(CallerError):
    """The model has no such version."""

    code = "version_not_found"

    def __init__(self, model: str, version: str, served: list[int]) -> None:
        numbers = ", ".join(map(str, served))
        super().__init__(f"model {model!r} has no version {quoted(version)}; the versions served are {numbers}")


class NotFound(CallerError):
    """There is no such path."""

    code = "not_found"


class MethodNotAllowed(CallerError):
    """The path does not know the method; the `Allow` header has those that it knows.

    `allowed` is that header's value.
    """

    code = "method_not_allowed"

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


class RequestTooLarge(CallerError):
    """The body, also decompressed, is larger than `http.max_body_bytes` or, like its tensors, `admission.max_bytes`."""

    code = "request_too_large"


class HeadersTooLarge(CallerError):
    """The headers are more, or larger, than `limits.headers` and `limits.header_bytes`."""

    code = "headers_too_large"


class UriTooLong(CallerError):
    """The request's target is longer than `limits.uri_bytes`."""

    code = "uri_too_long"


class AnswerTooLarge(CallerError):
    """The answer would be larger than `limits.answer_bytes`; the model has run."""

    code = "answer_too_large"


class RequestTimeout(CallerError):
    """The head or the body came too slowly: `limits.header_seconds`, `limits.body_seconds`."""

    code = "request_timeout"


class Unauthenticated(CallerError):
    """An API key is needed, and none that is known was sent."""

    code = "unauthenticated"


class Forbidden(CallerError):
    """The API key is known, but does not allow this; or nobody may, by the service's settings."""

    code = "forbidden"


class UnsupportedMedia(CallerError):
    """The `Content-Type` or `Content-Encoding` is not one that is read.

    `accept_encoding` is set when it was the content coding (RFC 9110, 12.5.3).
    """

    code = "unsupported_media"

    def __init__(self, message: str, accept_encoding: str | None = None) -> None:
        super().__init__(message)
        self.accept_encoding = accept_encoding


class ReloadRefused(CallerError):
    """What the repository holds now cannot be served; no model has changed."""

    code = "reload_refused"


class ServiceError(OnnicornError):
    """The service or the model is at fault."""


class InferenceFailed(ServiceError):
    """The model raised an error while it ran, or ran for too long.

    `terminated` is the latter: another attempt would take as long.
    """

    code = "inference_failed"

    def __init__(self, model: str, version: int, *, terminated: bool = False) -> None:
        super().__init__(f"model {model!r} version {version} failed while it ran; the log has the reason")
        self.terminated = terminated


class TransformFailed(ServiceError):
    """The model's transform raised an error, or made something else than it promises; `terminated` is as above."""

    code = "transform_failed"

    def __init__(self, model: str, version: int, *, terminated: bool = False) -> None:
        super().__init__(f"the transform of model {model!r} version {version} failed; the log has the reason")
        self.terminated = terminated


class InternalError(ServiceError):
    """The service made a mistake."""

    code = "internal_error"

    def __init__(self) -> None:
        super().__init__("the service failed; the log has the reason under this request id")


class ModelNotReady(ServiceError):
    """The model is in the repository, but could not be loaded."""

    code = "model_not_ready"

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(f"model {model!r} is not ready: {reason}")


class Draining(ServiceError):
    """The service is ending and takes nothing new; nothing was run, or of a stream not the `rest`."""

    code = "draining"

    def __init__(self, rest: str = "") -> None:
        what = f"{rest} were not run, send them" if rest else "nothing was run, send the request"
        super().__init__(f"the service is ending; {what} to another instance")


class Overloaded(ServiceError):
    """There is more to do than can be done in time; nothing was run, so anything may be sent again, a POST too.

    `reason` is one of a closed set, for the metric. `retry_after` is in seconds.
    """

    code = "overloaded"

    def __init__(self, message: str, reason: str, retry_after: float) -> None:
        super().__init__(f"{message}; nothing was run, the request may be sent again")
        self.reason = reason
        self.retry_after = retry_after


class DeadlineExceeded(ServiceError):
    """The request's time was over before its answer was ready; the sentence says where it was.

    `stage` is body, decode, queue, run or encode.
    """

    code = "deadline_exceeded"

    def __init__(self, stage: str, seconds: float) -> None:
        super().__init__(f"the request's timeout of {seconds * 1000:.10g} ms passed in stage {stage!r}")
        self.stage = stage


class ReloadInProgress(ServiceError):
    """The reload that was asked for has not ended yet; it goes on."""

    code = "reload_in_progress"

    def __init__(self) -> None:
        super().__init__("the reload has not ended yet; POST /v2/repository/index says how it ends")


class Interrupted(ServiceError):
    """The service ended before the request was finished; it may have been run."""

    code = "interrupted"

    def __init__(self) -> None:
        super().__init__("the service ended before the request was finished")


class StartError(OnnicornError):
    """Said in one line on standard error, without a traceback; the exit code is not 0."""


class SettingsError(StartError):
    """A variable is unknown, or its value is not one that it takes."""

    code = "settings_error"


class AddressUnavailable(StartError):
    """Another process listens there, or we may not."""

    code = "address_unavailable"


class Contradiction(StartError):
    """Gunicorn was told something that breaks a promise of ours."""

    code = "contradiction"


class RepositoryError(StartError):
    """The repository, a model in it, or a declaration cannot be used."""

    code = "repository_error"

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))
