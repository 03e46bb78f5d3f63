"""Why nothing could be measured."""

from service.errors import StartError
from service.quoting import printable


class BenchFailed(StartError):
    """The target, what is sent to it, or the service that was started for it, is not as it must be."""

    code = "bench_failed"

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))
