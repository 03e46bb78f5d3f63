"""The parts of Uvicorn that our worker, server and connection rest on are those that were read."""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

# Of the sources as they were when `server.py`, `connection.py`, `response.py` and `worker.py` were written. Where one
# has changed, read what it does now, decide whether ours still holds, and only then write the new digest here.
READ: dict[Callable[..., Any], str] = {
    Server.serve: "112ef41af52167e3",
    Server._serve: "4575b7a50adfede8",
    Server.startup: "2aa1d70a244bfcf2",
    Server.main_loop: "afccb353a119333f",
    Server.on_tick: "60ea49b06ccf68c1",
    Server.shutdown: "9b33c50562992b1e",
    Server.handle_exit: "553276efa26e09ea",
    Server.capture_signals: "e1bbcd4770d1c887",
    HttpToolsProtocol.connection_made: "6efb565ff3d36b91",
    HttpToolsProtocol.connection_lost: "c91a4c9bf2e29c55",
    HttpToolsProtocol.data_received: "010a7ae59a5d3b1a",
    HttpToolsProtocol.on_message_begin: "96d377fdc7c2baef",
    HttpToolsProtocol.on_url: "37be44e962b04ca8",
    HttpToolsProtocol.on_header: "65d62c044f61fdbd",
    HttpToolsProtocol.on_headers_complete: "1ea8589acfad92d8",
    HttpToolsProtocol.on_body: "dba9c32aeba35b6a",
    HttpToolsProtocol.on_message_complete: "1fbad42dc31fc01f",
    HttpToolsProtocol.on_response_complete: "64e254f28e389e76",
    HttpToolsProtocol.send_400_response: "ae5a4a3782b646fd",
    HttpToolsProtocol._unset_keepalive_if_required: "00a6a4e47214e68e",
    RequestResponseCycle.run_asgi: "0f33f2449a444bc2",
    RequestResponseCycle.send: "abdd8601b326a8da",
    RequestResponseCycle.receive: "8124ae006be71184",
    UvicornWorker.__init__: "d51a1f9f91fdc5da",
    UvicornWorker.init_signals: "0c611981788f9781",
    UvicornWorker._serve: "eb799ef03d639317",
    UvicornWorker.run: "00ca1919b3eddc9c",
    UvicornWorker.callback_notify: "bbcf90ad25de8002",
}


@pytest.mark.parametrize("function", READ, ids=lambda function: function.__qualname__)
def test_uvicorns_method_is_the_one_that_was_read(function: Callable[..., Any]) -> None:
    source = inspect.getsource(function)
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    assert digest == READ[function], f"{function.__qualname__} has changed:\n{source}"
