"""A request that a model has answered at its warm-up, and the command that sends it."""

import shlex
from pathlib import Path
from typing import Any, Final

import orjson

from service.engine.model import Model
from service.protocol.v2 import tensor_document
from service.settings import Settings
from service.web.examples import example, typed_example

# A longer request is written into a file: nobody reads it, and a shell has its limits.
_MOST_BYTES: Final = 4 << 10


class Request:
    """To one version of a model; `document` is None where nothing is known that the model takes."""

    def __init__(self, model: Model, is_default: bool) -> None:
        self.document = _document(model)
        version = "" if is_default else f"/versions/{model.version}"
        is_typed = self.document is not None and "instances" in self.document
        path = f"models/{model.name}{version}"
        self.path = f"/v1/{path}:predict" if is_typed else f"/v2/{path}/infer"
        self._file = f"{model.name}.json"
        self._model = f"{model.name}/{model.version}"

    @property
    def body(self) -> bytes | None:
        if self.document is None:
            return None
        return orjson.dumps(self.document, option=orjson.OPT_SERIALIZE_NUMPY, default=str)

    def command(self, settings: Settings, tls: bool, repository: Path | None) -> str | None:
        """A line for a shell; `repository` is what this command was told. None where there is no document."""
        body = self.body
        if body is None:
            return None
        if len(body) <= _MOST_BYTES:
            return shlex.join([*self._curl(settings, tls), "-d", body.decode()])
        again = ["onnicorn", "describe", self._model, "--request", self._file]
        again += ["--repository", str(repository)] if repository else []
        send = [*self._curl(settings, tls), "--data-binary", f"@{self._file}"]
        return f"{shlex.join(again)} && {shlex.join(send)}"

    def _curl(self, settings: Settings, tls: bool) -> list[str]:
        scheme, bind = "https" if tls else "http", settings.http.bind
        command = ["curl", "-sS"]
        if settings.access.keys:
            command += ["-H", "Authorization: Bearer KEY"]
        if bind.startswith("unix:"):
            return [*command, "--unix-socket", bind.removeprefix("unix:"), f"{scheme}://localhost{self.path}"]
        host, _, port = bind.rpartition(":")
        host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - the opposite of a bind
        return [*command, f"{scheme}://{host}:{port}{self.path}"]


def _document(model: Model) -> dict[str, Any] | None:
    """In the terms of the model's transform where it has one."""
    if model.transform and (typed := typed_example(model)):
        return typed
    if short := example(model):
        return short
    specs = {spec.name: spec for spec in model.signature.inputs}
    inputs = [tensor_document(name, specs[name].datatype, tensor) for name, tensor in model.example.items()]
    return {"inputs": inputs} if inputs else None
