"""A connection that lets others have their turn: where the loop has been reading for too long, it reads later."""

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.web.gate import STATE, Open


class Mannerly(HttpToolsProtocol):
    """Uvicorn's protocol class; `receive` is called with what has come, when it is time for it."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._gate: Open = app_state.get(STATE) or Open()
        self.postponed = b""  # what has come, and is read later

    def data_received(self, data: bytes) -> None:
        if self.postponed:
            self.postponed += data
        elif self._gate.is_pressed and self._gate.turn.is_long():
            self.postponed = data
            self.flow.pause_reading()
            self.loop.call_soon(self._go_on)
        else:
            self.receive(data)

    def _go_on(self) -> None:
        data, self.postponed = self.postponed, b""
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self.receive(data)

    def receive(self, data: bytes) -> None:
        raise NotImplementedError
