"""The names of an OpenAPI document, of operations and of schemas, and the schemas that have them.

Generators of clients make a file of each, in whose name neither case nor signs count: no two differ by these alone.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

Schemas = dict[str, Any]

COMPONENTS: Final = "#/components/schemas/"
_DEFINITIONS: Final = "#/$defs/"


class Names:
    """Each is given once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(map(_spelled, taken))

    def take(self, wanted: str) -> str:
        """As it is wanted, or else the first of `CatN2`, `CatN3` that is free."""
        name, number = wanted, 1
        while _spelled(name) in self._taken:
            number += 1
            name = f"{wanted}N{number}"
        self._taken.add(_spelled(name))
        return name


class Components:
    """Of a document, whose `schemas` get what is added."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._names = Names(schemas)

    def add(self, name: str, schema: Schemas, prefix: str = "") -> Schemas:
        """A reference to it. What it defines for itself becomes components, too, whose names begin with `prefix`."""
        definitions = dict(schema.get("$defs", {}))
        whole = {key: value for key, value in schema.items() if key != "$defs"}
        itself = schema.get("$ref", "").removeprefix(_DEFINITIONS)
        if itself in definitions:  # a type that holds itself is such a definition
            del whole["$ref"]
            whole = definitions.pop(itself) | whole
        own = self._names.take(name)
        names = self._shared(definitions, prefix)
        names |= {inner: self._names.take(prefix + inner) for inner in definitions if inner not in names}
        names[itself] = own
        for inner, definition in (*definitions.items(), (itself, whole)):
            self._schemas[names[inner]] = _component(definition, names, names[inner])
        return ref(own)

    def _shared(self, definitions: Schemas, prefix: str) -> dict[str, str]:
        """Those that another schema has defined alike, and by what name.

        One that refers to what is not shared is another one itself, so they are looked at until none goes any more.
        """
        names, before = {inner: prefix + inner for inner in definitions}, -1
        while len(names) != before:
            before = len(names)
            names = {
                inner: name
                for inner, name in names.items()
                if self._schemas.get(name) == _component(definitions[inner], names, name)
            }
        return names


def ref(name: str) -> Schemas:
    return {"$ref": f"{COMPONENTS}{name}"}


def _spelled(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _component(definition: Schemas, names: dict[str, str], title: str) -> Schemas:
    return {**_moved(definition, names), "title": title}


def _moved(value: Any, names: dict[str, str]) -> Any:
    """With references to components where they were to definitions."""
    if isinstance(value, dict):
        return {key: _moved(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, names) for item in value]
    if isinstance(value, str) and (inner := value.removeprefix(_DEFINITIONS)) != value and inner in names:
        return COMPONENTS + names[inner]
    return value
