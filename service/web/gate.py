"""Says no to a request for a model before anything has been done for it, where it would wait too long.

The server asks when a request's head has been read, and only where others wait already: whoever would get no answer in
time is told at once, at a fraction of the price, and those who were there before keep their places.
"""

from typing import Any, Final

from service.dataplane import Dataplane
from service.errors import OnnicornError, Overloaded
from service.knobs import Admission
from service.scheduling.arrivals import Arrivals
from service.telemetry.record import Record
from service.web import problems
from service.web.records import record_for
from service.web.routes import inference
from service.web.timeouts import deadline_of

# Where the server finds the gate: in the state that the app's lifespan gives it.
STATE: Final = "onnicorn.gate"
# So many have been done before anybody could be refused.
_FEW: Final = 4


class Open:
    """Lets everybody in: for an app that brings no gate."""

    is_pressed = False

    def __init__(self) -> None:
        self.arrivals = Arrivals()

    def refusal(self, scope: Any, arrived: float) -> Record | None:
        return None


class Gate(Open):
    """One for each worker. `arrivals` is told by the server of every request."""

    def __init__(self, dataplane: Dataplane, bounds: Admission, root_path: str = "") -> None:
        super().__init__()
        self._root_path = root_path
        self._dataplane = dataplane
        self._default_timeout = bounds.default_timeout_ms / 1000
        self._overload_status = bounds.overload_status

    @property
    def is_pressed(self) -> bool:  # type: ignore[override]
        """Is there anything to wait for?"""
        return self.arrivals.waiting > _FEW or self._dataplane.waiting > 0

    def refusal(self, scope: Any, arrived: float) -> Record | None:
        """The record of a request, which came at that moment, if it is not let in; what to answer is its error."""
        asked = inference(scope["path"].removeprefix(self._root_path))
        if asked is None or scope["method"] != "POST":
            return None  # probes, metrics and metadata are never refused
        try:
            lane = self._dataplane.enter(asked.model, asked.version)
            deadline = deadline_of(dict(scope["headers"]), self._default_timeout, arrived)
            lane.admit(deadline, self.arrivals.wait)
        except Overloaded as refusal:
            record = record_for(scope)
            record.route, record.model, record.version = asked.route, lane.model.name, lane.model.version
            problems.note(record, refusal, self._overload_status)
            return record
        except OnnicornError:
            pass  # said where the request is looked at
        return None
