"""What a transform promises: its two types, as Pydantic knows them, and the media types that it reads."""

import re
from typing import Any, Final, Literal

import orjson
from pydantic import TypeAdapter

from service.engine.foreign import foreign, one_line
from service.errors import RepositoryError

_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
_DEFINITIONS: Final = "#/$defs/"
# Bodies of these are instances, or tensors, already.
_TAKEN: Final = frozenset(
    {
        *("application/json", "application/octet-stream"),
        *("application/x-ndjson", "application/ndjson", "application/x-jsonlines", "application/jsonl"),
    }
)


class Kind:
    """One of the types: what its values must be, and how they are documented."""

    def __init__(self, owner: type, name: str, mode: Literal["validation", "serialization"]) -> None:
        """Raises RepositoryError for a type of which Pydantic knows nothing."""
        if not hasattr(owner, name):
            raise RepositoryError(f"{owner.__name__} has no type {name!r}: expected `class {name}(BaseModel)` in it")
        what = f"{owner.__name__}.{name}"
        with foreign(lambda error: RepositoryError(f"{what} is no type that Pydantic knows: {one_line(error)}")):
            self._adapter = TypeAdapter(getattr(owner, name))
        with foreign(lambda error: RepositoryError(f"{what} has no JSON schema: {one_line(error)}")):
            self.schema: dict[str, Any] = self._adapter.json_schema(mode=mode)
        self._tells_json_apart = _tells_json_apart(self._adapter.core_schema)

    @property
    def examples(self) -> list[Any] | None:
        """Those that the type shows itself. The schema of one that holds itself is a reference to its definition."""
        itself = self.schema.get("$ref", "").removeprefix(_DEFINITIONS)
        definition = self.schema.get("$defs", {}).get(itself, {})
        examples: list[Any] | None = (definition | self.schema).get("examples")
        return examples

    def of_json(self, value: Any) -> Any:
        """A JSON value as one of these. A strict date is a string in JSON, and in Python it is not."""
        if self._tells_json_apart:
            return self._adapter.validate_json(orjson.dumps(value))
        return self._adapter.validate_python(value)

    def of_python(self, value: Any) -> Any:
        """One of these, or what makes one."""
        return self._adapter.validate_python(value)

    def to_json(self, value: Any) -> Any:
        """As the schema says; there, a field goes by its alias."""
        return self._adapter.dump_python(value, mode="json", by_alias=True, warnings=False)


def media_types(transform: object) -> tuple[str, ...]:
    """Those that its `read` takes. Raises RepositoryError."""
    owner = type(transform).__name__
    given = getattr(transform, "media_types", ())
    if not isinstance(given, tuple | list | set | frozenset) or not all(isinstance(each, str) for each in given):
        wanted = 'a tuple of strings, such as ("image/png",) with its comma'
        raise RepositoryError(f"{owner}.media_types: expected {wanted}, got {given!r:.100}")
    for each in given:
        if not _MEDIA_TYPE.fullmatch(each):
            wanted = "lower case and no parameters, such as 'image/png'"
            raise RepositoryError(f"{owner}.media_types: expected {wanted}, got {each!r:.100}")
        if each in _TAKEN:
            raise RepositoryError(f"{owner}.media_types: {each} is read by the service itself: leave it out")
    if given and not callable(getattr(transform, "read", None)):
        raise RepositoryError(f"{owner} has media_types and no `read(self, body, media_type)`")
    return tuple(given)


def _tells_json_apart(schema: Any) -> bool:
    """Does a value that came as JSON mean another thing to this type than the same value in Python?"""
    if isinstance(schema, list | tuple):
        return any(map(_tells_json_apart, schema))
    if not isinstance(schema, dict):
        return False
    if schema.get("type") == "json-or-python" or schema.get("strict") is True or "val_json_bytes" in schema:
        return True
    return any(map(_tells_json_apart, schema.values()))
