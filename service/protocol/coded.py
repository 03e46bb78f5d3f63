"""Text as `{"b64": "..."}`, which TensorFlow Serving's clients send for what may not be text in JSON."""

import binascii
from base64 import b64decode
from typing import Any


def is_coded(value: Any) -> bool:
    return type(value) is dict and value.keys() == {"b64"}


def decoded(value: dict[str, Any]) -> Any:
    """The text of what is coded; what is no string in it stays what it is. Raises ValueError."""
    coded = value["b64"]
    if type(coded) is not str:
        return coded
    try:
        return b64decode(coded, validate=True).decode()
    except binascii.Error as error:
        raise ValueError(f"'b64': {error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"BYTES are UTF-8 text here, byte {error.start} is not UTF-8") from None


def all_decoded(data: Any) -> Any:
    """Nested values, with text in place of all that is coded. Raises ValueError."""
    if type(data) is list:
        return [all_decoded(item) for item in data]
    return decoded(data) if is_coded(data) else data
